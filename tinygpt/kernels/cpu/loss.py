"""The output projection and the cross entropy in chunks of rows.

The logits (N, V) are the largest array of a language model, and the softmax takes five passes over them. Here

* the passes run over blocks of rows that stay in the cache: logits come in, exponentials eˣ (less the row's exact
  maximum, so nothing overflows) go out;
* the exponentials are not divided by their sum: p = e / Σe, so that p W = (e W) / Σe and pᵀ x = eᵀ (x / Σe), and the
  skinny operands are scaled instead;
* rows that do not count (padding, the unmasked tokens of a masked model) are left out altogether;
* more than LOGITS of them never exist at once: a larger batch is worked off in chunks, and backward computes each
  chunk's logits again.

Prerequisites: ops/loss.py, linear.py. Next: embedding.py.
"""

from __future__ import annotations

import numpy as np

from ...autograd import Gradient, Output, is_grad_enabled
from ...ops import linear_cross_entropy
from ...ops.indexing import check_ids
from ...ops.loss import IGNORE_INDEX
from ..twins import accelerates
from .blocks import is_float, row_blocks
from .linear import ProductGradient

__all__ = ["LOGITS", "linear_cross_entropy_chunked"]

LOGITS = 1 << 26  # numbers, 256 MB of float32: 1,335 positions of GPT-2's vocabulary


@accelerates(linear_cross_entropy)
def linear_cross_entropy_chunked(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, targets: np.ndarray,
    weights: np.ndarray | None = None, *, ignore_index: int = IGNORE_INDEX, reduction: str = "mean",
) -> Output:
    """−log softmax(x Wᵀ + b)[target], as a sum, a mean, or one for each row."""
    if not _serves(x, weight, bias, targets, weights) or reduction not in ("mean", "sum", "none"):
        return NotImplemented
    n_vocab, width = weight.shape
    counts = (targets != ignore_index).reshape(-1)  # (N,)
    check_ids(np, "cross_entropy", targets.reshape(-1)[counts], n_vocab)
    importance = counts.astype(x.dtype) if weights is None else counts * weights.reshape(-1).astype(x.dtype)
    weight_sum = importance.sum()
    mean_of = float(weight_sum) if reduction == "mean" and weight_sum != 0 else 1.0

    used = np.flatnonzero(importance)  # (M,) the rows that count
    rows = x.reshape(-1, width)
    rows, t, w = (rows, targets.reshape(-1), importance) if used.size == len(rows) else (
        rows[used], targets.reshape(-1)[used], importance[used])
    step = max(1, LOGITS // n_vocab)
    chunks = [slice(start, min(start + step, len(rows))) for start in range(0, len(rows), step)]

    ones = np.ones((n_vocab, 1), dtype=x.dtype)

    def exponentials(chunk: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """e^(logits − max) − onehot(t) Σe, their sum Σe before the subtraction (M, 1), and the losses (M,)."""
        logits = rows[chunk] @ weight.T
        if bias is not None:
            logits += bias
        picked = (np.arange(len(logits)), t[chunk])
        losses = -logits[picked]
        total = np.empty((len(logits), 1), dtype=x.dtype)
        top = np.empty_like(total)
        for block in row_blocks(len(logits), n_vocab):
            part = logits[block]
            part.max(axis=1, keepdims=True, out=top[block])
            part -= top[block]
            np.exp(part, out=part)
            np.matmul(part, ones, out=total[block])  # the sum of each row
        losses += (top + np.log(total))[:, 0]
        logits[picked] -= total[:, 0]
        return logits, total, losses

    losses = np.empty(len(rows), dtype=x.dtype)
    loss = 0.0
    kept = None
    for chunk in chunks:
        computed = exponentials(chunk)
        loss += float(computed[2] @ w[chunk])
        losses[chunk] = computed[2] * w[chunk]
        if len(chunks) == 1 and is_grad_enabled():
            kept = computed

    def backward(g):  # d loss = Σ share (p − onehot(t)) dlogits, with p − onehot(t) = exponentials / Σe
        drows = np.empty_like(rows)
        each = w * (g.reshape(-1)[used] if reduction == "none" else g / mean_of)  # (M,)

        def factors(chunk: slice) -> tuple[np.ndarray, np.ndarray]:
            """The gradient of the chunk's logits as exponentials and what each row of them counts for, (M, 1)."""
            e, total, _ = kept if kept is not None else exponentials(chunk)
            share = each[chunk, None] / total
            np.matmul(e, weight, out=drows[chunk])
            drows[chunk] *= share
            return e, share

        if len(chunks) == 1:
            e, share = factors(chunks[0])
            dweight: Gradient = ProductGradient(e.T, rows * share)
            dbias: Gradient = lambda: e.T @ share[:, 0]
        else:
            dweight, dbias = np.zeros_like(weight), np.zeros(n_vocab, dtype=x.dtype)
            for chunk in chunks:
                e, share = factors(chunk)
                ProductGradient(e.T, rows[chunk] * share).add_to(dweight, vacant=chunk.start == 0)
                dbias += e.T @ share[:, 0]
        if used.size == importance.size:
            dx = drows
        else:
            dx = np.zeros((importance.size, width), dtype=x.dtype)
            dx[used] = drows
        return dx.reshape(x.shape), dweight, None if bias is None else dbias, None, None
    if reduction == "none":
        out = np.zeros(importance.size, dtype=x.dtype)
        out[used] = losses
        return out.reshape(targets.shape), backward
    return np.asarray(loss / mean_of, dtype=x.dtype), backward


def _serves(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, targets: np.ndarray,
            weights: np.ndarray | None) -> bool:
    """True where all fits; what does not is the rule's, which says what is wrong."""
    return (is_float(x, weight, bias) and weight.ndim == 2 and weight.size > 0 and x.shape[-1:] == weight.shape[1:]
            and (bias is None or bias.shape == weight.shape[:1]) and targets.shape == x.shape[:-1]
            and (weights is None or weights.shape == targets.shape))
