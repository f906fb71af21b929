"""Arithmetic and elementary functions, element by element with broadcasting.

The simplest rules, and the place to see the pattern: the output, and beside it the derivative. Where two shapes
broadcast, `unbroadcast` sums the gradient back to the shape it came from. The gradients of two-input rules are given as
functions, so that `x * 2` does not compute one for the 2.

Prerequisites: autograd/operation.py. Next: reduction.py.
"""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from ..autograd.graph import Output
from ..autograd.operation import differentiable, unbroadcast

__all__ = [
    "add", "divide", "exp", "log", "maximum", "multiply", "negative", "power", "sqrt", "subtract", "tanh", "where",
]

# ---------------------------------------------------------------------------------------------------------------------
# Two inputs


@differentiable
def add(xp: Any, x: Array, y: Array) -> Output:
    """x + y, broadcast."""
    def backward(g):  # d(x + y) = dx + dy
        return lambda: unbroadcast(g, x), lambda: unbroadcast(g, y)
    return x + y, backward


@differentiable
def subtract(xp: Any, x: Array, y: Array) -> Output:
    """x − y, broadcast."""
    def backward(g):  # d(x − y) = dx − dy
        return lambda: unbroadcast(g, x), lambda: unbroadcast(-g, y)
    return x - y, backward


@differentiable
def multiply(xp: Any, x: Array, y: Array) -> Output:
    """x · y, broadcast."""
    def backward(g):  # d(xy) = y dx + x dy
        return lambda: unbroadcast(g * y, x), lambda: unbroadcast(g * x, y)
    return x * y, backward


@differentiable
def divide(xp: Any, x: Array, y: Array) -> Output:
    """x / y, broadcast."""
    def backward(g):  # d(x/y) = dx / y − (x / y²) dy
        return lambda: unbroadcast(g / y, x), lambda: unbroadcast(-g * x / (y * y), y)
    return x / y, backward


@differentiable
def power(xp: Any, x: Array, y: Array) -> Output:
    """x to the power y, broadcast. A gradient for y needs x ≥ 0; at x = 0 it is 0, its limit for y > 0."""
    out = x ** y

    def backward(g):
        def dx():  # d(xʸ)/dx = y xʸ⁻¹; where y is 0 it is 0, and xʸ⁻¹, infinite at x = 0, is not formed
            return unbroadcast(g * y * x ** (1 * y - (y != 0)), x)

        def dy():  # d(xʸ)/dy = xʸ log x
            base = xp.asarray(x)  # it may be a number
            return unbroadcast(g * out * xp.log(xp.where(base > 0, base, 1)), y)
        return dx, dy
    return out, backward


@differentiable
def maximum(xp: Any, x: Array, y: Array) -> Output:
    """The larger of x and y, broadcast. Where they are equal, each gets half of the gradient."""
    def backward(g):  # the derivative is 1 for the larger one; at a tie, ½ lies between the one-sided derivatives
        share = 0.5 * (x > y) + 0.5 * (x >= y)
        return lambda: unbroadcast(g * share, x), lambda: unbroadcast(g * (1 - share), y)
    return xp.maximum(x, y), backward


@differentiable
def where(xp: Any, condition: Array, x: Array, y: Array) -> Output:
    """x where `condition` is true, else y; all three broadcast. The condition has no gradient."""
    condition = xp.asarray(condition)  # it may be a single bool

    def backward(g):  # each element came from one of the two, and its gradient goes back there
        return (None, lambda: unbroadcast(xp.where(condition, g, xp.zeros_like(g)), x),
                lambda: unbroadcast(xp.where(condition, xp.zeros_like(g), g), y))
    return xp.where(condition, x, y), backward


# ---------------------------------------------------------------------------------------------------------------------
# One input


@differentiable
def negative(xp: Any, x: Array) -> Output:
    """−x."""
    def backward(g):
        return (-g,)
    return -x, backward


@differentiable
def exp(xp: Any, x: Array) -> Output:
    """eˣ."""
    out = xp.exp(x)

    def backward(g):  # d(eˣ) = eˣ dx
        return (g * out,)
    return out, backward


@differentiable
def log(xp: Any, x: Array) -> Output:
    """The natural logarithm."""
    def backward(g):  # d(log x) = dx / x
        return (g / x,)
    return xp.log(x), backward


@differentiable
def sqrt(xp: Any, x: Array) -> Output:
    """√x."""
    out = xp.sqrt(x)

    def backward(g):  # d(√x) = dx / (2 √x)
        return (0.5 * g / out,)
    return out, backward


@differentiable
def tanh(xp: Any, x: Array) -> Output:
    """The hyperbolic tangent."""
    out = xp.tanh(x)

    def backward(g):  # d(tanh x) = (1 − tanh² x) dx
        return (g * (1 - out * out),)
    return out, backward
