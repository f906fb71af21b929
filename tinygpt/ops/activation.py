"""The nonlinear functions between the matrices, and the softmax.

Prerequisites: linalg.py. Next: normalization.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..arrays import Array
from ..autograd.graph import Output
from ..autograd.operation import differentiable

__all__ = ["ACTIVATIONS", "gelu_tanh", "log_softmax", "relu", "relu_squared", "softmax"]


@differentiable
def relu(xp: Any, x: Array) -> Output:
    """max(x, 0), the rectifier; its gradient at 0 is 0."""
    positive = x > 0

    def backward(g):
        return (g * positive,)
    return xp.maximum(x, 0), backward


@differentiable
def relu_squared(xp: Any, x: Array) -> Output:
    """max(x, 0)², whose slope has no jump at 0 (So et al., "Primer", 2021)."""
    positive = xp.maximum(x, 0)

    def backward(g):  # d max(x, 0)² = 2 max(x, 0) dx
        return (g * 2 * positive,)
    return positive * positive, backward


@differentiable
def gelu_tanh(xp: Any, x: Array) -> Output:
    """x Φ(x) with Φ ≈ the normal distribution function: ½ (1 + tanh(√(2/π) (x + 0.044715 x³))), as in GPT-2.

    A relu with a soft corner: each x is kept with the probability that a normal random number is smaller (Hendrycks &
    Gimpel 2016). The exact function is in gelu.py.
    """
    c = math.sqrt(2 / math.pi)
    t = xp.tanh(c * (x + 0.044715 * x * x * x))
    phi = 0.5 * (1 + t)

    def backward(g):  # d(x Φ) = Φ + x Φ', and d ½ tanh(u) = ½ (1 − tanh²(u)) u' with u' = c (1 + 3 · 0.044715 x²)
        slope = 0.5 * (1 - t * t) * (c * (1 + 3 * 0.044715 * x * x))
        return (g * (phi + x * slope),)
    return x * phi, backward


@differentiable
def softmax(xp: Any, x: Array, *, axis: int = -1) -> Output:
    """eˣ normalised to sum 1 along `axis`; same shape as x."""
    p = xp.exp(x - x.max(axis=axis, keepdims=True))  # subtracting the max changes nothing, and eˣ cannot overflow
    p /= p.sum(axis=axis, keepdims=True)

    def backward(g):  # dp_i = p_i (dx_i − Σ_j p_j dx_j): the Jacobian is diag(p) − p pᵀ
        return (p * (g - (g * p).sum(axis=axis, keepdims=True)),)
    return p, backward


@differentiable
def log_softmax(xp: Any, x: Array, *, axis: int = -1) -> Output:
    """The logarithm of the softmax along `axis`, without forming the small numbers whose logarithm it is."""
    shifted = x - x.max(axis=axis, keepdims=True)
    out = shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))

    def backward(g):  # d log p_i = dx_i − Σ_j p_j dx_j
        return (g - xp.exp(out) * g.sum(axis=axis, keepdims=True),)
    return out, backward


ACTIVATIONS: dict[str, Callable[..., Any]] = {  # the name in a configuration -> the function
    "gelu_tanh": gelu_tanh, "relu": relu, "relu2": relu_squared,
}  # gelu.py and silu.py add theirs
