"""GELU, the exact one: x Φ(x) with the normal distribution function, which is made of erf.

Prerequisites: activation.py, erf.py. Next: silu.py. Hendrycks & Gimpel, "Gaussian error linear units" (2016).
"""

from __future__ import annotations

import math
from typing import Any

from ..arrays import Array
from ..autograd import Output, differentiable
from .activation import ACTIVATIONS, gelu_tanh
from .erf import erf_values

__all__ = ["gelu"]


@differentiable
def gelu(xp: Any, x: Array, *, approximate: str = "none") -> Output:
    """x Φ(x), with Φ(x) = ½ (1 + erf(x/√2)) the normal distribution function.

    Args:
        approximate: "none" for the exact function; "tanh" for `gelu_tanh`.
    """
    if approximate == "tanh":
        return gelu_tanh.operation.rule(xp, x)  # type: ignore[attr-defined]
    if approximate != "none":
        raise ValueError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')
    phi = 0.5 * (1 + erf_values(x * math.sqrt(0.5)))

    def backward(g):  # d(x Φ) = Φ + x Φ', and Φ' is the normal density
        return (g * (phi + x * (xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi)))),)
    return x * phi, backward


ACTIVATIONS["gelu"] = gelu
