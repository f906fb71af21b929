"""The sigmoid, and SiLU, which is x times its sigmoid.

Prerequisites: activation.py. Next: rotary.py.
"""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from ..autograd import Output, differentiable
from .activation import ACTIVATIONS

__all__ = ["sigmoid", "silu"]


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


ACTIVATIONS["silu"] = silu
