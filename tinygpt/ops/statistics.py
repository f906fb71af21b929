"""Variance, minimum and the logarithm of a sum of exponentials, over axes.

Prerequisites: reduction.py. Next: axes.py.
"""

from __future__ import annotations

import math
from typing import Any

from ..arrays import Array
from ..autograd import Output, differentiable
from .reduction import Axis, count, extreme, reduced_axes, restore

__all__ = ["logsumexp", "min", "var"]


@differentiable
def var(xp: Any, x: Array, *, axis: Axis = None, keepdims: bool = False, ddof: float = 0) -> Output:
    """The variance over `axis`: the mean squared distance from the mean (divided by n − ddof, and n if not told)."""
    centred = x - x.mean(axis=axis, keepdims=True)  # not xp.var, which takes |·|² and so spoils a complex step
    n, rest = count(x, axis), count(x, axis) - ddof
    share = n / rest if rest > 0 else math.nan if n == 0 else math.inf  # of the mean square

    def backward(g):  # d mean(c²) = 2/n c·(dx − d mean); the mean's own part vanishes, since the c sum to 0
        return (restore(g, x, axis) * (2 / count(x, axis)) * share * centred,)
    return (centred * centred).mean(axis=axis, keepdims=keepdims) * share, backward


@differentiable
def min(xp: Any, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Output:
    """The smallest element over `axis`. Equal smallest elements share the gradient equally."""
    return extreme(xp, x, x.min(axis=axis, keepdims=True), axis, keepdims)


@differentiable
def logsumexp(xp: Any, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Output:
    """log Σ eˣ over `axis`, without overflow; −∞ for a sum of nothing, or of zeros."""
    empty = not count(x, axis)
    top = x.sum(axis=axis, keepdims=True) if empty else x.max(axis=axis, keepdims=True)
    finite = xp.where(xp.isfinite(top), top, 0)  # −∞ − (−∞) would be NaN
    powers = xp.exp(x - finite)  # the largest is 1
    total = powers.sum(axis=axis, keepdims=True)
    out = finite + xp.where(total == 0, -math.inf, xp.log(xp.where(total == 0, 1, total)))

    def backward(g):  # d(log Σ eˣ) = Σ eˣ dx / Σ eˣ: the softmax
        return (restore(g, x, axis) * (powers / xp.where(total == 0, 1, total)),)
    return (out if keepdims else xp.squeeze(out, axis=reduced_axes(x, axis))), backward
