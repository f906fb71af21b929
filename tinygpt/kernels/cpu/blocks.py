"""Working through arrays in blocks that stay in the cache.

NumPy evaluates one operation at a time. Ten operations on an array of 25 MB move ten times 25 MB through memory; the
same ten on a block of half a megabyte, one block after the other, find their operands in the second-level cache.

The block is not smaller, although a smaller one would fit a faster cache: a call costs a microsecond, and with two
replica threads the calls also queue for Python's lock.

Prerequisites: kernels/twins.py. Next: activation.py.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["BLOCK", "average", "blocks", "is_float", "row_blocks"]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
BLOCK = 131_072  # elements: half a megabyte of float32


def is_float(*arrays: Any) -> bool:
    """True if all arrays (None aside, which the first is not) are float32, or all float64: what the twins serve."""
    dtype = arrays[0].dtype
    for a in arrays:
        if a is not None and a.dtype != dtype:
            return False
    return dtype in FLOATS


@functools.lru_cache(64)
def average(width: int, dtype: np.dtype) -> np.ndarray:
    """(width,): the vector whose product with a row is the row's mean."""
    vector = np.full(width, 1 / width, dtype=dtype)
    vector.flags.writeable = False  # it is cached and shared
    return vector


def blocks(n: int) -> Iterator[slice]:
    """0 … n in slices of at most BLOCK."""
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))


def row_blocks(n_rows: int, width: int) -> Iterator[slice]:
    """Rows 0 … n_rows of `width` elements each in slices of about BLOCK elements, of one row at least."""
    step = max(1, BLOCK // max(1, width))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
