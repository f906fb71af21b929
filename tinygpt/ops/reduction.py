"""Sums, means and extremes over axes.

Each takes `axis` (None for all, a number or a tuple) and `keepdims`, as NumPy does. Backward, what was reduced away is
put back as axes of length 1, and broadcasting does the rest.

Prerequisites: elementwise.py. Next: shape.py.
"""

from __future__ import annotations

import math
from typing import Any

from ..arrays import Array
from ..autograd.graph import Output
from ..autograd.operation import differentiable

__all__ = ["Axis", "count", "extreme", "max", "mean", "reduced_axes", "restore", "sum"]

Axis = int | tuple[int, ...] | None


def reduced_axes(x: Array, axis: Axis) -> tuple[int, ...]:
    """The axes as a tuple of numbers ≥ 0."""
    if axis is None:
        return tuple(range(x.ndim))
    return tuple(a % x.ndim if x.ndim else a for a in (axis if isinstance(axis, tuple) else (axis,)))


def restore(g: Array, x: Array, axis: Axis) -> Array:
    """`g`, or any other reduced array, with its reduced axes back as axes of length 1, ready to broadcast against x."""
    axes = reduced_axes(x, axis)
    return g.reshape([1 if i in axes else n for i, n in enumerate(x.shape)])


def count(x: Array, axis: Axis) -> int:
    """How many elements one result is made of."""
    return math.prod(x.shape[a] for a in reduced_axes(x, axis))


@differentiable
def sum(xp: Any, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Output:
    """The sum over `axis`."""
    def backward(g):  # every element counts once, so each gets the whole gradient
        return (xp.broadcast_to(restore(g, x, axis), x.shape),)
    return x.sum(axis=axis, keepdims=keepdims), backward


@differentiable
def mean(xp: Any, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Output:
    """The mean over `axis`."""
    def backward(g):  # every element counts 1/n
        return (xp.broadcast_to(restore(g / count(x, axis), x, axis), x.shape),)
    return x.mean(axis=axis, keepdims=keepdims), backward


def extreme(xp: Any, x: Array, out: Array, axis: Axis, keepdims: bool) -> Output:
    """The largest or smallest elements `out` (axes kept); ties share the gradient."""
    def backward(g):  # the derivative is 1 for the extreme element; equal ones get equal parts of it
        hit = x == out
        return (restore(g, x, axis) * hit / hit.sum(axis=axis, keepdims=True).astype(x.dtype),)
    return (out if keepdims else xp.squeeze(out, axis=reduced_axes(x, axis))), backward


@differentiable
def max(xp: Any, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Output:
    """The largest element over `axis`. Equal largest elements share the gradient equally."""
    return extreme(xp, x, x.max(axis=axis, keepdims=True), axis, keepdims)
