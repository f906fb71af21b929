"""Picking elements: `x[key]`, and rows of a table by token id.

Prerequisites: shape.py. Next: linalg.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array, from_numpy
from ..autograd.graph import Output
from ..autograd.operation import differentiable

__all__ = ["check_ids", "embedding", "getitem"]


def _plain_key(x: Array, key: Any) -> Any:
    """The key with each list or other sequence in it as the array that NumPy takes it for."""
    def plain(part: Any) -> Any:
        if isinstance(part, (list, tuple, range)):
            return from_numpy(np.asarray(part, dtype=None if len(part) else np.intp), x)
        return part
    return tuple(plain(part) for part in key) if isinstance(key, tuple) else plain(key)


def _picks_once(key: Any) -> bool:
    """True if the key cannot pick an element twice: everything but integer arrays."""
    parts = key if isinstance(key, tuple) else (key,)
    return not any(getattr(part, "ndim", 0) and part.dtype.kind in "iu" for part in parts)


@differentiable
def getitem(xp: Any, x: Array, *, key: Any) -> Output:
    """x[key], for integers, slices, None, `...`, integer arrays and boolean arrays, as in NumPy."""
    key = _plain_key(x, key)

    def backward(g):  # what was picked gets its gradient; what was picked twice, the sum of both
        dx = xp.zeros_like(x)
        if _picks_once(key):
            dx[key] = g
        else:
            xp.add.at(dx, key, g)  # dx[key] += g would count a repeated index once
        return (dx,)
    return x[key], backward


def check_ids(xp: Any, name: str, ids: Array, n: int) -> None:
    """IndexError unless all ids lie in 0 … n − 1. NumPy's only: a GPU would have to stop for the look."""
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integer ids, got {ids.dtype}")
    if xp is np and ids.size and not (0 <= ids.min() and ids.max() < n):
        bad = ids[(ids < 0) | (ids >= n)].ravel()[0]
        raise IndexError(f"{name}: id {bad} is outside 0 … {n - 1}")


@differentiable
def embedding(xp: Any, ids: Array, weight: Array) -> Output:
    """Rows of a table: ids (…) of integers and weight (V, C) give (…, C).

    Raises:
        TypeError: ids that are not integers.
        IndexError: an id outside 0 … V − 1; a negative one does not count from the end.
    """
    check_ids(xp, "embedding", ids, weight.shape[0])

    def backward(g):  # the output is onehot(ids) @ weight, so dW = onehot(ids)ᵀ @ g: rows added up where ids repeat
        def dweight():
            dw = xp.zeros_like(weight)
            xp.add.at(dw, ids, g)
            return dw
        return None, dweight
    return weight[ids], backward
