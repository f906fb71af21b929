"""Functions made of pieces: the absolute value, the smaller of two, and holding numbers between bounds.

Prerequisites: elementwise.py. Next: trigonometry.py.
"""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from ..autograd import Output, differentiable, unbroadcast

__all__ = ["absolute", "clip", "minimum"]


@differentiable
def absolute(xp: Any, x: Array) -> Output:
    """|x|. The gradient at 0 is 0, midway between the one-sided derivatives."""
    def backward(g):  # d|x| = sign(x) dx; of complex x, whose gradient elementary.py explains, conj(x) / |x| dx
        return (g * (xp.conj(x) / xp.where(x == 0, 1, xp.abs(x)) if x.dtype.kind == "c" else xp.sign(x)),)
    return xp.abs(x), backward


@differentiable
def minimum(xp: Any, x: Array, y: Array) -> Output:
    """The smaller of x and y, broadcast. Where they are equal, each gets half of the gradient."""
    def backward(g):
        share = 0.5 * (x < y) + 0.5 * (x <= y)
        return lambda: unbroadcast(g * share, x), lambda: unbroadcast(g * (1 - share), y)
    return xp.minimum(x, y), backward


@differentiable
def clip(xp: Any, x: Array, *, low: float | None = None, high: float | None = None) -> Output:
    """x held between `low` and `high`. Outside the gradient is 0; on a bound it is 1."""
    def backward(g):
        inside = xp.ones(x.shape, dtype=bool)
        if low is not None:
            inside &= x >= low
        if high is not None:
            inside &= x <= high
        return (g * inside,)
    return xp.clip(x, low, high), backward
