"""Dropout (Srivastava et al. 2014), with masks that depend on a key and on nothing else.

The random bits come from a counter-based generator, Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", 2011): a key that names seed, layer and step gives the same mask wherever and whenever it is asked for, and no
state has to be carried from one step to the next.

Prerequisites: normalization.py. Next: attention.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arrays import Array, from_numpy
from ..autograd.graph import Output
from ..autograd.operation import differentiable

__all__ = ["Key", "check_rate", "dropout", "keep_scale", "random_bits"]

Key = tuple[int, ...]  # up to four non-negative integers: by convention (seed, layer, step, call)


def check_rate(name: str, p: float) -> None:
    """ValueError unless 0 ≤ p ≤ 1."""
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: the dropout rate must be at least 0 and at most 1, got {p}")


def random_bits(key: Key) -> np.random.Philox:
    """The generator that a key names: its key words are (seed, layer), its counter runs through the elements in words 0
    and 1, and words 2 and 3 hold call and step."""
    seed, layer, step, call = (n % 2**64 for n in (*key, 0, 0, 0, 0)[:4])
    words = np.array([seed, layer, 0, 0, call, step], dtype=np.uint64)  # a list of large ones passes through float
    return np.random.Philox(key=words[:2], counter=words[2:])


def keep_scale(like: Array, shape: tuple[int, ...], p: float, key: Key) -> Array:
    """What dropout multiplies by: 0 with probability p, else 1 / (1 − p), as an array like `like`.

    Element i takes half a 64-bit output of `random_bits`: the low 32 bits where i is even, the high ones where odd.
    """
    n = math.prod(shape)
    words = random_bits(key).random_raw((n + 1) // 2).view(np.uint32)[:n].reshape(shape)
    threshold = round(p * 2**32)
    scale = (words >= threshold).astype(like.dtype)
    scale *= 1 / max(1 - threshold / 2**32, 2**-32)  # keeps the expected value: E[scale] = 1; where p is 1, 0
    return from_numpy(scale, like)


@differentiable
def dropout(xp: Any, x: Array, *, p: float, key: Key) -> Output:
    """x with each element dropped (set to 0) with probability p and the others divided by 1 − p.

    Args:
        x: any shape.
        p: the rate, 0 ≤ p ≤ 1.
        key: names the mask: equal keys and shapes give equal masks.
    """
    check_rate("dropout", p)
    scale = keep_scale(x, x.shape, p, key)

    def backward(g):  # the same elements are dropped on the way back
        return (g * scale,)
    return x * scale, backward
