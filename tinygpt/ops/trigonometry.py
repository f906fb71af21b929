"""Sine and cosine.

Prerequisites: piecewise.py. Next: statistics.py.
"""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from ..autograd import Output, differentiable

__all__ = ["cos", "sin"]


@differentiable
def sin(xp: Any, x: Array) -> Output:
    """sin x, in radians."""
    def backward(g):  # d(sin x) = cos x dx
        return (g * xp.cos(x),)
    return xp.sin(x), backward


@differentiable
def cos(xp: Any, x: Array) -> Output:
    """cos x, in radians."""
    def backward(g):  # d(cos x) = −sin x dx
        return (-g * xp.sin(x),)
    return xp.cos(x), backward
