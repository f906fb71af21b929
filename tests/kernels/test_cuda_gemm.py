"""Batches of matrix products: what cuBLAS is asked for, answered by its definition on host memory.

The stand-in does what the cuBLAS manual says of `cublasGemmStridedBatchedEx`: column-major matrices at a pointer, with
a leading dimension and a stride. That cuBLAS on a GPU does so too is not tested here."""

from __future__ import annotations

import ctypes
import re
import sys
import types
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tinygpt.kernels.cuda import gemm

PARAMETERS = ("handle transa transb m n k alpha A Atype lda strideA B Btype ldb strideB beta C Ctype ldc strideC "
              "batchCount computeType algo").split()
TYPES: dict[int, Any] = {0: np.float32, 1: np.float64}
try:
    import ml_dtypes
except ImportError:
    pass
else:
    TYPES[14] = ml_dtypes.bfloat16


def column_major(pointer: int, kind: int, rows: int, columns: int, leading: int) -> np.ndarray:
    """The matrix at `pointer`, as a view of memory."""
    assert leading >= rows
    dtype = np.dtype(TYPES[kind])
    n = leading * (columns - 1) + rows
    memory = np.frombuffer((ctypes.c_char * (n * dtype.itemsize)).from_address(pointer), dtype)
    return np.lib.stride_tricks.as_strided(memory, (rows, columns), (dtype.itemsize, leading * dtype.itemsize),
                                           writeable=True)


@dataclass
class Cublas:
    """What gemm.py uses of `cupy_backends.cuda.libs.cublas`."""

    mode: int = 1
    compute: list[int] = field(default_factory=list)
    CUBLAS_OP_N, CUBLAS_OP_T, CUBLAS_POINTER_MODE_HOST, CUBLAS_GEMM_DEFAULT = 0, 1, 0, -1
    CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_64F = 68, 77, 70

    def getPointerMode(self, handle: int) -> int:
        return self.mode

    def setPointerMode(self, handle: int, mode: int) -> None:
        self.mode = mode

    def gemmStridedBatchedEx(self, *arguments: Any) -> None:
        a = types.SimpleNamespace(**dict(zip(PARAMETERS, arguments, strict=True)))
        assert all(type(x) is int for x in arguments) and a.handle == 7 and self.mode == 0
        self.compute.append(a.computeType)
        scalar = np.float64 if a.Ctype == 1 else np.float32
        size = np.dtype(TYPES[a.Atype]).itemsize
        assert a.Atype == a.Btype and (a.Atype, a.Ctype) in ((0, 0), (1, 1), (14, 14), (14, 0))  # cuBLAS's table
        alpha, beta = (np.frombuffer((ctypes.c_char * np.dtype(scalar).itemsize).from_address(p), scalar)[0]
                       for p in (a.alpha, a.beta))
        for i in range(a.batchCount):
            left = column_major(a.A + i * a.strideA * size, a.Atype, *((a.k, a.m) if a.transa else (a.m, a.k)), a.lda)
            right = column_major(a.B + i * a.strideB * size, a.Btype, *((a.n, a.k) if a.transb else (a.k, a.n)), a.ldb)
            out = column_major(a.C + i * a.strideC * np.dtype(TYPES[a.Ctype]).itemsize, a.Ctype, a.m, a.n, a.ldc)
            left, right = (x.astype(np.result_type(x.dtype, scalar)) for x in (left, right))
            out[...] = alpha * ((left.T if a.transa else left) @ (right.T if a.transb else right)) + (
                beta * out if beta else 0)


@pytest.fixture
def cublas(monkeypatch):
    stand_in = Cublas()
    compute_type = {"now": 1}
    routines = types.SimpleNamespace(COMPUTE_TYPE_TF32=7, get_compute_type=lambda dtype: compute_type["now"])
    stand_in.set_tf32 = lambda on: compute_type.update(now=7 if on else 1)
    modules = {"cupy": {}, "cupy._core": {"_routines_linalg": routines}, "cupy.cuda": {
        "device": types.SimpleNamespace(get_cublas_handle=lambda: 7)}, "cupy_backends": {}, "cupy_backends.cuda": {},
        "cupy_backends.cuda.libs": {"cublas": stand_in}}
    for name, attributes in modules.items():
        module = types.ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    return stand_in


@dataclass
class OnDevice:
    """As much of a `cupy.ndarray` as the call looks at."""

    host: np.ndarray

    def __post_init__(self) -> None:
        self.shape, self.dtype = self.host.shape, self.host.dtype
        self.data = types.SimpleNamespace(ptr=self.host.ctypes.data)


@pytest.mark.parametrize("types", ["float32 float32", "float64 float64", "bfloat16 bfloat16", "bfloat16 float32"])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("n, k, m", [(3, 4, 5), (1, 7, 2), (6, 1, 1), (2, 2, 9)])
def test_every_transpose_is_asked_for_rightly(cublas, n, k, m, transpose_a, transpose_b, types):
    """Of factors and result of these types, the result alone or added to what is there."""
    if 14 not in TYPES and "bfloat16" in types:
        pytest.importorskip("ml_dtypes")
    of_factors, of_result = (np.dtype(name) for name in types.split())
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((4, n, k)).astype(of_factors), rng.standard_normal((4, k, m)).astype(of_factors)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    close = 2.0 ** -8 if of_result.name == "bfloat16" else 1e-5  # its rounding
    stored_a = np.ascontiguousarray(a.swapaxes(1, 2)) if transpose_a else a
    stored_b = np.ascontiguousarray(b.swapaxes(1, 2)) if transpose_b else b
    flags = dict(transpose_a=transpose_a, transpose_b=transpose_b)
    out = np.full((4, n, m), np.nan, of_result)
    for add in (False, True):
        gemm._ask_cublas(OnDevice(stored_a), OnDevice(stored_b), OnDevice(out), *flags.values(), add)
        np.testing.assert_allclose(out.astype(np.float64), (1 + add) * expected, rtol=2 * close, atol=close)
    assert cublas.mode == 1 and cublas.compute == [70 if of_result == np.float64 else 68] * 2
    elsewhere = gemm.matmul(stored_a, stored_b, dtype=of_result, **flags)
    assert elsewhere.dtype == of_result
    np.testing.assert_allclose(elsewhere.astype(np.float64), expected, rtol=close, atol=close)
    again = gemm.matmul(stored_a[0], stored_b[0], out=elsewhere[0], add=True, **flags)
    np.testing.assert_allclose(again.astype(np.float64), 2 * expected[0], rtol=2 * close, atol=close)


def test_tf32_is_cupys_setting_and_for_float32_alone(cublas):
    cublas.set_tf32(True)
    for dtype in (np.float32, np.float64):
        x = np.ones((1, 2, 2), dtype)
        gemm._ask_cublas(OnDevice(x), OnDevice(x), OnDevice(np.empty_like(x)), False, False, False)
    assert cublas.compute == [77, 70]


def test_cupy_has_what_is_called():
    """Names, numbers and the order of parameters, where CuPy and cuBLAS are installed; no GPU is needed."""
    pytest.importorskip("cupy")
    try:
        from cupy_backends.cuda.libs import cublas
    except ImportError as error:
        pytest.skip(f"no cuBLAS: {error}")
    from cupy._core import _routines_linalg as routines
    from cupy.cuda import runtime
    declared = re.findall(r"(\w+)[,)]", cublas.gemmStridedBatchedEx.__doc__)
    assert declared == PARAMETERS
    for name in ("CUBLAS_OP_N", "CUBLAS_OP_T", "CUBLAS_POINTER_MODE_HOST", "CUBLAS_GEMM_DEFAULT", "CUBLAS_COMPUTE_32F",
                 "CUBLAS_COMPUTE_32F_FAST_TF32", "CUBLAS_COMPUTE_64F"):
        assert getattr(cublas, name) == getattr(Cublas, name), name
    assert (runtime.CUDA_R_32F, runtime.CUDA_R_64F, runtime.CUDA_R_16BF) == (0, 1, 14)
    assert routines.COMPUTE_TYPE_TF32 and routines.COMPUTE_TYPE_DEFAULT and hasattr(
        __import__("cupy").cuda.Device, "compute_capability")
    assert callable(routines.get_compute_type) and callable(routines.set_compute_type)


@pytest.mark.oracle
def test_cupy_has_bfloat16():
    """What is done with it outside of kernels and products: sums of two, copies, sums in float32. `where` has none."""
    cupy, ml_dtypes = pytest.importorskip("cupy"), pytest.importorskip("ml_dtypes")
    from cupy._core import _routines_math as math
    dtype = np.dtype(ml_dtypes.bfloat16)
    assert cupy.dtype(dtype).char == "E"
    assert "EE->E" in cupy.add.types and "EE->E" in cupy.multiply.types
    assert not any("E" in kind for kind in cupy.where.__globals__["_where_ufunc"].types)
    for kernel in (math.sum_auto_dtype, math.elementwise_copy):
        assert any(operation.in_types == (dtype,) for operation in kernel._ops.ops)
    assert cupy.result_type(dtype, np.float32) == np.float32
