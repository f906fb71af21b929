"""The output projection and the cross entropy in chunks of rows, their gradients made on the way forward.

The logits (N, V) are the largest array of a language model. A chunk of them is turned into losses and, in place, into
its own gradient, which goes straight into those of x and of the weight; the next chunk takes the memory. The gradient
from above is one number, by which all of it is multiplied on the way back. So no logits are kept, none are computed
twice, and there are three matrix products in all, as many as without chunks.

Of bfloat16 it serves the products while the kernels are off, too: then losses and gradients of float32 logits are
worked out as in the rule, and the gradient is rounded for the next product.

Prerequisites: attention.py, ops/loss.py. Next: embedding.py.
"""

from __future__ import annotations

from typing import Any

from ...autograd import Output, is_grad_enabled
from ...backend import Array, array_module, wide_dtype
from ...ops import linear_cross_entropy
from ...ops.loss import IGNORE_INDEX
from .gemm import matmul
from .launch import ELEMENTS, fused, launch, row_threads, switched_on

__all__ = ["LOGITS", "linear_cross_entropy_fused"]

LOGITS = 1 << 27  # numbers, 512 MB of float32: 2,668 positions of GPT-2's vocabulary


@fused(linear_cross_entropy, products=True)
def linear_cross_entropy_fused(
    x: Array, weight: Array, bias: Array | None, targets: Array, weights: Array | None = None, *,
    ignore_index: int = IGNORE_INDEX, reduction: str = "mean",
) -> Output:
    """−log softmax(x Wᵀ + b)[target], as a sum or a mean."""
    if not _serves(x, weight, bias, targets, weights) or reduction not in ("mean", "sum"):
        return NotImplemented
    xp, wide, (n_vocab, width) = array_module(x), wide_dtype(x.dtype), weight.shape
    counts = (targets != ignore_index).reshape(-1)  # (N,)
    t = xp.where(counts, targets.reshape(-1), 0).astype(xp.int64)
    importance = counts.astype(wide) if weights is None else counts * weights.reshape(-1).astype(wide)
    weight_sum = importance.sum()
    mean_of = xp.where(weight_sum == 0, 1, weight_sum) if reduction == "mean" else xp.ones((), dtype=wide)

    rows = x.reshape(-1, width)  # (N, C)
    factor = weight.astype(x.dtype, copy=False)  # (V, C)
    recorded, by_kernel = is_grad_enabled(), switched_on()
    losses = xp.empty(len(rows), dtype=wide)
    if recorded:
        drows, dweight = xp.empty_like(rows), xp.zeros(weight.shape, dtype=wide)
        dbias = None if bias is None else xp.zeros(n_vocab, dtype=wide)
    step = max(1, LOGITS // n_vocab)
    for start in range(0, len(rows), step):
        chunk = slice(start, min(start + step, len(rows)))
        logits = matmul(rows[chunk], factor, transpose_b=True, dtype=x.dtype if by_kernel else wide)  # (n, V)
        if bias is not None:
            logits += bias.astype(logits.dtype, copy=False)
        if by_kernel:  # what were logits are their gradients then
            launch("cross_entropy_rows", logits, len(logits), row_threads(n_vocab), logits, t[chunk], importance[chunk],
                   losses[chunk], n_vocab, recorded)
        else:
            losses[chunk], logits = _by_arrays(xp, logits, t[chunk], importance[chunk], recorded)
        if recorded:
            dlogits = logits.astype(x.dtype, copy=False)
            matmul(dlogits, factor, out=drows[chunk])
            matmul(dlogits, rows[chunk], transpose_a=True, out=dweight, add=True)
            if dbias is not None:
                dbias += logits.sum(axis=0, dtype=wide)

    def backward(g):
        share = (g / mean_of).astype(wide)
        dx = (drows * share).astype(x.dtype, copy=False).reshape(x.shape)
        return (dx, lambda: (dweight * share).astype(weight.dtype, copy=False),
                None if bias is None else lambda: (dbias * share).astype(bias.dtype, copy=False), None, None)
    return losses.sum() / mean_of, backward


def _by_arrays(xp: Any, logits: Array, t: Array, importance: Array, recorded: bool) -> tuple[Array, Array]:
    """Losses (n,) and the gradient of the logits (n, V), which are written over: what the kernel does, as the rule."""
    at = xp.arange(len(t))
    logits -= logits.max(axis=-1, keepdims=True)
    of_target = logits[at, t]  # (n,)
    powers = xp.exp(logits, out=logits)
    total = powers.sum(axis=-1, keepdims=True)  # (n, 1)
    losses = xp.where(importance == 0, 0, (xp.log(total[:, 0]) - of_target) * importance)
    if recorded:
        powers /= total
        powers[at, t] -= 1
        powers *= importance[:, None]
    return losses, powers


def _serves(x: Array, weight: Array, bias: Array | None, targets: Array, weights: Array | None) -> bool:
    """True where all fits; what does not is the rule's, which says what is wrong."""
    return (x.ndim > 0 and _contiguous(x) and _contiguous(weight) and weight.dtype in (x.dtype, wide_dtype(x.dtype))
            and weight.ndim == 2 and x.shape[-1:] == weight.shape[1:]
            and (bias is None or bias.shape == weight.shape[:1]) and targets.shape == x.shape[:-1]
            and targets.dtype.kind in "iu" and (weights is None or weights.shape == targets.shape))


def _contiguous(x: Array) -> bool:
    return x.dtype.name in ELEMENTS and x.flags.c_contiguous and x.size > 0
