"""The linear layer on bfloat16 activations: three products by cuBLAS, which multiplies bfloat16 and sums in float32.

A float32 weight is rounded for the product; its gradient is not, and is added where the parameter's gradient lies. This
twin and those of attention.py and loss.py serve bfloat16 whether the fused kernels are on or not: with the rule a model
would compute as in float32, and convert on top of it.

Read before: gemm.py, ops/linalg.py. Read next: attention.py.
"""

from __future__ import annotations

from ...autograd import Output
from ...backend import Array, array_module, is_bfloat16
from ...ops import add, linear
from ..twins import accelerates
from .gemm import ProductGradient, matmul
from .launch import wide_dtype

__all__ = ["add_bfloat16", "linear_bfloat16"]


@accelerates(linear, device="cuda")
def linear_bfloat16(x: Array, weight: Array, bias: Array | None = None) -> Output:
    """x @ weightᵀ + bias."""
    if not is_bfloat16(x) or not x.size or weight.ndim != 2 or x.shape[-1:] != weight.shape[1:] or (
            bias is not None and bias.shape != weight.shape[:1]):
        return NotImplemented
    xp, (n_out, n_in) = array_module(x), weight.shape
    rows = xp.ascontiguousarray(x).reshape(-1, n_in)  # (N, I)
    factor = xp.ascontiguousarray(weight.astype(x.dtype, copy=False))  # (O, I)
    out = matmul(rows, factor, transpose_b=True)  # (N, O)
    if bias is not None:
        out += bias.astype(x.dtype, copy=False)

    def backward(g):
        g = xp.ascontiguousarray(g).reshape(-1, n_out)  # (N, O)

        dbias = None if bias is None else lambda: g.sum(axis=0, dtype=wide_dtype(x)).astype(bias.dtype, copy=False)
        return lambda: matmul(g, factor).reshape(x.shape), ProductGradient(g, rows, weight.dtype), dbias
    return out.reshape(*x.shape[:-1], n_out), backward


@accelerates(add, device="cuda")
def add_bfloat16(x: Array, y: Array) -> Output:
    """x + y of one shape, the residual stream's sum: rounded once, as by the rule, which would convert three arrays."""
    if not (is_bfloat16(x) and is_bfloat16(y) and x.shape == y.shape):
        return NotImplemented
    return x + y, lambda g: (g, g)
