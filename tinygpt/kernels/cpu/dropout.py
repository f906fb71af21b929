"""Dropout with its mask kept as one byte an element.

The bits are those of the rule, drawn block by block, so that the random words never exist all at once. The time hardly
changes: three quarters of it are the generator's.

Prerequisites: ops/dropout.py. Next: shape.py.
"""

from __future__ import annotations

import numpy as np

from ...autograd import Output
from ...ops.dropout import Key, check_rate, dropout, random_bits
from ..twins import accelerates
from .blocks import blocks, is_float

__all__ = ["dropout_blocked"]


@accelerates(dropout)
def dropout_blocked(x: np.ndarray, *, p: float, key: Key) -> Output:
    """x with each element dropped with probability p and the others divided by 1 − p."""
    if not is_float(x):
        return NotImplemented
    check_rate("dropout", p)
    flat = x.reshape(-1)
    bits = random_bits(key)
    threshold = round(p * 2**32)
    scale = 1 / max(1 - threshold / 2**32, 2**-32)
    keep = np.empty(flat.shape, dtype=bool)
    out = np.empty_like(flat)
    for block in blocks(flat.size):  # BLOCK is even: each block starts with the low half of a word
        n = block.stop - block.start
        words = bits.random_raw((n + 1) // 2).view(np.uint32)[:n]
        np.greater_equal(words, threshold, out=keep[block])
        np.multiply(flat[block], keep[block], out=out[block])
        out[block] *= scale

    def backward(g):
        dx = np.multiply(g.reshape(-1), keep)
        dx *= scale
        return (dx.reshape(g.shape),)
    return out.reshape(x.shape), backward
