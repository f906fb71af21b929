"""Scaled dot-product attention in blocks: nothing of size (T, S) exists for all heads, or for all of a head.

Forward goes down the queries, 64 rows at a time. A row's scores are exponentiated and multiplied with the values as
they are, and the short output is divided by their sum instead of the long row. For backward only the logarithm of that
sum is kept, one number a row, from which a block of weights is computed anew when it is needed. This is the plan of
FlashAttention (Dao et al. 2022), with blocks of whole rows, so that no running maximum has to be corrected. (Where all
queries and keys make up a single block, as in short contexts, its weights are kept.)

Causal attention never looks at the blocks above the diagonal, half of them all; inside the diagonal blocks an addition
of −∞ hides the future.

Memory follows the layers' habits: queries, keys and values come as views of one array (B, T, H + 2 Hkv, D), and their
gradients are left in another; the output lies in memory as (B, T, H, D), ready for the next projection.

Shapes: B batch, H heads, K key heads, G = H / K query heads a key head, T queries, S keys, D head size.

Prerequisites: ops/attention.py, blocks.py. Next: loss.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...autograd import Output, is_grad_enabled
from ...ops import scaled_dot_product_attention
from ...ops.dropout import Key
from ..twins import accelerates
from .blocks import BLOCK, is_float

__all__ = ["ROWS", "attention_blocked"]

ROWS = 64  # rows or columns of a block: large enough for the matrix products, small enough to waste little on diagonals


@accelerates(scaled_dot_product_attention)
def attention_blocked(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None, *,
    causal: bool = False, scale: float | None = None, dropout: float = 0.0, key: Key | None = None,
) -> Output:
    """softmax(q kᵀ · scale + mask) v, with causal, boolean and additive masks. Dropout and queries before the first key
    are left to the rule, and so is the gradient of an additive mask, which hardly any mask wants."""
    if not _serves(q, k, v, mask) or dropout or (causal and k.shape[2] < q.shape[2]):
        return NotImplemented
    (batch, n_heads, length, size), (_, n_keys_heads, n_keys, _) = q.shape, k.shape
    groups = n_heads // n_keys_heads
    scale = 1 / math.sqrt(size) if scale is None else float(scale)
    masks = None if mask is None else _by_group(np.broadcast_to(mask, (batch, n_heads, length, n_keys)), groups)
    qs, ks, vs = (_by_group(_unit_stride(x), g) for x, g in ((q, groups), (k, 1), (v, 1)))  # (B, K, G or 1, T or S, D)
    out = np.empty((batch, length, n_heads, size), dtype=q.dtype).transpose(0, 2, 1, 3)  # (B, H, T, D)
    outs = _by_group(out, groups)
    log_total = np.empty((batch, n_keys_heads, groups, length, 1), dtype=q.dtype)
    hidden = np.triu(np.full((ROWS, ROWS), -math.inf, dtype=q.dtype), 1) if causal else None
    offset = n_keys - length  # query i stands at position i + offset
    ones = np.ones(n_keys, dtype=q.dtype)
    kept: list[np.ndarray] | None = [] if is_grad_enabled() and max(length, n_keys) <= ROWS else None
    heads = list(_head_blocks(batch, n_keys_heads, groups * ROWS * n_keys))

    for part in heads:
        for start in range(0, length, ROWS):
            rows = slice(start, min(start + ROWS, length))
            seen = slice(0, rows.stop + offset if causal else n_keys)
            scores = (qs[part][..., rows, :] * scale) @ ks[part][..., seen, :].swapaxes(-1, -2)
            _mask(scores, None if masks is None else masks[part][..., rows, seen])
            if hidden is not None:
                n = rows.stop - start
                scores[..., -n:] += hidden[:n, :n]
            top = scores.max(axis=-1, keepdims=True)
            if masks is not None:
                top[top == -math.inf] = 0  # a row that looks nowhere: −∞ − 0 is what its exponentials are to be of
            scores -= top
            np.exp(scores, out=scores)
            total = (scores.reshape(-1, seen.stop) @ ones[:seen.stop]).reshape(top.shape)
            if masks is not None:
                total[total == 0] = 1
            np.divide(scores @ vs[part][..., seen, :], total, out=outs[part][..., rows, :])
            if kept is None:
                log_total[part][..., rows, :] = top + np.log(total)
            else:
                kept.append(np.divide(scores, total, out=scores))

    def backward(g):
        g = _unit_stride(g)
        gs = _by_group(g, groups)
        dot = _by_group(np.vecdot(g, out)[..., None], groups)  # Σ_j p_j dp_j, since out = p v and dp = g vᵀ
        dq, dk, dv = _side_by_side(q, k)
        dqs, dks, dvs = _by_group(dq, groups), _by_group(dk, 1), _by_group(dv, 1)
        # Blocks of keys start anew at the diagonal, which thus cuts a block from corner to corner or not at all.
        cuts = [0] if kept is not None else list(range(0, n_keys, ROWS)) if not causal else [
            *range(0, offset, ROWS), *range(offset, n_keys, ROWS)]
        for i, part in enumerate(heads):
            scaled = qs[part] * scale
            for start, stop in zip(cuts, [*cuts[1:], n_keys]):
                seen = slice(start, stop)
                first = max(0, start - offset) if causal else 0  # the first query that looks at any of these keys
                rows = slice(first, length)
                keys, values, upper = ks[part][..., seen, :], vs[part][..., seen, :], gs[part][..., rows, :]
                if kept is not None:
                    p = kept[i]
                else:
                    p = scaled[..., rows, :] @ keys.swapaxes(-1, -2)
                    _mask(p, None if masks is None else masks[part][..., rows, seen])
                    if hidden is not None and start >= offset:
                        n = stop - start
                        p[..., :n, :] += hidden[:n, :n]
                    p -= log_total[part][..., rows, :]
                    np.exp(p, out=p)
                _sum_groups(p, upper, dvs[part][..., seen, :])
                dscores = upper @ values.swapaxes(-1, -2)
                dscores -= dot[part][..., rows, :]
                dscores *= p
                _sum_groups(dscores, scaled[..., rows, :], dks[part][..., seen, :])
                if start == 0:  # all queries see the first keys
                    np.matmul(dscores, keys, out=dqs[part])
                else:
                    dqs[part][..., rows, :] += dscores @ keys
            dqs[part][...] *= scale
        return dq, dk, dv, None if mask is None or mask.dtype == bool else lambda: _mask_gradient(
            g, q, k, v, mask, causal, scale)
    return out, backward if is_grad_enabled() else _unrecorded


def _unrecorded(g):
    raise AssertionError("attention ran without recording, so there is no way back")


def _mask_gradient(g: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray, causal: bool,
                   scale: float) -> np.ndarray:
    """By the rule, all of it once more: biases that are learned are rare."""
    rule = scaled_dot_product_attention.operation.rule  # type: ignore[attr-defined]
    _, backward = rule(np, q, k, v, mask, causal=causal, scale=scale)
    return backward(g)[3]()


def _serves(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None) -> bool:
    return (q.ndim == k.ndim == 4 and is_float(q, k, v) and k.shape == v.shape and q.size > 0 and k.size > 0
            and q.shape[0] == k.shape[0] and q.shape[3] == k.shape[3] and q.shape[1] % k.shape[1] == 0
            and (mask is None or _fits(mask, q, k)))


def _fits(mask: np.ndarray, q: np.ndarray, k: np.ndarray) -> bool:
    """Whether a mask leaves shape and dtype of the scores as they are."""
    shape = (*q.shape[:3], k.shape[2])
    return (mask.ndim <= 4 and all(n in (1, m) for n, m in zip(mask.shape[::-1], shape[::-1]))
            and (mask.dtype == bool or (is_float(mask) and mask.itemsize <= q.itemsize)))


def _unit_stride(x: np.ndarray) -> np.ndarray:
    """x, or a copy that BLAS can read: each row of D numbers without gaps."""
    return x if x.strides[-1] == x.itemsize and min(x.strides) >= 0 else np.ascontiguousarray(x)


def _by_group(x: np.ndarray, groups: int) -> np.ndarray:
    """(B, H, …) -> (B, H / G, G, …): a view, as cutting an axis in two always is."""
    shape = x.shape
    return x.reshape(shape[0], shape[1] // groups, groups, *shape[2:])


def _head_blocks(batch: int, n_heads: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Slices of batch and key heads whose scores, `size` numbers a key head, make about one block together."""
    some = max(1, BLOCK // (size * n_heads))
    for b in range(0, batch, some):
        few = n_heads if some > 1 else max(1, BLOCK // size)
        for h in range(0, n_heads, few):
            yield slice(b, b + some), slice(h, h + few)


def _mask(scores: np.ndarray, mask: np.ndarray | None) -> None:
    if mask is None:
        return
    if mask.dtype == bool:
        np.copyto(scores, -math.inf, where=~mask)
    else:
        scores += mask


def _sum_groups(p: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """pᵀ x, summed over the query heads of each key head: p (B, K, G, T, n), x (B, K, G, T, D), out (B, K, 1, n, D)."""
    if p.shape[2] == 1:
        np.matmul(p.swapaxes(-1, -2), x, out=out)
    else:
        np.sum(p.swapaxes(-1, -2) @ x, axis=2, keepdims=True, out=out)


def _side_by_side(q: np.ndarray, k: np.ndarray) -> list[np.ndarray]:
    """Empty arrays of the shapes of q, k and v; where T = S, as parts of one array (B, T, H + 2 K, D)."""
    (batch, n_heads, length, size), (_, n_keys_heads, n_keys, _) = q.shape, k.shape
    counts = (n_heads, n_keys_heads, n_keys_heads)
    if length == n_keys:
        whole = np.empty((batch, length, sum(counts), size), dtype=q.dtype)
        parts = np.split(whole, np.cumsum(counts)[:-1].tolist(), axis=2)
    else:
        parts = [np.empty((batch, n, count, size), dtype=q.dtype)
                 for n, count in zip((length, n_keys, n_keys), counts)]
    return [part.transpose(0, 2, 1, 3) for part in parts]
