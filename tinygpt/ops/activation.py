"""The nonlinear functions between the matrices, and the softmax.

Prerequisites: erf.py, linalg.py. Next: normalization.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..arrays import Array
from ..autograd.graph import Output
from ..autograd.operation import differentiable
from .erf import erf_values

__all__ = ["ACTIVATIONS", "activate", "gelu", "log_softmax", "relu", "sigmoid", "silu", "softmax"]


@differentiable
def relu(xp: Any, x: Array) -> Output:
    """max(x, 0), the rectifier; its gradient at 0 is 0."""
    positive = x > 0

    def backward(g):
        return (g * positive,)
    return xp.maximum(x, 0), backward


def _sigmoid(xp: Any, x: Array) -> Array:
    """1 / (1 + e⁻ˣ) as eˣ / (1 + eˣ), which keeps the digits of its small values; from x = 40 on it rounds to 1, and
    e⁴⁰ does not overflow yet."""
    e = xp.exp(xp.minimum(x, 40))
    return e / (1 + e)


@differentiable
def sigmoid(xp: Any, x: Array) -> Output:
    """σ(x) = 1 / (1 + e⁻ˣ)."""
    out = _sigmoid(xp, x)

    def backward(g):  # σ' = σ (1 − σ)
        return (g * out * (1 - out),)
    return out, backward


@differentiable
def silu(xp: Any, x: Array) -> Output:
    """x σ(x), also called swish (Elfwing, Uchibe & Doya 2017)."""
    s = _sigmoid(xp, x)
    out = x * s

    def backward(g):  # d(x σ) = σ + x σ (1 − σ)
        return (g * (s + out * (1 - s)),)
    return out, backward


@differentiable
def gelu(xp: Any, x: Array, *, approximate: str = "none") -> Output:
    """x Φ(x), with Φ the normal distribution function (Hendrycks & Gimpel 2016).

    Args:
        approximate: "none" for the exact function, Φ(x) = ½ (1 + erf(x/√2)); "tanh" for the approximation of GPT-2,
            Φ(x) ≈ ½ (1 + tanh(√(2/π) (x + 0.044715 x³))).
    """
    if approximate == "none":
        phi = 0.5 * (1 + erf_values(x * math.sqrt(0.5)))

        def slope():  # Φ' is the normal density
            return xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    elif approximate == "tanh":
        c = math.sqrt(2 / math.pi)
        t = xp.tanh(c * (x + 0.044715 * x * x * x))
        phi = 0.5 * (1 + t)

        def slope():  # d ½ tanh(u) = ½ (1 − tanh²(u)) u', with u' = c (1 + 3 · 0.044715 x²)
            return 0.5 * (1 - t * t) * (c * (1 + 3 * 0.044715 * x * x))
    else:
        raise ValueError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')

    def backward(g):  # d(x Φ) = Φ + x Φ'
        return (g * (phi + x * slope()),)
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


ACTIVATIONS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {  # the name in a configuration -> what it means
    "gelu": (gelu, {}), "gelu_tanh": (gelu, {"approximate": "tanh"}), "relu": (relu, {}), "silu": (silu, {}),
}


def activate(name: str, x: Any) -> Any:
    """The activation of that name of a Tensor.

    Raises:
        ValueError: the name is not in `ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation={name!r} is not known; choose one of {', '.join(ACTIVATIONS)}")
    function, settings = ACTIVATIONS[name]
    return function(x, **settings)
