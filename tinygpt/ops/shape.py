"""The same elements under another shape: no arithmetic forward, and the inverse move backward.

Prerequisites: reduction.py. Next: indexing.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array
from ..autograd.graph import Output
from ..autograd.operation import differentiable

__all__ = ["concatenate", "reshape", "swapaxes", "transpose"]


@differentiable
def reshape(xp: Any, x: Array, *, shape: int | tuple[int, ...]) -> Output:
    """The elements in the same (row-major) order under `shape`; one length may be −1."""
    def backward(g):
        return (g.reshape(x.shape),)
    return x.reshape(shape), backward


@differentiable
def transpose(xp: Any, x: Array, *, axes: tuple[int, ...] | None = None) -> Output:
    """The axes in the order `axes`; reversed if None."""
    def backward(g):  # axis i of the output was axis axes[i] of x: undone by the inverse permutation
        back = None if axes is None else tuple(int(i) for i in np.argsort([a % x.ndim for a in axes]))
        return (g.transpose(back),)
    return x.transpose(axes), backward


@differentiable
def swapaxes(xp: Any, x: Array, *, axis1: int, axis2: int) -> Output:
    """Two axes exchanged."""
    def backward(g):
        return (g.swapaxes(axis1, axis2),)
    return x.swapaxes(axis1, axis2), backward


@differentiable
def concatenate(xp: Any, *xs: Array, axis: int | None = 0) -> Output:
    """Arrays joined end to end along `axis`, or flattened first for None; called as `concatenate([x, y], axis=0)`."""
    if not xs:
        raise ValueError("concatenate: got no arrays")

    along = 0 if axis is None else axis
    parts = [x.reshape(-1) for x in xs] if axis is None else xs

    def backward(g):  # each part of the gradient goes back to the array that it came from
        ends = np.cumsum([part.shape[along] for part in parts])[:-1].tolist()
        return [part.reshape(x.shape).astype(x.dtype, copy=False)
                for part, x in zip(xp.split(g, ends, axis=along), xs)]
    return xp.concatenate(parts, axis=along), backward
