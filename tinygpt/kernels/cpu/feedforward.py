"""The hidden vector of a feed-forward layer in one pass: bias and activation, or activation and gate.

A block of rows is taken from the product, gets its bias and its activation in the cache, and leaves the derivative of
the activation where the product was. So the bias is no pass of its own, and the derivative needs no array of its own.

Prerequisites: activation.py, linear.py, ops/feedforward.py. Next: normalization.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd import Output, is_grad_enabled
from ...ops import ACTIVATIONS, gated_activation, linear_activation
from ..twins import accelerates
from .activation import formula_for
from .blocks import BLOCK, blocks, is_float, row_blocks
from .linear import gradients, serves

__all__ = ["activate", "gated_activation_blocked", "linear_activation_blocked"]


@accelerates(linear_activation)
def linear_activation_blocked(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, *,
                              activation: str) -> Output:
    """f(x @ weightᵀ + bias)."""
    if not serves(x, weight, bias) or activation not in ACTIVATIONS:
        return NotImplemented
    n_out, n_in = weight.shape
    rows = x.reshape(-1, n_in)  # (N, I)
    out, activation_backward = activate(rows @ weight.T, bias, activation)  # (N, O)

    def backward(g):
        dh: Any = activation_backward(g.reshape(-1, n_out))[0]
        return gradients(dh, x, rows, weight)
    return out.reshape(*x.shape[:-1], n_out), backward


def activate(h: np.ndarray, bias: np.ndarray | None, activation: str) -> Output:
    """f(h + bias) for h (N, O), which is overwritten; the gradient of h from that of the result."""
    formula = formula_for(activation, h)
    if formula is None:
        if bias is not None:
            h += bias
        if activation == "relu":  # its output tells where its slope is 1
            return np.maximum(h, 0, out=h), lambda g: (g * (h > 0),)
        return ACTIVATIONS[activation].operation.rule(np, h)  # type: ignore[attr-defined]
    slope, out = (h, np.empty_like(h)) if is_grad_enabled() else (None, h)
    n_rows, width = h.shape
    x, a, b = np.empty((3, min(n_rows, max(1, BLOCK // width)), width), dtype=h.dtype)
    for block in row_blocks(n_rows, width):
        n = block.stop - block.start
        if bias is None:
            x[:n] = h[block]
        else:
            np.add(h[block], bias, out=x[:n])
        formula(x[:n], out[block], None if slope is None else slope[block], a[:n], b[:n])

    def backward(g):
        assert slope is not None
        return (g * slope,)
    return out, backward


@accelerates(gated_activation)
def gated_activation_blocked(gate: np.ndarray, up: np.ndarray, *, activation: str) -> Output:
    """f(gate) · up."""
    if not is_float(gate, up) or gate.shape != up.shape:
        return NotImplemented
    formula = formula_for(activation, gate)
    if formula is None:
        return NotImplemented
    shape, gate, up = gate.shape, gate.reshape(-1), up.reshape(-1)
    out = np.empty_like(gate)
    recorded = is_grad_enabled()
    opening, slope = (np.empty_like(gate), np.empty_like(gate)) if recorded else (out, None)  # f(gate), f'(gate)
    a, b = np.empty((2, min(BLOCK, gate.size)), dtype=gate.dtype)
    for block in blocks(gate.size):
        n = block.stop - block.start
        formula(gate[block], opening[block], None if slope is None else slope[block], a[:n], b[:n])
        np.multiply(opening[block], up[block], out=out[block])

    def backward(g):
        assert slope is not None
        g = g.reshape(-1)
        dgate, dup = np.empty_like(up), np.empty_like(up)
        for block in blocks(g.size):
            np.multiply(g[block], up[block], out=dgate[block])
            dgate[block] *= slope[block]
            np.multiply(g[block], opening[block], out=dup[block])
        return dgate.reshape(shape), dup.reshape(shape)
    return out.reshape(shape), backward
