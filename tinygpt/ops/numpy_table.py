"""The table of NumPy's functions that Tensors have: which of our functions stands for which of NumPy's.

A file of functions enters each with one line above it, and its derivative in words:

    @of_numpy("flip", derivative="g, flipped")

The table is keyed by NumPy's function itself, so a namesake such as np.emath.sqrt is never taken for np.sqrt. Names
that the installed NumPy does not have yet, or no longer, are passed over.

Prerequisites: operators.py. Next: numpy_functions.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, array_module, from_numpy
from ..autograd import Tensor
from ..backend import on_device
from .axes import stack

__all__ = ["ENTRIES", "Entry", "NUMPY_FUNCTIONS", "as_input", "beside", "enter", "fixed", "joined", "module_of",
           "no_out", "of_numpy", "plain"]


class Entry(NamedTuple):
    """One function.

    Attributes:
        name: its name in `tinygpt.ops`.
        names: NumPy's names of it, without "np.": "std", "linalg.norm".
        function: ours, of Tensors.
        derivative: in one line, g being the gradient of the output.
    """

    name: str
    names: tuple[str, ...]
    function: Callable[..., Any]
    derivative: str


# ---------------------------------------------------------------------------------------------------------------------
# What functions that are made of others need


def as_input(x: Any) -> Any:
    """x as a Tensor."""
    return x if isinstance(x, Tensor) else Tensor(x)


def joined(x: Any) -> Any:
    """x as a Tensor; nested lists that hold Tensors become one, with their gradients."""
    def holds_tensors(part: Any) -> bool:
        return isinstance(part, Tensor) or isinstance(part, (list, tuple)) and any(map(holds_tensors, part))
    return stack([joined(part) for part in x]) if not isinstance(x, Tensor) and holds_tensors(x) else as_input(x)


def plain(x: Any) -> Any:
    """The array of a Tensor that chooses: a mask, indices."""
    return x.data if isinstance(x, Tensor) else x


def module_of(x: Any) -> Any:
    """`numpy` or `cupy`, for a Tensor or an array."""
    return array_module(plain(x))


def fixed(name: str, x: Any) -> Any:
    """A setting's value as an array or a number.

    Raises:
        TypeError: it is a Tensor whose gradient would be lost.
    """
    if isinstance(x, Tensor) and x.requires_grad:
        raise TypeError(f"{name} is a Tensor, and has no gradient here: give .detach() of it if none is wanted")
    return plain(x)


def beside(values: Any, x: Any) -> Array:
    """Numbers as an array where the Tensor x is; an array that is there already stays."""
    values = plain(values)
    return values if module_of(values) is not np else from_numpy(np.asarray(values), x.data)


def no_out(name: str, out: Any) -> None:
    """TypeError if there is an `out`: on the tape, nothing is written over."""
    if out is not None:
        raise TypeError(f"np.{name} of a Tensor takes no out: what is there may be needed for the gradient")


# ---------------------------------------------------------------------------------------------------------------------
# The table

ENTRIES: dict[str, Entry] = {}  # by the name in tinygpt.ops
NUMPY_FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # NumPy's function -> ours


def enter(function: Callable[..., Any], *names: str, derivative: str, ours: str = "") -> None:
    """Enter a function under NumPy's names for it; our own is `ours`, or the last part of the first of them."""
    entry = Entry(ours or names[0].rpartition(".")[2], names, function, derivative)
    if entry.name in ENTRIES:
        raise ValueError(f"{entry.name} is in the table already")
    ENTRIES[entry.name] = entry
    for name in names:
        theirs: Any = np
        for part in name.split("."):
            theirs = getattr(theirs, part, None)
        if theirs is not None:
            NUMPY_FUNCTIONS[theirs] = function


def _elsewhere(values: Any) -> str | None:
    """The device of the first Tensor among these, or in lists among them, that is not on the host."""
    for x in values:
        if isinstance(x, Tensor):
            if type(x.data) is not np.ndarray:
                return x.device
        elif type(x) in (list, tuple) and (device := _elsewhere(x)) is not None:
            return device
    return None


def _where_its_inputs_are(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function made of others with the device of its Tensors as the current one; an operation sees to that itself."""
    @functools.wraps(function)
    def there(*given: Any, **settings: Any) -> Any:
        device = _elsewhere(given) or _elsewhere(settings.values())
        if device is None:
            return function(*given, **settings)
        with on_device(device):
            return function(*given, **settings)
    return there


def of_numpy(*names: str, derivative: str, ours: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the function below under NumPy's names for it."""
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if not hasattr(function, "operation"):
            function = _where_its_inputs_are(function)
        enter(function, *names, derivative=derivative, ours=ours)
        return function
    return decorate
