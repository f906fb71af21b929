"""Tensor: an array that remembers how it was made, and the walk back through the graph.

Prerequisites: graph.py. Next: bfloat16.py.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import (Array, array_module, backend_of, device_of, on_device, resolve_device, resolve_dtype, to_device,
                       to_numpy)
from .graph import Deferred, Node, Part, as_array, newest_first

__all__ = ["Tensor", "wrap"]


class Tensor:
    """An array that remembers how it was made.

    Args:
        data: a NumPy or CuPy array (kept, not copied, where it is on the right device already), a number or nested
            lists of numbers.
        requires_grad: whether `backward` is to compute a gradient for it; needs a floating-point dtype.
        device: "cpu", "cuda" or "cuda:N"; None keeps a GPU array where it is and puts host data on the default device.
        dtype: converts the data; None keeps its dtype.

    Attributes:
        data: the array.
        grad: an array of the same shape and dtype after `backward`, else None.
        requires_grad: whether a gradient flows to or through it.

    Raises:
        TypeError: data that is no array of numbers, or `requires_grad` with integers or booleans.
        DeviceError: no such device, or bfloat16 on one that does not compute in it, as the host.
    """

    __slots__ = ("data", "grad", "requires_grad", "_node", "__weakref__")

    def __init__(self, data: Any, requires_grad: bool = False, *, device: str | None = None, dtype: Any = None) -> None:
        if isinstance(data, Tensor):
            data = data.data
        if not isinstance(data, np.ndarray) and not hasattr(data, "__cuda_array_interface__") and not _is_array(data):
            data = np.asarray(data)
        if data.dtype.kind not in "biufc" and data.dtype.name != "bfloat16":
            raise TypeError(f"Tensor: expected numbers, got {data.dtype} data")
        if device is not None or isinstance(data, np.ndarray):
            data = to_device(data, resolve_device(device))
        if dtype is not None or data.dtype.kind == "V":
            where = device_of(data)
            with on_device(where):
                data = data.astype(resolve_dtype(data.dtype if dtype is None else dtype, where), copy=False)
        if requires_grad and data.dtype.kind in "biu":
            raise TypeError(f"Tensor: requires_grad needs floating-point data, got {data.dtype}; convert it first")
        self.data: Array = data
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self._node: Node | None = None

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""
        return self.data.dtype

    @property
    def device(self) -> str:
        """Where the data is: "cpu", "cuda:0", …"""
        return device_of(self.data)

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array on the host (shared where it is there already)."""
        return to_numpy(self.data)

    def item(self) -> Any:
        """The one element, as a Python number."""
        return self.data.item()

    def tolist(self) -> Any:
        """The data as a number or nested lists of numbers."""
        return self.numpy().tolist()

    def detach(self) -> Tensor:
        """The same data, cut off the graph."""
        return wrap(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if not isinstance(self.data, np.ndarray):
            raise TypeError(f"a Tensor on {self.device} does not turn into a NumPy array by itself: use .numpy()")
        return np.array(self.data, dtype=dtype, copy=copy)

    def __float__(self) -> float:
        return float(self.data.item())

    def __int__(self) -> int:
        return int(self.data.item())

    def __index__(self) -> int:
        return operator.index(self.data.item())

    def __bool__(self) -> bool:
        return bool(self.data)

    def __format__(self, specification: str) -> str:
        return format(self.item(), specification) if specification else str(self)

    def __len__(self) -> int:
        if not self.data.ndim:
            raise TypeError("len() of a Tensor with no axes")
        return self.data.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    __hash__ = object.__hash__  # by identity, since == compares element by element

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError("a Tensor's items cannot be assigned, since earlier results may depend on them: "
                        "use tinygpt.ops.where, or assign to tensor.data before it is used")

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=100)
        where = "" if self.device == "cpu" else f", device={self.device!r}"
        flag = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({values}, shape={self.shape}, dtype={self.dtype}{where}{flag})"

    # -- the walk backwards -------------------------------------------------------------------------------------------

    def backward(self, gradient: Any = None) -> None:
        """Add d(self)/d(leaf) to the `.grad` of every leaf that this Tensor was computed from, and free the graph.

        Args:
            gradient: the gradient of the final result with respect to this Tensor, of its shape; 1 by default, which
                needs a Tensor of one element.

        Raises:
            ValueError: nothing to differentiate, a missing or misshapen `gradient`, or a graph that an earlier
                `backward` has freed.
        """
        if not self.requires_grad:
            raise ValueError("backward: this Tensor does not depend on any Tensor with requires_grad=True")
        with on_device(self.device):
            g = self._seed(gradient)
            if self._node is None:
                self._accumulate(g)
                return
        pending: dict[Node, Any] = {self._node: g}  # the gradient so far of each node's output
        for node in newest_first(self._node):
            g = pending.pop(node, None)
            if g is None:  # all that was computed from it said that it has no gradient
                node.free()
                continue
            if type(node) is Part:
                parts = pending.setdefault(node.whole, [None] * len(node.whole.shapes))
                parts[node.position] = g
                continue
            with on_device(node.device):
                for source, dx in node.gradients(g):
                    if isinstance(source, Tensor):
                        source._accumulate(dx)
                    elif source in pending:
                        pending[source] = _add(pending[source], dx)  # not in place: others may hold either array
                    else:
                        pending[source] = dx
            node.free()

    def _seed(self, gradient: Any) -> Array:
        xp = array_module(self.data)
        if gradient is None:
            if self.data.size != 1:
                raise ValueError(f"backward: a Tensor of shape {self.shape} needs a gradient of that shape: call "
                                 ".backward(gradient), or reduce it to one number first, with .sum() say")
            return xp.ones_like(self.data)
        if isinstance(gradient, Tensor):
            gradient = gradient.data
        elif not hasattr(gradient, "shape"):  # numbers and lists of them have no device yet
            gradient = to_device(gradient, self.device)
        array_module(self.data, gradient)  # raises if they are on two devices
        gradient = xp.asarray(gradient, dtype=self.data.dtype)
        if gradient.shape != self.shape:
            raise ValueError(f"backward: expected a gradient of shape {self.shape}, got {gradient.shape}")
        return gradient

    def _accumulate(self, g: Array) -> None:
        """Add `g` to `.grad`. Never in place: `g` and the old gradient may be in other hands."""
        if self.grad is not None:
            self.grad = _add(self.grad, g)
        else:
            with on_device(self.device):
                self.grad = g.copy()

    def takes(self, g: Deferred) -> bool:
        """Add `g` to a gradient that has its place in memory; False for one that has not (see nn.Parameter)."""
        return False

    if TYPE_CHECKING:  # operators and methods are bound to their rules by ops/operators.py
        def __getattr__(self, name: str) -> Any: ...
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __matmul__ = \
            __rmatmul__ = __pow__ = __rpow__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = \
            lambda self, other: self
        __neg__ = __abs__ = lambda self: self


def wrap(data: Array, node: Node | None = None) -> Tensor:
    """A Tensor around an array that needs no conversion: the constructor without its checks."""
    tensor = _new(Tensor)
    tensor.data = data
    tensor.grad = None
    tensor.requires_grad = node is not None
    tensor._node = node
    return tensor


_new = Tensor.__new__


def _is_array(x: Any) -> bool:
    try:
        backend_of(x)
    except TypeError:
        return False
    return not isinstance(x, np.generic)


def _add(x: Array, y: Array) -> Array:
    """x + y as a new array, on their device."""
    if type(x) is np.ndarray:
        return as_array(x + y)
    with on_device(device_of(x)):
        return x + y
