"""Batches of matrix products as cuBLAS wants to be asked for them.

`cupy.matmul` of arrays with three axes copies transposed operands, ignores the TF32 setting and has no bfloat16. cuBLAS
itself does all of it: a transpose is a flag, and a batch is a stride. It thinks in columns: a row-major (n, m) array is
its column-major (m, n) one, so that for c = a b it is asked for cᵀ = bᵀ aᵀ, and no array is moved.

Read before: dropout.py. Read next: attention.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import Array, array_module, backend_of

__all__ = ["batched_matmul"]


def batched_matmul(a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    """a @ b for each of N pairs of matrices; the last two axes of an operand are swapped first where so asked.

    Args:
        a: (N, n, k), or (N, k, n) with `transpose_a`; contiguous.
        b: (N, k, m), or (N, m, k) with `transpose_b`; contiguous, of a's dtype.

    Returns:
        (N, n, m).
    """
    if backend_of(a).kind != "cuda":
        return (a.swapaxes(1, 2) if transpose_a else a) @ (b.swapaxes(1, 2) if transpose_b else b)
    n, m = a.shape[2 if transpose_a else 1], b.shape[1 if transpose_b else 2]
    out = array_module(a).empty((len(a), n, m), dtype=a.dtype)
    if out.size:
        _strided_batched(a, b, out, transpose_a, transpose_b)
    return out


def _strided_batched(a: Array, b: Array, out: Array, transpose_a: bool, transpose_b: bool) -> None:
    from cupy._core import _routines_linalg as routines
    from cupy.cuda import device
    from cupy_backends.cuda.libs import cublas

    (n_batch, n, m), k = out.shape, a.shape[1 if transpose_a else 2]
    wide = np.float64 if a.dtype == np.float64 else np.float32
    one, zero = np.ones((), dtype=wide), np.zeros((), dtype=wide)  # read by cuBLAS on the host
    kind = {"float32": 0, "float64": 1, "bfloat16": 14}[a.dtype.name]  # cudaDataType: R_32F, R_64F, R_16BF
    tf32 = a.dtype == np.float32 and routines.get_compute_type("f") == routines.COMPUTE_TYPE_TF32  # $CUPY_TF32
    compute: Any = (cublas.CUBLAS_COMPUTE_64F if wide == np.float64 else
                    cublas.CUBLAS_COMPUTE_32F_FAST_TF32 if tf32 else cublas.CUBLAS_COMPUTE_32F)
    flag = {False: cublas.CUBLAS_OP_N, True: cublas.CUBLAS_OP_T}
    handle = device.get_cublas_handle()
    before = cublas.getPointerMode(handle)
    cublas.setPointerMode(handle, cublas.CUBLAS_POINTER_MODE_HOST)
    try:
        cublas.gemmStridedBatchedEx(
            handle, flag[transpose_b], flag[transpose_a], m, n, k, one.ctypes.data,
            b.data.ptr, kind, b.shape[2], b.shape[1] * b.shape[2],
            a.data.ptr, kind, a.shape[2], a.shape[1] * a.shape[2], zero.ctypes.data,
            out.data.ptr, kind, m, n * m, n_batch, compute, cublas.CUBLAS_GEMM_DEFAULT)
    finally:
        cublas.setPointerMode(handle, before)
