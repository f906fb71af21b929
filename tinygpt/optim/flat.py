"""One array for all parameters, one for all their gradients.

A model's parameters are many small arrays. `FlatParameters` moves them into one long array and leaves each parameter a
view of its stretch; the gradients likewise. What had to visit every parameter is then a single call: zeroing the
gradients is one fill, the global norm one dot product, AdamW one pass, a sum over replicas one addition.

    decayed                                      | not decayed
    [ token_embedding | qkv | out | up | down … | positions | biases | norms … ]
    0                                            ^ flat.decay_range.stop             flat.size

Weight decay pulls matrices towards zero. Biases, norm gains and positions are left alone, and stand together behind
the matrices, so that the optimizer sees two ranges and not two hundred. (The matrices come first also because their
sizes are multiples of a cache line: no odd bias shifts the matrix behind it.)

Prerequisites: flat_parameter.py, adamw.py. Next: flat_optimizer.py.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import Array, array_module, device_of, is_bfloat16, on_device
from ..nn.module import Module, Parameter
from .adamw import is_decayed
from .flat_parameter import FlatParameter

__all__ = ["FlatParameters", "Slot", "Spread", "block_size", "flatten", "in_one", "named_trainable"]

Parameters = Module | Iterable[Parameter] | Iterable[tuple[str, Parameter]]
# (function, items) -> what function(part) gives for each of some parts, runs of items in their order. A caller
# with threads to spare hands one in that works on the parts at the same time; see training/parallel.py.
Spread = Callable[[Callable[[list], Any], list], list]


def in_one(function: Callable[[list], Any], items: list) -> list:
    """The Spread of a single thread: everything is one part."""
    return [function(items)]


def named_trainable(parameters: Parameters) -> list[tuple[str, Parameter]]:
    """The trainable parameters of a model, or of an iterable of (name, parameter) pairs or of parameters.

    Each parameter is listed once, however often it is used. Bare parameters are named by their position: "0", "1", …

    Raises:
        TypeError: something in it is not a Parameter.
        ValueError: nothing in it is trainable, or two parameters share a name.
    """
    pairs = parameters.named_parameters() if isinstance(parameters, Module) else parameters
    found: dict[str, Parameter] = {}
    seen: set[int] = set()
    for i, item in enumerate(pairs):
        name, parameter = item if isinstance(item, tuple) else (str(i), item)
        if not isinstance(parameter, Parameter):
            raise TypeError(f"expected a model, Parameters, or (name, Parameter) pairs, got {type(parameter).__name__} "
                            f"as {name!r}; wrap a Tensor in nn.Parameter")
        if not parameter.requires_grad or id(parameter) in seen:
            continue
        if name in found:
            raise ValueError(f"two different parameters are called {name!r}; give each a name of its own")
        seen.add(id(parameter))
        found[name] = parameter
    if not found:
        raise ValueError("no trainable parameters: the model or list is empty, or everything in it is frozen "
                         "(requires_grad is False)")
    return list(found.items())


def block_size(flat: Array) -> int:
    """How many elements of `flat` an elementwise pass with several operations should take at a time.

    On the host, five arrays of 131,072 float32 stay in the cache from one operation to the next, and the cost of a
    NumPy call is nothing beside them. A GPU has no such cache, and each call there costs a launch.
    """
    return 131_072 if array_module(flat) is np else 1 << 24


_LIVING: weakref.WeakSet[FlatParameters] = weakref.WeakSet()  # parameters may live in one of them at a time
_LOCK = threading.Lock()  # threads may make some at the same time


def _living() -> list[FlatParameters]:
    with _LOCK:
        return list(_LIVING)


def _check_uniform(named: list[tuple[str, Parameter]]) -> None:
    """One flat array has one dtype and one device, and is the only one its parameters live in."""
    (first_name, first), living = named[0], _living()
    if is_bfloat16(first.data):
        raise TypeError(f"parameter {first_name!r} is bfloat16, in which small updates would be lost: train float32 "
                        "weights, and let the model compute in bfloat16 (dtype='bfloat16' in the options of training)")
    for name, p in named:
        if any(p is other for flat in living for other in flat._parameters.values()):
            raise ValueError(f"parameter {name!r} already lives in a FlatParameters; use that one "
                             "(an optimizer has it as `.flat`), or drop it first")
        if p.data.dtype != first.data.dtype:
            raise TypeError(f"parameters of one FlatParameters need one dtype: {first_name!r} is {first.data.dtype}, "
                            f"{name!r} is {p.data.dtype}; convert the model first")
        if device_of(p.data) != device_of(first.data):
            raise ValueError(f"parameters of one FlatParameters need one device: {first_name!r} is on "
                             f"{device_of(first.data)}, {name!r} on {device_of(p.data)}; move the model first")


@dataclass(frozen=True)
class Slot:
    """Where one parameter stands in the flat arrays: elements start … stop, in C order of `shape`."""

    start: int
    stop: int
    shape: tuple[int, ...]


class FlatParameters:
    """The trainable parameters of a model in one contiguous array, their gradients in another.

    From then on a parameter's `.data` and `.grad` are views: assigning `.data` copies into the view, `backward` adds
    into the gradient where it stands, and what would move a parameter (`to`, freezing) raises.

    Args:
        parameters: a model, or an iterable of (name, parameter) pairs or of parameters.
        decay: (name, parameter) -> whether weight decay applies to it.

    Attributes:
        data: the parameters (N,), the decayed ones first.
        grad: the gradients (N,), zero until a backward pass adds to them.
        slots: name -> Slot, in the order of the arrays.
        decay_range: the slice of the decayed parameters; `no_decay_range` is the rest.

    Raises:
        TypeError: something that is not a Parameter, parameters of two dtypes, or of bfloat16.
        ValueError: nothing to train, parameters on two devices, or one that lives in another FlatParameters (that is
            still in use) already.
    """

    def __init__(self, parameters: Parameters, decay: Callable[[str, Parameter], bool] = is_decayed) -> None:
        named = named_trainable(parameters)
        _check_uniform(named)
        with_decay = [(name, p) for name, p in named if decay(name, p)]
        without = [(name, p) for name, p in named if not decay(name, p)]

        self.slots: dict[str, Slot] = {}
        start = 0
        for name, p in with_decay + without:
            self.slots[name] = Slot(start, start + p.data.size, p.data.shape)
            start += p.data.size
        decayed = sum(p.data.size for _, p in with_decay)
        self.decay_range, self.no_decay_range = slice(0, decayed), slice(decayed, start)

        first = named[0][1].data
        with on_device(device_of(first)):
            self.data: Array = array_module(first).empty_like(first, shape=(start,))
            self.grad: Array = self.new_gradient()
            data, grad = self.views(self.data), self.views(self.grad)
            for name, p in named:
                FlatParameter.move_in(p, data[name], grad[name])
        self._parameters = dict(named)
        with _LOCK:
            _LIVING.add(self)

    def move_into(self, data: Array, grad: Array) -> None:
        """Go on in other arrays (N,), which take over the values: in memory that processes share, say."""
        data_views, grad_views = self.views(data), self.views(grad)
        for name, p in self._parameters.items():
            FlatParameter.move_in(p, data_views[name], grad_views[name])
        self.data, self.grad = data, grad

    @property
    def size(self) -> int:
        """N, the number of trainable numbers."""
        return self.data.size

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names in the order of the arrays."""
        return tuple(self.slots)

    @property
    def device(self) -> str:
        """Where the arrays are: "cpu", "cuda:0", …"""
        return device_of(self.data)

    def zero_grad(self) -> None:
        """Set every gradient to zero, in one call."""
        with on_device(self.device):
            self.grad.fill(0.0)

    def new_gradient(self) -> Array:
        """A further array (N,) with this layout: a replica's gradients, an optimizer's moments."""
        with on_device(self.device):
            return array_module(self.data).zeros(self.data.shape, self.data.dtype)  # on the host, memory once written

    def views(self, flat: Array) -> dict[str, Array]:
        """Name -> the stretch of `flat` (N,) that belongs to the parameter, in its shape; nothing is copied.

        Raises:
            ValueError: `flat` is not a contiguous array of N elements.
        """
        if flat.shape != self.data.shape or not flat.flags.c_contiguous:
            raise ValueError(f"expected a contiguous array of shape {self.data.shape}, got shape {flat.shape}")
        with on_device(self.device):
            return {name: flat[slot.start:slot.stop].reshape(slot.shape) for name, slot in self.slots.items()}

    def blocks(self, block_size: int, stretch: slice | None = None) -> Iterator[tuple[slice, bool]]:
        """Cut a stretch, 0 … N by default, into slices of at most `block_size` elements, each with whether weight decay
        applies to it."""
        first, last = (0, self.size) if stretch is None else (stretch.start, stretch.stop)
        for region, decayed in ((self.decay_range, True), (self.no_decay_range, False)):
            end = min(region.stop, last)
            for start in range(max(region.start, first), end, block_size):
                yield slice(start, min(start + block_size, end)), decayed

    def __reduce_ex__(self, protocol: Any) -> tuple:
        """A copy, deep or by pickle, moves the copies of the parameters into arrays of its own."""
        decayed = {name for name, slot in self.slots.items() if slot.stop <= self.decay_range.stop}
        return _copied, (list(self._parameters.items()), decayed)

    def __repr__(self) -> str:
        return (f"FlatParameters({len(self.slots)} parameters, {self.size:,} numbers of {self.data.dtype}, "
                f"{self.decay_range.stop:,} of them with weight decay)")


def _copied(named: list[tuple[str, Parameter]], decayed: set[str]) -> FlatParameters:
    return FlatParameters(named, lambda name, parameter: name in decayed)


def flatten(parameters: FlatParameters | Parameters) -> FlatParameters:
    """The FlatParameters of these parameters: the one that holds exactly them already, or else a new one.

    So a second optimizer for a model works on the same arrays as the first.

    Raises:
        TypeError, ValueError: as FlatParameters.
    """
    if isinstance(parameters, FlatParameters):
        return parameters
    named = named_trainable(parameters)
    ids = {id(p) for _, p in named}
    for flat in _living():
        if ids == {id(p) for p in flat._parameters.values()}:
            return flat
    return FlatParameters(named)
