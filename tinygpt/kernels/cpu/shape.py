"""Splitting and adding without copies.

Prerequisites: ops/shape.py. Next: decoding.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...autograd import Output
from ...ops import add, merge_heads, split, split_heads
from ..twins import accelerates

__all__ = ["add_same_shape", "merge_heads_of_a_token", "split_heads_of_a_token", "split_heads_rejoining",
           "split_rejoining"]


@accelerates(add)
def add_same_shape(x: np.ndarray, y: np.ndarray) -> Output:
    """x + y of one shape and dtype, the residual connection: backward needs neither, so neither is kept in memory."""
    if type(x) is not np.ndarray or type(y) is not np.ndarray or x.shape != y.shape or x.dtype != y.dtype:
        return NotImplemented
    return x + y, _to_both


def _to_both(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return g, g


@accelerates(split)
def split_rejoining(x: np.ndarray, *, lengths: tuple[int, ...], axis: int = 0) -> Output:
    """x cut along `axis`. The attention twin leaves the gradients of q, k and v side by side in one array of x's shape:
    where that is so, that array is the gradient, and nothing is joined."""
    if type(x) is not np.ndarray or sum(lengths) != x.shape[axis]:
        return NotImplemented
    return _parts(x, lengths, axis), lambda gs: (_rejoined(gs, x.shape, lengths, axis),)


@accelerates(split_heads)
def split_heads_rejoining(x: np.ndarray, *, heads: tuple[int, ...]) -> Output:
    """x (B, T, n D) cut into heads. The same: the attention twin leaves the gradients side by side, as (B, T, n, D)."""
    if type(x) is not np.ndarray or x.ndim != 3 or x.shape[2] % sum(heads):
        return NotImplemented
    shape, whole = x.shape, (*x.shape[:2], sum(heads), x.shape[2] // sum(heads))  # (B, T, n, D)
    parts = _parts(x.reshape(whole), heads, 2)

    def backward(gs):
        return (_rejoined([g.transpose(0, 2, 1, 3) for g in gs], whole, heads, 2).reshape(shape),)
    return tuple([part.transpose(0, 2, 1, 3) for part in parts]), backward


@accelerates(split_heads, recorded=False)
def split_heads_of_a_token(x: np.ndarray, *, heads: tuple[int, ...]) -> tuple[tuple[np.ndarray, ...], None]:
    """A single token's heads lie in their order already."""
    if type(x) is not np.ndarray or x.ndim != 3 or x.shape[1] != 1 or x.shape[2] % sum(heads):
        return NotImplemented
    n = sum(heads)
    return _parts(x.reshape(x.shape[0], n, 1, x.shape[2] // n), heads, 1), None


@accelerates(merge_heads, recorded=False)
def merge_heads_of_a_token(x: np.ndarray) -> tuple[np.ndarray, None]:
    """A single token's heads, (B, H, 1, D), lie side by side already."""
    if type(x) is not np.ndarray or x.ndim != 4 or x.shape[2] != 1:
        return NotImplemented
    return x.reshape(x.shape[0], 1, -1), None


def _rejoined(gs: Sequence[np.ndarray], shape: tuple[int, ...], lengths: tuple[int, ...], axis: int) -> np.ndarray:
    """The parts joined along `axis`: the array that they are views of, where they are all of it."""
    whole = gs[0].base
    if type(whole) is np.ndarray and whole.shape == shape and whole.dtype == gs[0].dtype and all(
            _is_view(g, part) for g, part in zip(gs, _parts(whole, lengths, axis))):
        return whole
    return np.concatenate(gs, axis=axis)


def _parts(x: np.ndarray, lengths: tuple[int, ...], axis: int) -> tuple[np.ndarray, ...]:
    """x cut along `axis`: `np.split` in a third of its time, which counts where a token is decoded."""
    before = (slice(None),) * (axis % x.ndim)
    parts, stop = [], 0
    for n in lengths:
        parts.append(x[(*before, slice(stop, stop + n))])
        stop += n
    return tuple(parts)


def _is_view(g: np.ndarray, part: np.ndarray) -> bool:
    """True if both are the same elements of the same memory."""
    return g.shape == part.shape and g.strides == part.strides and g.dtype == part.dtype \
        and g.ctypes.data == part.ctypes.data
