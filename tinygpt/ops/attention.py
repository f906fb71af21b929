"""Scaled dot-product attention, and cutting channels into heads.

Shapes: q (…, H, T, D); k and v (…, Hkv, S, D), with H a multiple of Hkv (grouped queries, Ainslie et al. 2023): key
head j serves the H/Hkv query heads that follow one another from j·H/Hkv on. The result is (…, H, T, D).

Prerequisites: dropout.py. Next: loss.py. Vaswani et al., "Attention is all you need" (2017), section 3.2.
"""

from __future__ import annotations

import math
from typing import Any

from ..arrays import Array
from ..autograd.graph import Output
from ..autograd.operation import differentiable, unbroadcast
from .dropout import Key, check_rate, keep_scale

__all__ = ["merge_heads", "scaled_dot_product_attention", "split_heads"]


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
    if q.ndim < 3 or k.shape != v.shape or q.shape[:-3] != k.shape[:-3] or q.shape[-1:] != k.shape[-1:] \
            or q.shape[-3] % k.shape[-3]:
        raise ValueError("scaled_dot_product_attention: expected q (…, H, T, D) and k, v (…, Hkv, S, D) with H a "
                         f"multiple of Hkv, got q {q.shape}, k {k.shape}, v {v.shape}")
    check_rate("scaled_dot_product_attention", dropout)
    n_queries, n_keys, group = q.shape[-2], k.shape[-2], q.shape[-3] // k.shape[-3]
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    keys, values = (x if group == 1 else xp.repeat(x, group, axis=-3) for x in (k, v))  # (…, H, S, D): one a query head

    scores = q @ keys.swapaxes(-1, -2) * scale  # (…, H, T, S)
    if mask is not None:
        scores = xp.where(mask, scores, -math.inf) if mask.dtype == bool else scores + mask
    if causal:
        past = xp.arange(n_keys) <= xp.arange(n_queries)[:, None] + (n_keys - n_queries)  # (T, S)
        scores = xp.where(past, scores, -math.inf)
    top = scores.max(axis=-1, keepdims=True) if n_keys else xp.zeros((*q.shape[:-1], 1), dtype=q.dtype)
    p = xp.exp(scores - xp.where(xp.isfinite(top), top, 0))  # −∞ − (−∞), where all is masked, would be NaN
    total = p.sum(axis=-1, keepdims=True)
    p /= xp.where(total == 0, 1, total)  # the softmax of activation.py
    kept = None if dropout == 0 else keep_scale(p, p.shape, dropout, key or ())
    weights = p if kept is None else p * kept

    def backward(g):
        dvalues = weights.swapaxes(-1, -2) @ g  # out = weights v
        dweights = g @ values.swapaxes(-1, -2)
        dp = dweights if kept is None else dweights * kept
        dscores = p * (dp - (dp * p).sum(axis=-1, keepdims=True))  # the softmax, as in activation.py
        ds = dscores * scale
        dq, dkeys = ds @ keys, ds.swapaxes(-1, -2) @ q  # scores = scale · q kᵀ
        dmask = None if mask is None or mask.dtype == bool else lambda: unbroadcast(dscores, mask)
        return unbroadcast(dq, q), _sum_groups(dkeys, k), _sum_groups(dvalues, v), dmask
    return weights @ values, backward


def _sum_groups(g: Array, like: Array) -> Array:
    """(…, H, S, D) -> (…, Hkv, S, D): a key head that several query heads used gets the sum of their gradients."""
    *batch, n_heads, s, d = like.shape
    return g.reshape(*batch, n_heads, -1, s, d).sum(axis=-3).astype(like.dtype, copy=False)


@differentiable
def split_heads(xp: Any, x: Array, *, heads: tuple[int, ...]) -> Output:
    """The channels of each token cut into heads: (B, T, n D) gives (B, h, T, D) for each h of `heads`.

    From here on a head is an axis like the batch: attention works on each by itself.
    """
    (b, t, channels), n = x.shape, sum(heads)
    if channels % n:
        raise ValueError(f"split_heads: {channels} channels do not divide into {n} heads")
    ends = [sum(heads[:i]) for i in range(1, len(heads))]
    parts = xp.split(x.reshape(b, t, n, channels // n).transpose(0, 2, 1, 3), ends, axis=1)  # (B, h, T, D) each

    def backward(gs):
        return (xp.concatenate(gs, axis=1).transpose(0, 2, 1, 3).reshape(x.shape),)
    return tuple(parts), backward


@differentiable
def merge_heads(xp: Any, x: Array) -> Output:
    """The heads of each token side by side again: (B, H, T, D) gives (B, T, H D). Undoes `split_heads`."""
    b, h, t, d = x.shape

    def backward(g):
        return (g.reshape(b, t, h, d).transpose(0, 2, 1, 3),)
    return x.transpose(0, 2, 1, 3).reshape(b, t, h * d), backward
