"""Layer norm and RMS norm in blocks of rows.

Kept for backward are x, which the residual stream holds anyway, and two numbers a row: the normalised vectors are
cheaper to compute again, in the cache, than to write and to read. Means over the features, and the sums over rows that
the gradients of weight and bias are, are products of a matrix and a vector: BLAS does them in one pass.

Prerequisites: ops/normalization.py for the derivation. Next: attention.py.
"""

from __future__ import annotations

import numpy as np

from ...autograd import Output
from ...ops import layer_norm, rms_norm
from ..twins import accelerates
from .blocks import average, is_float, row_blocks

__all__ = ["layer_norm_blocked", "rms_norm_blocked"]


def _serves(x: np.ndarray, *parameters: np.ndarray | None) -> bool:
    return is_float(x, *parameters) and x.ndim > 0 and x.shape[-1] > 0 and all(
        p is None or p.shape == x.shape[-1:] for p in parameters)


@accelerates(layer_norm)
def layer_norm_blocked(x: np.ndarray, weight: np.ndarray | None = None, bias: np.ndarray | None = None, *,
                       epsilon: float = 1e-5) -> Output:
    """(x − mean) / √(variance + epsilon) · weight + bias."""
    if not _serves(x, weight, bias):
        return NotImplemented
    return _normalize(x, weight, bias, epsilon, centre=True)


@accelerates(rms_norm)
def rms_norm_blocked(x: np.ndarray, weight: np.ndarray | None = None, *, epsilon: float = 1e-6) -> Output:
    """x / √(mean(x²) + epsilon) · weight."""
    if not _serves(x, weight):
        return NotImplemented
    out, backward = _normalize(x, weight, None, epsilon, centre=False)
    return out, lambda g: backward(g)[:2]


def _normalize(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, epsilon: float,
               centre: bool) -> Output:
    """Both norms; RMS norm is layer norm that takes the mean for 0."""
    rows = x.reshape(-1, x.shape[-1])  # (N, C)
    n_rows, width = rows.shape
    out = np.empty_like(rows)
    mean = np.empty((n_rows, 1), dtype=x.dtype) if centre else None
    inverse = np.empty((n_rows, 1), dtype=x.dtype)  # 1 / standard deviation
    mean_of = average(width, x.dtype)[:, None]  # x @ mean_of is the mean of each row

    def normal(block: slice, out: np.ndarray) -> np.ndarray:
        if mean is None:
            return np.multiply(rows[block], inverse[block], out=out)
        np.subtract(rows[block], mean[block], out=out)
        out *= inverse[block]
        return out

    for block in row_blocks(n_rows, width):
        part = rows[block]
        if mean is not None:
            mean[block] = part @ mean_of
            part = np.subtract(part, mean[block], out=out[block])
        variance = np.vecdot(part, part)[:, None] / width
        inverse[block] = 1 / np.sqrt(variance + epsilon)
        part = np.multiply(part, inverse[block], out=out[block])
        if weight is not None:
            part *= weight
        if bias is not None:
            part += bias

    def backward(g):
        g = g.reshape(-1, width)
        dx = np.empty_like(rows)
        dweight = None if weight is None else np.zeros_like(weight)
        dbias = None if bias is None else np.zeros_like(bias)
        gain = mean_of if weight is None else weight[:, None] * mean_of  # d @ mean_of for d = g · weight is g @ gain
        for block in row_blocks(n_rows, width):
            part = g[block]
            ones = np.ones(len(part), dtype=x.dtype)
            n = normal(block, np.empty_like(part, order="C"))
            gn = part * n
            if dbias is not None:
                dbias += ones @ part
            if dweight is not None:
                dweight += ones @ gn
            # dx = inverse (d − mean(d) − n mean(d n)), as the rule derives it
            d = np.multiply(part, 1 if weight is None else weight, out=dx[block])
            n *= gn @ gain
            d -= n
            if mean is not None:
                d -= part @ gain
            d *= inverse[block]
        return dx.reshape(x.shape), dweight, dbias
    return out.reshape(x.shape), backward
