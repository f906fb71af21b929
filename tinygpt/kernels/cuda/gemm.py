"""Matrix products as cuBLAS wants to be asked for them.

`cupy.matmul` of arrays with three axes copies transposed operands, ignores the TF32 setting and has no bfloat16; of two
matrices of bfloat16 it gives no float32. cuBLAS itself does all of it: a transpose is a flag, a batch is a stride, and
the result may be wider than the factors, or be added to what is there. It thinks in columns: a row-major (n, m) array
is its column-major (m, n) one, so that for c = a b it is asked for cᵀ = bᵀ aᵀ, and no array is moved.

Prerequisites: dropout.py. Next: linear.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine.deferred import Deferred
from ...backend import Array, array_module, backend_of, wide_dtype

__all__ = ["ProductGradient", "matmul"]

KINDS = {"float32": 0, "float64": 1, "bfloat16": 14}  # cudaDataType: R_32F, R_64F, R_16BF


def matmul(a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False, dtype: Any = None,
           out: Array | None = None, add: bool = False) -> Array:
    """a @ b, or that of each of N pairs; the last two axes of a factor are swapped first where so asked.

    Args:
        a: (n, k), or (k, n) with `transpose_a`; or N of them, (N, …). Contiguous; float32, float64 or bfloat16.
        b: (k, m), or (m, k) with `transpose_b`; as many, and of the same dtype.
        dtype: the result's. a's own by default; of bfloat16 factors, whose sums are in float32, it may be float32.
        out: where to put the result, contiguous; by default a new array.
        add: whether to add it to what `out` holds.

    Returns:
        (n, m) or (N, n, m).
    """
    n, m = a.shape[-1 if transpose_a else -2], b.shape[-2 if transpose_b else -1]
    if out is None:
        out = array_module(a).empty((*a.shape[:-2], n, m), dtype=dtype or a.dtype)
    if not out.size:
        return out
    if backend_of(a).kind == "cuda":
        three = [x if x.ndim == 3 else x[None] for x in (a, b, out)]
        _ask_cublas(three[0], three[1], three[2], transpose_a, transpose_b, add)
        return out
    a, b = (x.astype(wide_dtype(x.dtype), copy=False) for x in (a, b))  # elsewhere: the same sums
    product = (a.swapaxes(-1, -2) if transpose_a else a) @ (b.swapaxes(-1, -2) if transpose_b else b)
    out[...] = product + out if add else product
    return out


def _ask_cublas(a: Array, b: Array, out: Array, transpose_a: bool, transpose_b: bool, add: bool) -> None:
    from cupy._core import _routines_linalg as routines
    from cupy.cuda import device
    from cupy_backends.cuda.libs import cublas

    (n_batch, n, m), k = out.shape, a.shape[1 if transpose_a else 2]
    wide = wide_dtype(a.dtype)
    alpha, beta = np.ones((), dtype=wide), np.full((), 1 if add else 0, dtype=wide)  # read by cuBLAS on the host
    tf32 = a.dtype == np.float32 and routines.get_compute_type("f") == routines.COMPUTE_TYPE_TF32  # backend.allow_tf32
    compute: Any = (cublas.CUBLAS_COMPUTE_64F if wide == np.float64 else
                    cublas.CUBLAS_COMPUTE_32F_FAST_TF32 if tf32 else cublas.CUBLAS_COMPUTE_32F)
    flag = {False: cublas.CUBLAS_OP_N, True: cublas.CUBLAS_OP_T}
    kind, kind_of_out = KINDS[a.dtype.name], KINDS[out.dtype.name]
    handle = device.get_cublas_handle()
    before = cublas.getPointerMode(handle)
    cublas.setPointerMode(handle, cublas.CUBLAS_POINTER_MODE_HOST)
    try:
        cublas.gemmStridedBatchedEx(
            handle, flag[transpose_b], flag[transpose_a], m, n, k, alpha.ctypes.data,
            b.data.ptr, kind, b.shape[2], b.shape[1] * b.shape[2],
            a.data.ptr, kind, a.shape[2], a.shape[1] * a.shape[2], beta.ctypes.data,
            out.data.ptr, kind_of_out, m, n * m, n_batch, compute, cublas.CUBLAS_GEMM_DEFAULT)
    finally:
        cublas.setPointerMode(handle, before)


class ProductGradient(Deferred):
    """The gradient gᵀ x of a weight, of `dtype`: a product that cuBLAS adds to the parameter's gradient where it lies.

    Args:
        g: (N, O). x: (N, I).
    """

    def __init__(self, g: Array, x: Array, dtype: Any) -> None:
        self.g, self.x, self.dtype = g, x, dtype

    def __call__(self) -> Array:
        return matmul(self.g, self.x, transpose_a=True, dtype=self.dtype)

    def add_to(self, total: Array, vacant: bool) -> None:
        matmul(self.g, self.x, transpose_a=True, out=total, add=not vacant)
