"""Layer norm: each vector of C features brought to a standard size, then scaled by learned weights.

Prerequisites: activation.py. Next: dropout.py.
"""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from ..autograd.graph import Output
from ..autograd.operation import differentiable, unbroadcast

__all__ = ["layer_norm"]


@differentiable
def layer_norm(xp: Any, x: Array, weight: Array | None = None, bias: Array | None = None, *,
               epsilon: float = 1e-5) -> Output:
    """(x − mean) / √(variance + epsilon) · weight + bias over the last axis (Ba, Kiros & Hinton 2016).

    Shapes: x (…, C); weight and bias (C,) or None.
    """
    for parameter in (weight, bias):
        if parameter is not None and parameter.shape != x.shape[-1:]:
            raise ValueError(f"layer_norm: x of shape {x.shape} needs parameters of shape {x.shape[-1:]}, "
                             f"got {parameter.shape}")
    centred = x - x.mean(axis=-1, keepdims=True)
    inverse = 1 / xp.sqrt((centred * centred).mean(axis=-1, keepdims=True) + epsilon)  # (…, 1)
    normal = centred * inverse

    def backward(g):
        def dx():
            # With n the normalised vector and d the gradient for it, dn = inverse (dx − mean(dx) − n mean(n dx)).
            # The map is symmetric, so the same expression carries d back: the part of d along 1 and along n is lost,
            # because neither a shift nor a stretch of x changes n.
            d = g if weight is None else g * weight
            return unbroadcast(inverse * (d - d.mean(axis=-1, keepdims=True)
                                          - normal * (d * normal).mean(axis=-1, keepdims=True)), x)
        return dx, lambda: unbroadcast(g * normal, weight), lambda: unbroadcast(g, bias)
    out = normal if weight is None else normal * weight
    return (out if bias is None else out + bias), backward
