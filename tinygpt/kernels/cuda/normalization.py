"""Layer norm and RMS norm: a row is read, normalised and written by one block; two numbers a row are kept.

The gradients of weight and bias are sums over all rows. Groups of rows are summed side by side, and their sums after
that, always in the same order.

Prerequisites: activation.py, ops/normalization.py for the derivation. Next: dropout.py.
"""

from __future__ import annotations

from ...autograd import Output
from ...backend import Array, array_module, wide_dtype
from ...ops import layer_norm, rms_norm
from .launch import fused, grid, launch, row_threads, serves

__all__ = ["layer_norm_fused", "rms_norm_fused"]

GROUPS = 256  # of rows, at most


@fused(layer_norm)
def layer_norm_fused(x: Array, weight: Array | None = None, bias: Array | None = None, *,
                     epsilon: float = 1e-5) -> Output:
    """(x − mean) / √(variance + epsilon) · weight + bias."""
    return _normalize(x, weight, bias, epsilon, centre=True)


@fused(rms_norm)
def rms_norm_fused(x: Array, weight: Array | None = None, *, epsilon: float = 1e-6) -> Output:
    """x / √(mean(x²) + epsilon) · weight."""
    result = _normalize(x, weight, None, epsilon, centre=False)
    if result is NotImplemented:
        return NotImplemented
    out, backward = result
    return out, lambda g: backward(g)[:2]


def _normalize(x: Array, weight: Array | None, bias: Array | None, epsilon: float, centre: bool) -> Output:
    wide = wide_dtype(x.dtype)
    if not serves(x) or not x.ndim or any(p is not None and (p.shape != x.shape[-1:] or p.dtype not in (x.dtype, wide))
                                          for p in (weight, bias)):
        return NotImplemented
    xp, width = array_module(x), x.shape[-1]
    n_rows, threads = x.size // width, row_threads(width)
    of_weight, of_bias = (None if p is None else p.dtype for p in (weight, bias))
    weight, bias = (None if p is None else xp.ascontiguousarray(p, dtype=wide) for p in (weight, bias))
    out = xp.empty_like(x)
    mean, inverse = xp.empty(n_rows, dtype=wide), xp.empty(n_rows, dtype=wide)  # (N,) each
    launch("norm_forward", x, n_rows, threads, x, weight, bias, out, mean, inverse, width, float(epsilon), centre)

    def backward(g):
        g = xp.ascontiguousarray(g)

        def dx():
            out = xp.empty_like(x)
            launch("norm_backward_x", x, n_rows, threads, g, x, weight, mean, inverse, out, width, centre)
            return out
        if weight is None and bias is None:
            return dx, None, None
        each = grid(n_rows, GROUPS)
        n_groups = grid(n_rows, each)
        sums = xp.empty((2, n_groups, width), dtype=wide)
        launch("norm_backward_parameters", x, (grid(width, 128), n_groups), 128, g, x, mean, inverse, sums[0], sums[1],
               n_rows, width, each)
        dweight, dbias = sums.sum(axis=1)
        return (dx, None if weight is None else dweight.astype(of_weight, copy=False),
                None if bias is None else dbias.astype(of_bias, copy=False))
    return out, backward
