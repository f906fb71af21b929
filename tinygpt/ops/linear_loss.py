"""The output projection and the cross entropy of its logits in one operation.

Prerequisites: linalg.py, loss.py. Next: recurrent.py.
"""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from ..autograd import Output, differentiable
from .linalg import linear
from .loss import IGNORE_INDEX, cross_entropy

__all__ = ["linear_cross_entropy"]


@differentiable
def linear_cross_entropy(xp: Any, x: Array, weight: Array, bias: Array | None, targets: Array,
                         weights: Array | None = None, *, ignore_index: int = IGNORE_INDEX,
                         reduction: str = "mean") -> Output:
    """`cross_entropy(linear(x, weight, bias), targets, …)`.

    Its truth is the two rules one after the other. They are one operation so that a twin may work through the positions
    in blocks: the logits, (N, V) numbers, are by far the largest array of a language model, and need not exist at once.

    Args:
        x: (…, C) features. weight: (V, C). bias: (V,) or None. The rest as in `cross_entropy`.
    """
    logits, linear_backward = linear.operation.rule(xp, x, weight, bias)  # type: ignore[attr-defined]
    loss, loss_backward = cross_entropy.operation.rule(  # type: ignore[attr-defined]
        xp, logits, targets, weights, ignore_index=ignore_index, reduction=reduction)

    def backward(g):  # the chain rule: the gradient of the logits is what `linear` gets from above
        dlogits = loss_backward(g)[0]
        dx, dweight, dbias = linear_backward(dlogits)
        return dx, dweight, None if bias is None else dbias, None, None
    return loss, backward
