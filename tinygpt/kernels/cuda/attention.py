"""Scaled dot-product attention: the products by cuBLAS, and between them one kernel for scale, masks and softmax.

The rule passes over the (B, H, T, S) scores about ten times, forward and backward; here it is three times, products
aside. The weights are kept for backward, so memory still grows with T·S. Dropout draws its mask anew (dropout.py).

Of bfloat16 it serves the products while the kernels are off, too. Then the scores come from them in float32, the
softmax is computed in that as the rule does, and its weights are rounded for the next product.

Shapes: B batch, H heads, K key heads, T queries, S keys, D head size.

Prerequisites: linear.py, ops/attention.py. Next: loss.py.
"""

from __future__ import annotations

import math
from typing import Any

from ...autograd import Output
from ...backend import Array, array_module, wide_dtype
from ...ops import scaled_dot_product_attention
from ...ops.dropout import Key, check_rate, keep_scale
from .dropout import drop
from .gemm import matmul
from .launch import ELEMENTS, fused, launch, row_threads, switched_on

__all__ = ["attention_fused"]


@fused(scaled_dot_product_attention, products=True)
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
    rows = n_heads // n_key_heads * length  # the queries of a key head, one below the other
    queries = xp.ascontiguousarray(q).reshape(-1, rows, size)  # (B K, H/K T, D)
    keys, values = (xp.ascontiguousarray(x).reshape(-1, n_keys, size) for x in (k, v))  # (B K, S, D)
    softmax = (_Kernels if switched_on() else _Arrays)(
        q, (batch, n_heads, length, n_keys), mask, causal, 1 / math.sqrt(size) if scale is None else float(scale),
        dropout, key or ())

    scores = matmul(queries, keys, transpose_b=True, dtype=softmax.scores)  # (B K, H/K T, S), which is (B, H, T, S)
    p, weights = softmax.forward(scores)
    out = matmul(weights, values).reshape(q.shape)  # (B, H, T, D)

    def backward(g):
        g = xp.ascontiguousarray(g).reshape(queries.shape)
        dv = matmul(weights, g, transpose_a=True).reshape(v.shape)
        ds = softmax.backward(p, matmul(g, values, transpose_b=True, dtype=softmax.scores))
        dq = matmul(ds, keys).reshape(q.shape)
        dk = matmul(ds, queries, transpose_a=True).reshape(k.shape)
        return dq, dk, dv, None
    return out, backward


class _Softmax:
    """What stands between the products. `forward`: scores -> p = softmax(scores · scale), which backward needs, and
    what is left of p after dropout. `backward`: p, the gradient of what is left -> that of the scores.

    Attributes:
        scores: the dtype that it wants the scores in, and the gradient.
    """

    def __init__(self, q: Array, shape: tuple[int, int, int, int], mask: Array | None, causal: bool, scale: float,
                 dropout: float, key: Key) -> None:
        self.q, self.shape, self.mask, self.causal, self.scale = q, shape, mask, causal, scale
        self.dropout, self.key, self.xp, self.scores = dropout, key, array_module(q), q.dtype


class _Kernels(_Softmax):
    """By the kernels of cuda.cu."""

    def forward(self, scores: Array) -> tuple[Array, Array]:
        batch, n_heads, length, n_keys = self.shape
        mask, strides = self.mask, [0] * 4
        if mask is not None:
            mask = self.xp.broadcast_to(mask, self.shape)
            strides = list(mask.strides)  # in bytes, and a boolean is one
            mask = mask[tuple(slice(0, 1 if stride == 0 else None) for stride in strides)]
            mask, strides = _contiguous(self.xp, mask, strides)
        launch("attention_softmax", scores, batch * n_heads * length, row_threads(n_keys), scores, mask, scores,
               n_heads, length, n_keys, self.scale, self.causal, *strides)
        if not self.dropout:
            return scores, scores
        weights = self.xp.empty_like(scores)
        drop(scores, weights, self.dropout, self.key)
        return scores, weights

    def backward(self, p: Array, dp: Array) -> Array:
        batch, n_heads, length, n_keys = self.shape
        if self.dropout:
            drop(dp, dp, self.dropout, self.key)
        launch("attention_softmax_backward", p, batch * n_heads * length, row_threads(n_keys), p, dp, dp, n_keys,
               self.scale)
        return dp


class _Arrays(_Softmax):
    """By array functions, in float32, for the products of bfloat16; see the rule for the mathematics."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.scores = wide_dtype(self.q.dtype)
        self.kept = keep_scale(self.xp.empty(0, dtype=self.scores), self.shape, self.dropout, self.key) \
            if self.dropout else None

    def forward(self, scores: Array) -> tuple[Array, Array]:
        xp, (_, _, length, n_keys) = self.xp, self.shape
        grouped, p = scores.shape, scores.reshape(self.shape)
        p *= self.scale
        if self.mask is not None:
            p = xp.where(self.mask, p, -math.inf)
        if self.causal:
            p = xp.where(xp.arange(n_keys) <= xp.arange(length)[:, None] + (n_keys - length), p, -math.inf)
        top = p.max(axis=-1, keepdims=True)
        p = xp.exp(p - xp.where(xp.isfinite(top), top, 0))
        total = p.sum(axis=-1, keepdims=True)
        p /= xp.where(total == 0, 1, total)
        weights = p if self.kept is None else p * self.kept
        narrow = [x.astype(self.q.dtype).reshape(grouped) for x in ((p,) if weights is p else (p, weights))]
        return narrow[0], narrow[-1]

    def backward(self, p: Array, dp: Array) -> Array:
        if self.kept is not None:
            dp *= self.kept.reshape(dp.shape)
        wide = p.astype(self.scores)
        ds = wide * (dp - (dp * wide).sum(axis=-1, keepdims=True))
        return (ds * self.scale).astype(p.dtype)


def _serves(q: Array, k: Array, v: Array, mask: Array | None) -> bool:
    return (q.ndim == k.ndim == 4 and q.dtype.name in ELEMENTS and q.dtype == k.dtype == v.dtype and k.shape == v.shape
            and q.size > 0 and k.size > 0 and q.shape[0] == k.shape[0] and q.shape[3] == k.shape[3]
            and q.shape[1] % k.shape[1] == 0 and (mask is None or (mask.dtype == bool and mask.ndim <= 4)))


def _contiguous(xp, mask: Array, strides: list[int]) -> tuple[Array, list[int]]:
    """The mask in one piece, where broadcast axes have length 1, and its strides with 0 for those."""
    mask = xp.ascontiguousarray(mask)
    return mask, [own if stride else 0 for own, stride in zip(mask.strides, strides)]
