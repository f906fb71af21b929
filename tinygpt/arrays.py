"""Arrays: NumPy's, or on a GPU those of CuPy, which has the same functions under the same names.

Nothing in the book asks which of the two it works on. It writes `xp.exp(x)`, where `xp = array_module(x)` is the module
that the array belongs to, and everything else follows. Random numbers are drawn by NumPy in any case, so that they are
the same wherever a program runs.

Prerequisites: NumPy. Next: autograd/graph.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Array", "ERF", "MODULES", "array_module", "as_array", "generator", "manual_seed", "new_array",
           "to_numpy"]

Array = Any  # numpy.ndarray or cupy.ndarray: the two share no base class
MODULES: dict[type, Any] = {np.ndarray: np}  # the type of an array -> its module
ERF: dict[type, Any] = {}  # the type of an array -> the error function of its module; NumPy has none (ops/erf.py)


def array_module(*arrays: Any) -> Any:
    """`numpy` or `cupy`: the module of these arrays. Numbers and None go with either."""
    for x in arrays:
        module = MODULES.get(type(x), np)
        if module is not np:
            return module
    return np


def as_array(x: Any) -> Array:
    """NumPy's sums, and its arithmetic on arrays without axes, return scalars; everything on the tape is an array."""
    return np.asarray(x) if isinstance(x, np.generic) else x


def new_array(data: Any, dtype: Any = None) -> Array:
    """Data as an array of numbers: an array is kept as it is, nested lists of numbers become one.

    Raises:
        TypeError: data that is no array of numbers.
    """
    data = data if type(data) in MODULES else np.asarray(data)
    if data.dtype.kind not in "biufc":
        raise TypeError(f"Tensor: expected numbers, got {data.dtype} data")
    return data if dtype is None else data.astype(dtype, copy=False)


def to_numpy(x: Array) -> np.ndarray:
    """An array of either module as one of NumPy."""
    xp = array_module(x)
    return np.asarray(x) if xp is np else xp.asnumpy(x)


_generator: np.random.Generator | None = None  # made when first used: an import need not wait for numpy.random


def manual_seed(seed: int) -> None:
    """Start the generator of initial weights, and of dropout that nobody seeds, anew from `seed`."""
    global _generator
    _generator = np.random.default_rng(seed)


def generator() -> np.random.Generator:
    """The generator that `manual_seed` seeds."""
    global _generator
    if _generator is None:
        _generator = np.random.default_rng()
    return _generator
