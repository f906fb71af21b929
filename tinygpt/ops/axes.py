"""More ways to move axes, and to join and cut along them.

Prerequisites: shape.py. Next: erf.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array
from ..autograd import Output, differentiable, unbroadcast

__all__ = ["broadcast_to", "expand_dims", "split", "squeeze", "stack"]


@differentiable
def expand_dims(xp: Any, x: Array, *, axis: int | tuple[int, ...]) -> Output:
    """A new axis of length 1 at `axis`."""
    def backward(g):
        return (g.reshape(x.shape),)
    return xp.expand_dims(x, axis), backward


@differentiable
def squeeze(xp: Any, x: Array, *, axis: int | tuple[int, ...] | None = None) -> Output:
    """Axes of length 1 dropped: those in `axis`, or all."""
    def backward(g):
        return (g.reshape(x.shape),)
    return xp.squeeze(x, axis=axis), backward


@differentiable
def broadcast_to(xp: Any, x: Array, *, shape: tuple[int, ...]) -> Output:
    """x repeated to `shape`."""
    def backward(g):  # each element was used several times, and the gradients of its uses add up
        return (unbroadcast(g, x),)
    return xp.broadcast_to(x, shape), backward


@differentiable
def stack(xp: Any, *xs: Array, axis: int = 0) -> Output:
    """Arrays of one shape side by side along a new `axis`; called as `stack([x, y], axis=0)`."""
    if not xs:
        raise ValueError("stack: got no arrays")

    def backward(g):
        return [part.astype(x.dtype, copy=False) for part, x in zip(xp.moveaxis(g, axis, 0), xs)]
    return xp.stack(xs, axis=axis), backward


@differentiable
def split(xp: Any, x: Array, *, lengths: tuple[int, ...], axis: int = 0) -> Output:
    """x cut along `axis` into parts of the given lengths: a tuple of Tensors. The inverse of `concatenate`."""
    if sum(lengths) != x.shape[axis]:
        raise ValueError(f"split: lengths {tuple(lengths)} do not add up to {x.shape[axis]}, axis {axis} of {x.shape}")

    def backward(gs):
        return (xp.concatenate(gs, axis=axis),)
    return tuple(xp.split(x, np.cumsum(lengths)[:-1].tolist(), axis=axis)), backward
