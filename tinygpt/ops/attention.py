"""Scaled dot-product attention, and the rotary embedding of positions.

Shapes: q (…, H, T, D); k and v (…, Hkv, S, D), with H a multiple of Hkv (grouped queries, Ainslie et al. 2023): key
head j serves the H/Hkv query heads that follow one another from j·H/Hkv on. The result is (…, H, T, D).

Prerequisites: dropout.py. Next: loss.py. Vaswani et al., "Attention is all you need" (2017), section 3.2.
"""

from __future__ import annotations

import math
from typing import Any

from ..autograd import Output, differentiable, unbroadcast
from ..backend import Array
from .dropout import Key, check_rate, keep_scale

__all__ = ["rotary_embedding", "scaled_dot_product_attention"]


def _check(q: Array, k: Array, v: Array) -> None:
    if q.ndim < 3 or k.shape != v.shape or q.shape[:-3] != k.shape[:-3] or q.shape[-1:] != k.shape[-1:] \
            or q.shape[-3] % k.shape[-3]:
        raise ValueError("scaled_dot_product_attention: expected q (…, H, T, D) and k, v (…, Hkv, S, D) with H a "
                         f"multiple of Hkv, got q {q.shape}, k {k.shape}, v {v.shape}")


@differentiable
def scaled_dot_product_attention(
    xp: Any, q: Array, k: Array, v: Array, mask: Array | None = None, *,
    causal: bool = False, scale: float | None = None, dropout: float = 0.0, key: Key | None = None,
) -> Output:
    """softmax(q kᵀ · scale + mask) v: each query takes the mean of the values, weighted by how well its key fits.

    Args:
        q, k, v: queries, keys, values; shapes in the module's docstring.
        mask: broadcast against (…, H, T, S). Boolean: true where a query may look. Floating: added to the scores, with
            −∞ where it may not look. A query that may look nowhere gets zeros.
        causal: query i looks at keys up to i + S − T and no later: the T queries are the last of the S positions.
        scale: 1/√D by default, which keeps the variance of the scores near 1.
        dropout: the rate at which attention weights are dropped; needs `key` (see dropout.py).
    """
    _check(q, k, v)
    check_rate("scaled_dot_product_attention", dropout)
    length, n_keys = q.shape[-2], k.shape[-2]
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    by_head = (*q.shape[:-1], n_keys)  # (…, H, T, S)
    # The queries that share a key head lie one after the other, so they may as well be one longer row of queries.
    rows = q.shape[-3] // k.shape[-3] * length
    by_group = (*k.shape[:-2], rows, n_keys)  # (…, Hkv, H/Hkv·T, S)
    grouped = (*k.shape[:-2], rows, q.shape[-1])  # (…, Hkv, H/Hkv·T, D)

    scores = (q.reshape(grouped) @ k.swapaxes(-1, -2) * scale).reshape(by_head)  # (…, H, T, S)
    if mask is not None:
        scores = xp.where(mask, scores, -math.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores = xp.where(xp.arange(n_keys) <= xp.arange(length)[:, None] + (n_keys - length), scores, -math.inf)
    top = scores.max(axis=-1, keepdims=True) if n_keys else xp.zeros((*q.shape[:-1], 1), dtype=q.dtype)
    p = xp.exp(scores - xp.where(xp.isfinite(top), top, 0))  # −∞ − (−∞), where all is masked, would be NaN
    total = p.sum(axis=-1, keepdims=True)
    p /= xp.where(total == 0, 1, total)
    kept = None if dropout == 0 else keep_scale(p, p.shape, dropout, key or ())
    weights = p if kept is None else p * kept

    out = (weights.reshape(by_group) @ v).reshape(q.shape)  # (…, H, T, D)

    def backward(g):
        g = g.reshape(grouped)
        dv = weights.reshape(by_group).swapaxes(-1, -2) @ g  # out = weights v; summed over the group by the product
        dp = (g @ v.swapaxes(-1, -2)).reshape(by_head)
        if kept is not None:
            dp *= kept
        dscores = p * (dp - (dp * p).sum(axis=-1, keepdims=True))  # the softmax, as in activation.py
        ds = (dscores * scale).reshape(by_group)
        dq = (ds @ k).reshape(q.shape)  # scores = scale · q kᵀ
        dk = ds.swapaxes(-1, -2) @ q.reshape(grouped)
        dmask = None if mask is None or mask.dtype == bool else lambda: unbroadcast(dscores, mask)
        return unbroadcast(dq, q), unbroadcast(dk, k), unbroadcast(dv, v), dmask
    return out, backward


@differentiable
def rotary_embedding(xp: Any, x: Array, cos: Array, sin: Array) -> Output:
    """Turn the pair (x_i, x_{i+D/2}) of each head by its position's angle (Su et al., "RoFormer", 2021).

    The product of a query and a key then depends on the distance between their positions only. The pairs are the two
    halves of a head, as in Llama's Hugging Face layout.

    Args:
        x: (…, T, D) with D even.
        cos, sin: cosine and sine of the angles, broadcast against (…, T, D/2). They have no gradient.
    """
    half = x.shape[-1] // 2
    if x.shape[-1] % 2 or cos.shape != sin.shape or cos.shape[-1] != half:
        raise ValueError(f"rotary_embedding: x {x.shape} needs cos and sin with {half} angles at the end and an even "
                         f"last axis, got {cos.shape} and {sin.shape}")

    def turn(x, sin):
        a, b = x[..., :half], x[..., half:]
        return xp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def backward(g):  # a rotation's transpose turns the other way
        return unbroadcast(turn(g, -sin), x), None, None
    return turn(x, sin), backward
