"""Matrix products.

For y = x @ w with upstream gradient g, the chain rule dy_ij = Σ_k dx_ik w_kj + x_ik dw_kj gives, summed against g,
dx = g @ wᵀ and dw = xᵀ @ g: each gradient is again a matrix product, of the shapes that fit.

Prerequisites: indexing.py. Next: activation.py.
"""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from ..autograd.graph import Output
from ..autograd.operation import differentiable, unbroadcast

__all__ = ["linear", "matmul"]


@differentiable
def matmul(xp: Any, x: Array, y: Array) -> Output:
    """x @ y: (…, n, k) @ (…, k, m) gives (…, n, m), leading axes broadcast; a vector counts as a row or a column."""
    out = x @ y  # raises ValueError, naming the shapes, where they do not fit

    def backward(g):
        rows = x[None, :] if x.ndim == 1 else x  # (…, n, k)
        columns = y[:, None] if y.ndim == 1 else y  # (…, k, m)
        if y.ndim == 1:
            g = g[..., None]  # (…, n, 1)
        if x.ndim == 1:
            g = g[..., None, :]  # (…, 1, m)
        return (lambda: unbroadcast(g @ columns.swapaxes(-1, -2), rows).reshape(x.shape),
                lambda: unbroadcast(rows.swapaxes(-1, -2) @ g, columns).reshape(y.shape))
    return out, backward


@differentiable
def linear(xp: Any, x: Array, weight: Array, bias: Array | None = None) -> Output:
    """x @ weightᵀ + bias: x (…, I), weight (O, I), bias (O,) give (…, O).

    The leading axes are flattened to one, so that the work is a single product of two matrices: a broadcast product
    over (B, T, I) would call the matrix multiplication once for each of the B sequences.
    """
    if x.shape[-1:] != weight.shape[1:]:
        raise ValueError(f"linear: x has {x.shape[-1:]} features at the end of shape {x.shape}, "
                         f"weight {weight.shape} expects {weight.shape[1:]}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear: weight {weight.shape} needs a bias of shape {weight.shape[:1]}, got {bias.shape}")
    flat = x.reshape(-1, x.shape[-1])  # (N, I)
    out = flat @ weight.T  # (N, O)
    if bias is not None:
        out += bias

    def backward(g):
        g = g.reshape(-1, weight.shape[0])  # (N, O)
        return (lambda: unbroadcast((g @ weight).reshape(x.shape), x),  # as in the module's docstring, w = weightᵀ
                lambda: unbroadcast(g.T @ flat, weight),
                lambda: unbroadcast(g.sum(axis=0), bias))
    return out.reshape(*x.shape[:-1], weight.shape[0]), backward
