"""GELU and SiLU in blocks, with the derivative computed on the way forward.

The rules keep x and work out the derivative backward. Here the forward pass, which has all the ingredients in the
cache, stores the derivative itself (over nothing but its own array): backward is one multiplication, and x need not be
kept. Under `no_grad` the derivative is left out.

Each derivative below is written with as few passes as there are: with y = x h(x), y' = h + x h'.

Prerequisites: blocks.py. Next: linear.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...autograd import Output, is_grad_enabled
from ...ops import gelu, gelu_tanh, silu
from ..twins import accelerates
from .blocks import BLOCK, blocks, is_float

__all__ = ["FEW", "Formula", "formula_for", "gelu_blocked", "gelu_tanh_blocked", "silu_blocked"]

FEW = 2048  # elements: below it counts how many calls there are, and the rules make fewer

# Writes x h(x) into `out` and, unless it is None, the derivative into `slope`; two scratch arrays.
Formula = Callable[[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray, np.ndarray], None]


def _activate(x: np.ndarray, formula: Formula) -> Output:
    """Apply a formula to all blocks."""
    flat = x.reshape(-1)
    out = np.empty_like(flat)
    slope = np.empty_like(flat) if is_grad_enabled() else None
    a, b = np.empty((2, min(BLOCK, flat.size)), dtype=x.dtype)
    for block in blocks(flat.size):
        n = block.stop - block.start
        formula(flat[block], out[block], None if slope is None else slope[block], a[:n], b[:n])

    def backward(g):
        assert slope is not None
        return (g * slope.reshape(g.shape),)
    return out.reshape(x.shape), backward


@accelerates(gelu)
def gelu_blocked(x: np.ndarray, *, approximate: str = "none") -> Output:
    """x Φ(x), exactly or in the tanh form."""
    formula = formula_for({"none": "gelu", "tanh": "gelu_tanh"}.get(approximate, ""), x)
    return NotImplemented if formula is None else _activate(x, formula)


@accelerates(gelu_tanh)
def gelu_tanh_blocked(x: np.ndarray) -> Output:
    """x Φ(x) in the tanh form."""
    return gelu_blocked(x, approximate="tanh")


def _gelu_tanh(x, out, slope, a, b):
    """h = ½ (1 + tanh(u)) with u = c x (1 + k x²), so h' = 2 h (1 − h) u' and y' = h (1 + 2 x u' (1 − h))."""
    c, k = math.sqrt(2 / math.pi), 0.044715
    np.multiply(x, x, out=a)
    if slope is not None:  # 2 x u' = x (2 c + 6 c k x²)
        np.multiply(a, 6 * c * k, out=slope)
        slope += 2 * c
        slope *= x
    a *= c * k
    a += c
    a *= x
    np.tanh(a, out=a)
    a *= 0.5
    a += 0.5  # h
    np.multiply(x, a, out=out)
    if slope is not None:
        np.subtract(1, a, out=b)
        slope *= b
        slope += 1
        slope *= a


# Φ(−a) = e^(−a²/2) Q(t) for a ≥ 0, with t = 1 / (1 + SCALE a) and Q a polynomial without constant term: the form of
# Hastings (1955; 26.2.17 in Abramowitz & Stegun), with more terms, fitted to the smallest largest relative error on
# 0 ≤ a ≤ 13.5: 3e-8, half a unit of float32's last place. From the coefficient of t upwards.
SCALE = 0.34
TAIL = (0.1356193458, 0.1361334611, 0.1150352163, 0.1160344583, -0.04639383893, 0.204730828, -0.2754606599,
        0.140671291, -0.02637008855)


def _gelu_exact(x, out, slope, a, b):
    """With t = Φ(−|x|): y = max(x, 0) − |x| t, which loses no digits for x far below 0, and y' = Φ(x) + x φ(x)."""
    np.abs(x, out=b)
    tail = out  # until y itself is written
    b *= SCALE
    b += 1
    np.divide(1, b, out=b)
    np.multiply(b, TAIL[-1], out=tail)
    for coefficient in TAIL[-2::-1]:
        tail += coefficient
        tail *= b
    np.multiply(x, x, out=b)
    b *= -0.5
    np.exp(b, out=b)  # √(2π) φ(x)
    tail *= b
    if slope is not None:  # Φ(x) is t for x < 0, 1 − t for x ≥ 0
        b *= x
        b *= 1 / math.sqrt(2 * math.pi)
        np.greater_equal(x, 0, out=slope)
        slope += b
        np.copysign(tail, x, out=b)
        slope -= b
    np.abs(x, out=a)
    np.multiply(tail, a, out=b)
    a += x
    a *= 0.5  # max(x, 0)
    np.subtract(a, b, out=out)


@accelerates(silu)
def silu_blocked(x: np.ndarray) -> Output:
    """x σ(x)."""
    formula = formula_for("silu", x)
    return NotImplemented if formula is None else _activate(x, formula)


def _silu(x, out, slope, a, b):
    """h = σ(x), h' = σ (1 − σ), so y' = σ (1 + x (1 − σ))."""
    np.negative(x, out=a)
    with np.errstate(over="ignore"):  # e^(−x) = ∞ far below 0 gives σ = 0, as it should
        np.exp(a, out=a)
    a += 1
    np.divide(1, a, out=a)
    np.multiply(x, a, out=out)
    if slope is not None:
        np.subtract(1, a, out=slope)
        slope *= x
        slope += 1
        slope *= a


FORMULAS: dict[str, Formula] = {"gelu": _gelu_exact, "gelu_tanh": _gelu_tanh, "silu": _silu}  # of ops.ACTIVATIONS


def formula_for(activation: str, x: np.ndarray) -> Formula | None:
    """The formula of an activation for an array like x; None where the rule should run.

    The exact GELU has one in float32 alone, where a short formula for Φ is exact enough.
    """
    few = x.size < FEW and activation != "gelu"  # whose rule is long in any case
    if not is_float(x) or few or (activation == "gelu" and x.dtype == np.float64):
        return None
    return FORMULAS.get(activation)
