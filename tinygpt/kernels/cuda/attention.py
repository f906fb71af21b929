"""Scaled dot-product attention: the products by cuBLAS, and between them one kernel for scale, masks and softmax.

The rule passes over the (B, H, T, S) scores about ten times, forward and backward; here it is three times, products
aside. The weights are kept for backward, so memory still grows with T·S. Dropout draws its mask anew (dropout.py).

Shapes: B batch, H heads, K key heads, T queries, S keys, D head size.

Read before: gemm.py, ops/attention.py. Read next: loss.py.
"""

from __future__ import annotations

import math

from ...autograd import Output
from ...backend import Array, array_module
from ...ops import scaled_dot_product_attention
from ...ops.dropout import Key, check_rate
from .dropout import drop
from .gemm import batched_matmul
from .launch import ELEMENTS, fused, launch, row_threads

__all__ = ["attention_fused"]


@fused(scaled_dot_product_attention)
def attention_fused(
    q: Array, k: Array, v: Array, mask: Array | None = None, *,
    causal: bool = False, scale: float | None = None, dropout: float = 0.0, key: Key | None = None,
) -> Output:
    """softmax(q kᵀ · scale) v, with causal and boolean masks; additive masks are left to the rule."""
    if not _serves(q, k, v, mask):
        return NotImplemented
    check_rate("scaled_dot_product_attention", dropout)
    xp = array_module(q)
    (batch, n_heads, length, size), (_, n_key_heads, n_keys, _) = q.shape, k.shape
    scale = 1 / math.sqrt(size) if scale is None else float(scale)
    rows = n_heads // n_key_heads * length  # the queries of a key head, one below the other
    queries = xp.ascontiguousarray(q).reshape(-1, rows, size)  # (B K, H/K T, D)
    keys, values = (xp.ascontiguousarray(x).reshape(-1, n_keys, size) for x in (k, v))  # (B K, S, D)
    n_rows, threads = batch * n_heads * length, row_threads(n_keys)

    p = batched_matmul(queries, keys, transpose_b=True)  # (B K, H/K T, S), which is (B, H, T, S)
    strides = [0] * 4
    if mask is not None:
        mask = xp.broadcast_to(mask, (batch, n_heads, length, n_keys))
        strides = list(mask.strides)  # in bytes, and a boolean is one
        mask = mask[tuple(slice(0, 1 if stride == 0 else None) for stride in strides)]
        mask, strides = _contiguous(xp, mask, strides)
    launch("attention_softmax", q, n_rows, threads, p, mask, p, n_heads, length, n_keys, scale, causal, *strides)
    weights = p
    if dropout:
        weights = xp.empty_like(p)
        drop(p, weights, dropout, key or ())
    out = batched_matmul(weights, values).reshape(q.shape)  # (B, H, T, D)

    def backward(g):
        g = xp.ascontiguousarray(g).reshape(queries.shape)
        dv = batched_matmul(weights, g, transpose_a=True).reshape(v.shape)
        dp = batched_matmul(g, values, transpose_b=True)
        if dropout:
            drop(dp, dp, dropout, key or ())
        launch("attention_softmax_backward", q, n_rows, threads, p, dp, dp, n_keys, scale)
        dq = batched_matmul(dp, keys).reshape(q.shape)
        dk = batched_matmul(dp, queries, transpose_a=True).reshape(k.shape)
        return dq, dk, dv, None
    return out, backward


def _serves(q: Array, k: Array, v: Array, mask: Array | None) -> bool:
    return (q.ndim == k.ndim == 4 and q.dtype.name in ELEMENTS and q.dtype == k.dtype == v.dtype and k.shape == v.shape
            and q.size > 0 and k.size > 0 and q.shape[0] == k.shape[0] and q.shape[3] == k.shape[3]
            and q.shape[1] % k.shape[1] == 0 and (mask is None or (mask.dtype == bool and mask.ndim <= 4)))


def _contiguous(xp, mask: Array, strides: list[int]) -> tuple[Array, list[int]]:
    """The mask in one piece, where broadcast axes have length 1, and its strides with 0 for those."""
    mask = xp.ascontiguousarray(mask)
    return mask, [own if stride else 0 for own, stride in zip(mask.strides, strides)]
