"""RMS norm: layer norm without the mean, as in Llama.

Prerequisites: normalization.py. Next: feedforward.py.
"""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from ..autograd import Output, differentiable, unbroadcast

__all__ = ["rms_norm"]


@differentiable
def rms_norm(xp: Any, x: Array, weight: Array | None = None, *, epsilon: float = 1e-6) -> Output:
    """x / √(mean(x²) + epsilon) · weight over the last axis (Zhang & Sennrich 2019).

    Shapes: x (…, C); weight (C,) or None.
    """
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"rms_norm: x of shape {x.shape} needs a weight of shape {x.shape[-1:]}, got {weight.shape}")
    inverse = 1 / xp.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon)  # (…, 1)
    normal = x * inverse

    def backward(g):
        def dx():  # as in layer_norm, without the mean: only the part of d along n is lost
            d = g if weight is None else g * weight
            return unbroadcast(inverse * (d - normal * (d * normal).mean(axis=-1, keepdims=True)), x)
        return dx, lambda: unbroadcast(g * normal, weight)
    return (normal if weight is None else normal * weight), backward
