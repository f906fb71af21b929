"""Dropout whose mask is drawn where it is used: nothing comes from the host, and nothing is kept for the way back.

The generator needs only to be told which element's bits are wanted, so backward draws the same mask again.

Prerequisites: normalization.py, ops/dropout.py. Next: gemm.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd import Output
from ...backend import Array, array_module
from ...ops.dropout import Key, check_rate, dropout
from .launch import THREADS, fused, grid, launch, serves

__all__ = ["drop", "dropout_fused"]


def _word(n: int) -> Any:
    """A 64-bit word of key or counter as the signed number of the same bits."""
    return np.uint64(n % 2**64).view(np.int64)


def drop(x: Array, out: Array, p: float, key: Key) -> None:
    """out = x times the mask that `key` names, divided by 1 − p; the two may be one array."""
    seed, layer, step, call = (*key, 0, 0, 0, 0)[:4]
    threshold = round(p * 2**32)
    if threshold >= 2**32:  # nothing is kept, and the kernel's bound has 32 bits
        out.fill(0)
        return
    launch("dropout_apply", x, grid(x.size, 8 * THREADS), THREADS, x, out, x.size, _word(seed), _word(layer),
           _word(call), _word(step), threshold, 1 / (1 - threshold / 2**32))


@fused(dropout)
def dropout_fused(x: Array, *, p: float, key: Key) -> Output:
    """x with each element dropped with probability p and the others divided by 1 − p."""
    if not serves(x):
        return NotImplemented
    check_rate("dropout", p)
    xp = array_module(x)
    out = xp.empty_like(x)
    drop(x, out, p, key)

    def backward(g):
        dx = xp.empty_like(x)
        drop(xp.ascontiguousarray(g), dx, p, key)
        return (dx,)
    return out, backward
