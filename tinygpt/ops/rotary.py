"""The rotary embedding of positions: queries and keys are turned by angles.

Prerequisites: attention.py. Next: rms_norm.py. Su et al., "RoFormer" (2021).
"""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from ..autograd import Output, differentiable, unbroadcast

__all__ = ["rotary_embedding"]


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
