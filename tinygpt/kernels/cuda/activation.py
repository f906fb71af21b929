"""GELU, SiLU and ReLU, after a bias, alone or with a gate: one pass forward, one backward, and nothing kept but x.

The gradient of the bias is a sum over all rows, which the backward pass takes on its way, in float32 at least. Groups
of rows are summed side by side, and their sums after that, always in the same order.

Prerequisites: launch.py, ops/activation.py. Next: normalization.py.
"""

from __future__ import annotations

from typing import Any

from ...autograd import Output
from ...backend import Array, array_module, wide_dtype
from ...ops import gated_activation, gelu, gelu_tanh, relu, silu
from .launch import THREADS, fused, grid, launch, row_threads, serves

__all__ = ["KINDS", "activate", "activate_backward", "gated_activation_fused", "gelu_fused", "gelu_tanh_fused",
           "relu_fused", "silu_fused"]

KINDS = {"gelu": 0, "gelu_tanh": 1, "silu": 2, "relu": 3, None: 4}  # the kernels' numbers; None: no activation
GROUPS = 256  # of rows, at most


def _grid(n_rows: int, width: int) -> tuple[tuple[int, int], int, int]:
    """Blocks, threads of each, and the rows that a thread takes, for a (n_rows, width) array."""
    each, threads = grid(n_rows, GROUPS), row_threads(width)
    return (grid(width, threads), grid(n_rows, each)), threads, each


def activate(x: Array, bias: Array | None, kind: int, out: Array) -> None:
    """f(x + bias) into `out`, which may be x itself; x (N, O), bias (O,) in float32 at least."""
    blocks, threads, each = _grid(*x.shape)
    launch("activation_forward", x, blocks, threads, x, bias, out, *x.shape, each, kind)


def activate_backward(g: Array, x: Array, bias: Array | None, kind: int, *,
                      wants_dx: bool = True) -> tuple[Any, Any]:
    """The gradients of x, (N, O), if it is wanted, and of the bias, (O,), if there is one; else None."""
    xp = array_module(x)
    blocks, threads, each = _grid(*x.shape)
    dx = xp.empty_like(x) if wants_dx else None
    sums = None if bias is None else xp.empty((blocks[1], x.shape[1]), dtype=wide_dtype(x.dtype))
    launch("activation_backward", x, blocks, threads, g, x, bias, dx, sums, *x.shape, each, kind)
    return dx, None if sums is None else sums.sum(axis=0)


def _elementwise(x: Array, activation: str) -> Output:
    """The activation of an array of any shape, and its gradient."""
    if not serves(x):
        return NotImplemented
    xp, row, kind = array_module(x), (1, x.size), KINDS[activation]
    out = xp.empty_like(x)
    activate(x.reshape(row), None, kind, out.reshape(row))

    def backward(g):
        dx, _ = activate_backward(xp.ascontiguousarray(g).reshape(row), x.reshape(row), None, kind)
        return (dx.reshape(x.shape),)
    return out, backward


@fused(gelu)
def gelu_fused(x: Array, *, approximate: str = "none") -> Output:
    """x Φ(x), exactly or in the tanh form."""
    kind = {"none": "gelu", "tanh": "gelu_tanh"}.get(approximate)
    return NotImplemented if kind is None else _elementwise(x, kind)


@fused(gelu_tanh)
def gelu_tanh_fused(x: Array) -> Output:
    """x Φ(x) in the tanh form."""
    return _elementwise(x, "gelu_tanh")


@fused(relu)
def relu_fused(x: Array) -> Output:
    """max(x, 0)."""
    return _elementwise(x, "relu")


@fused(silu)
def silu_fused(x: Array) -> Output:
    """x σ(x)."""
    return _elementwise(x, "silu")


@fused(gated_activation)
def gated_activation_fused(gate: Array, up: Array, *, activation: str) -> Output:
    """f(gate) · up."""
    if not serves(gate, up) or gate.shape != up.shape or activation not in KINDS:
        return NotImplemented
    xp, kind = array_module(gate), KINDS[activation]
    out = xp.empty_like(gate)
    launch("gate_forward", gate, grid(gate.size), THREADS, gate, up, out, gate.size, kind)

    def backward(g):
        g, dgate, dup = xp.ascontiguousarray(g), xp.empty_like(gate), xp.empty_like(up)
        launch("gate_backward", gate, grid(gate.size), THREADS, g, gate, up, dgate, dup, gate.size, kind)
        return dgate, dup
    return out, backward
