"""Arrays: NumPy's, or on a GPU those of CuPy, which has the same functions under the same names.

Nothing in the book asks which of the two it works on. It writes `xp.exp(x)`, where `xp = array_module(x)` is the module
that the array belongs to, and everything else follows. Random numbers are drawn by NumPy in any case, so that they are
the same wherever a program runs.

Prerequisites: nothing but NumPy. Next: autograd/graph.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Array", "KINDS", "Kind", "array_module", "as_array", "from_numpy", "generator", "kind_of", "manual_seed",
           "new_array", "own", "to_numpy"]

Array = Any  # numpy.ndarray or cupy.ndarray: the two share no base class


@dataclass(frozen=True)
class Kind:
    """A kind of arrays.

    Attributes:
        module: `numpy` or `cupy`.
        from_numpy: (values, like) -> an array of this kind with the values of one of NumPy's, placed as `like` is.
        to_numpy: the way back.
        erf: the error function, which NumPy has not (ops/erf.py).
    """

    module: Any
    from_numpy: Callable[[np.ndarray, Array], Array]
    to_numpy: Callable[[Array], np.ndarray]
    erf: Callable[[Array], Array] | None = None


KINDS: dict[type, Kind] = {np.ndarray: Kind(np, lambda values, like: values, lambda x: x)}


def kind_of(x: Any) -> Kind:
    """The kind of an array; numbers count as NumPy's."""
    return KINDS.get(type(x), KINDS[np.ndarray])


def array_module(*arrays: Any) -> Any:
    """`numpy` or `cupy`: the module of these arrays. Numbers and None go with either."""
    for x in arrays:
        module = kind_of(x).module
        if module is not np:
            return module
    return np


def from_numpy(values: np.ndarray, like: Array) -> Array:
    """NumPy's array as one of the kind of `like`."""
    return kind_of(like).from_numpy(values, like)


def as_array(x: Any) -> Array:
    """NumPy's sums, and its arithmetic on arrays without axes, return scalars; everything on the tape is an array."""
    return np.asarray(x) if isinstance(x, np.generic) else x


def new_array(data: Any, dtype: Any = None) -> Array:
    """Data as an array of numbers: an array is kept as it is, nested lists of numbers become one.

    Raises:
        TypeError: data that is no array of numbers.
    """
    data = data if type(data) in KINDS else np.asarray(data)
    if data.dtype.kind not in "biufc":
        raise TypeError(f"Tensor: expected numbers, got {data.dtype} data")
    return data if dtype is None else data.astype(dtype, copy=False)


def to_numpy(x: Array) -> np.ndarray:
    """An array of either kind as one of NumPy's."""
    return kind_of(x).to_numpy(x)


class Own(threading.local):
    """The generator that a thread has for itself, if any."""

    generator: np.random.Generator | None = None


own = Own()
_generator: np.random.Generator | None = None  # made when first used: an import need not wait for numpy.random


def manual_seed(seed: int) -> None:
    """Start the generator of initial weights, and of dropout that nobody seeds, anew from `seed`."""
    global _generator
    _generator = np.random.default_rng(seed)


def generator() -> np.random.Generator:
    """The generator that `manual_seed` seeds, or the thread's own."""
    global _generator
    if own.generator is not None:
        return own.generator
    if _generator is None:
        _generator = np.random.default_rng()
    return _generator
