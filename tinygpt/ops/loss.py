"""Cross entropy: how surprised the model is by the tokens that really came, in nats.

For logits x with softmax p, the loss of target t is −log p_t = log Σ_j e^{x_j} − x_t, and its derivative is
p − onehot(t): the model's belief minus the truth.

Prerequisites: attention.py. Next: operators.py.
"""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from ..autograd.graph import Output
from ..autograd.operation import differentiable
from .indexing import check_ids

__all__ = ["IGNORE_INDEX", "cross_entropy"]

IGNORE_INDEX = -100  # the target that does not count, as in PyTorch and Hugging Face


@differentiable
def cross_entropy(xp: Any, logits: Array, targets: Array, weights: Array | None = None, *,
                  ignore_index: int = IGNORE_INDEX, reduction: str = "mean") -> Output:
    """−log softmax(logits)[target], over all positions.

    Args:
        logits: (…, V).
        targets: (…) integers in 0 … V − 1, or `ignore_index` where a position does not count.
        weights: (…) how much each position counts; 1 by default.
        reduction: "mean": the weighted mean, Σ w·loss / Σ w, and 0 if nothing counts; "sum": Σ w·loss;
            "none": w·loss at each position.

    Raises:
        ValueError: shapes that do not fit, or an unknown reduction.
        IndexError: a target outside 0 … V − 1 that is not `ignore_index`.
    """
    if targets.shape != logits.shape[:-1] or (weights is not None and weights.shape != targets.shape):
        raise ValueError(f"cross_entropy: logits {logits.shape} need targets (and weights) of shape "
                         f"{logits.shape[:-1]}, got {targets.shape}"
                         + ("" if weights is None else f" and {weights.shape}"))
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'cross_entropy: reduction must be "mean", "sum" or "none", got {reduction!r}')
    n_vocab = logits.shape[-1]
    counts = (targets != ignore_index).reshape(-1)  # (N,)
    t = xp.where(counts, targets.reshape(-1), 0)  # (N,), something harmless where ignored
    check_ids(xp, "cross_entropy", t, n_vocab)
    w = counts.astype(logits.dtype) if weights is None else counts * weights.reshape(-1).astype(logits.dtype)
    rows = xp.arange(t.size)

    x = logits.reshape(-1, n_vocab)  # (N, V)
    shifted = x - x.max(axis=-1, keepdims=True)
    powers = xp.exp(shifted)
    total = powers.sum(axis=-1, keepdims=True)  # (N, 1)
    losses = xp.where(counts, xp.log(total[:, 0]) - shifted[rows, t], 0) * w  # (N,)
    weight_sum = w.sum()
    mean_of = xp.where(weight_sum == 0, 1, weight_sum)

    def backward(g):
        share = w * (g.reshape(-1) if reduction == "none" else g / mean_of if reduction == "mean" else g)  # (N,)
        dx = powers / total  # p − onehot(t), times what the position counts for
        dx[rows, t] -= 1
        dx *= share[:, None]
        return dx.reshape(logits.shape), None, None
    if reduction == "none":
        return losses.reshape(targets.shape), backward
    return (losses.sum() / mean_of if reduction == "mean" else losses.sum()), backward
