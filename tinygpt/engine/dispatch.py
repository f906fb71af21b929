"""The engine of the whole program: for each call it chooses the twin, the device and the width of numbers.

The book carries out an operation by its rule. This engine stands at the same hook, `Operation.engine`, and

1. looks whether the arrays are on a device, and makes that the current one;
2. asks the twins of the operation that are entered for this kind of device, the last one first; a twin that does not
   serve a case returns NotImplemented;
3. otherwise runs the rule, which is given float32 where arrays are bfloat16 or float16 (bfloat16.py).

Prerequisites: autograd/operation.py, backend/, bfloat16.py. Next: kernels/twins.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd.graph import Backward, Node, Output, Source
from ..autograd.operation import Engine, Operation
from ..backend import ON_HOST, Array, array_module, backend_of, device_of, is_bfloat16, on_device
from .bfloat16 import PRECISION, Precision, is_half, run_wide

__all__ = ["DeviceNode", "Dispatch", "Twin", "twins_of"]


class Twin:
    """A faster function with the contract of a rule, for one kind of device; see kernels/.

    Attributes:
        function: `function(*arrays, **settings) -> (output, backward)`, or NotImplemented where it cannot serve.
        recorded: False for one that is asked only where nothing is put on the tape. It is forward-only, and
            returns None for the closure.
    """

    __slots__ = ("function", "device", "recorded")

    def __init__(self, function: Callable[..., Any], device: str, recorded: bool = True) -> None:
        self.function, self.device, self.recorded = function, device, recorded


_TWINS: dict[Operation, list[Twin]] = {}


def twins_of(operation: Operation) -> list[Twin]:
    """The twins of an operation, in the order in which they are asked."""
    return _TWINS.setdefault(operation, [])


class HostNode(Node):
    """A node whose arrays are NumPy's: what is as it should be is taken without the calls that find out what is not."""

    __slots__ = ()

    def receive(self, dx: Any, sender: Node, position: int) -> None:
        """As for any node."""
        if self.g is None and type(dx) is np.ndarray and dx.dtype is self.dtype and dx.shape == self.shape:
            self.g = dx
        else:
            super().receive(dx, sender, position)


class DeviceNode(Node):
    """A node whose arrays are on a device: what is computed backward is computed there, and never moved in silence."""

    __slots__ = ("device",)

    def __init__(self, name: str, backward: Backward, sources: list[Source], out: Array) -> None:
        super().__init__(name, backward, sources, out)
        self.device = device_of(out)

    def receive(self, dx: Any, sender: Node, position: int) -> None:
        """As for any node, on its own device; a gradient from another device is refused."""
        with on_device(self.device):
            dx = dx() if callable(dx) else dx
            if dx is not None and device_of(dx) != self.device:
                raise ValueError(f"{sender.name}: backward returned a gradient on {device_of(dx)} for input {position} "
                                 f"on {self.device}")
            super().receive(dx, sender, position)

    def send(self) -> None:
        """As for any node, on its own device."""
        with on_device(self.device):
            super().send()


class Dispatch(Engine):
    """The engine of the whole program.

    Attributes:
        twins_enabled: the switch of all twins; kernels.disabled() turns it.
    """

    twins_enabled = True

    @staticmethod
    def node(name: str, backward: Backward, sources: list[Source], out: Array) -> Node:  # type: ignore[override]
        """A node for the tape, of the kind that the output needs."""
        return (HostNode if type(out) is np.ndarray else DeviceNode)(name, backward, sources, out)

    def run(self, operation: Operation, arrays: Sequence[Any], settings: dict[str, Any], recorded: bool) -> Output:
        """Output and closure, by the way that suits the arrays best."""
        for x in arrays:
            if type(x) not in ON_HOST:
                return self._look(operation, arrays, settings, recorded)
        return self._run(operation, arrays, settings, recorded)

    def _look(self, operation: Operation, arrays: Sequence[Any], settings: dict[str, Any], recorded: bool) -> Output:
        """The same where a look at the arrays must tell the device, which new arrays are then made on."""
        xp = array_module(*arrays)
        if xp is np:
            return self._run(operation, arrays, settings, recorded)
        first = next(x for x in arrays if hasattr(x, "dtype") and not isinstance(x, np.generic))
        with on_device(device_of(first)):
            return self._run(operation, arrays, settings, recorded, xp, backend_of(first).kind)

    def _run(self, operation: Operation, arrays: Sequence[Any], settings: dict[str, Any], recorded: bool,
             xp: Any = np, kind: str = "cpu") -> Output:
        """Output and closure of the first twin that serves these arrays, else of the rule."""
        if self.twins_enabled:
            for twin in _TWINS.get(operation, ()):
                if twin.device == kind and (twin.recorded or not recorded):
                    result = twin.function(*arrays, **settings)
                    if result is not NotImplemented:
                        return result
        if is_half(arrays) if xp is np else any(map(is_bfloat16, arrays)):
            return run_wide(operation.rule, xp, arrays, settings, PRECISION.get(operation, Precision.ROUNDED))
        return operation.rule(xp, *arrays, **settings)
