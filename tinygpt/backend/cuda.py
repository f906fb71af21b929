"""The CUDA half of the backend: whether there is a usable GPU, and what CuPy does there.

CuPy is imported here and nowhere else, and only inside functions: a machine without it pays nothing.

Prerequisites: host.py. Next: engine/no_grad.py.
"""

from __future__ import annotations

import warnings
from typing import Any

from ..arrays import Array
from .host import Backend, DeviceError, announce_backend

__all__ = ["cuda_available", "cuda_backend"]


def _cuda_problem() -> str | None:
    """Why there is no CUDA device here, or None if there is one. Importing CuPy proves nothing about a GPU.

    CUDA's versions are numbers such as 13020, for 13.2; the driver's is the latest it supports, 0 if there is none.
    """
    try:
        import cupy
    except ImportError as error:
        return (f"CuPy is not installed ({error}); install it with `pip install 'cupy-cuda13x[ctk]'` (driver 580 or "
                "later) or `pip install 'cupy-cuda12x[ctk]'` (driver 525 or later)")
    if not cupy.cuda.is_available():  # False, and no exception, without a driver or a device
        driver, needed = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
        if driver == 0:
            return "CuPy is installed but there is no NVIDIA driver; install one (`nvidia-smi` must list a device)"
        if driver // 1000 < needed // 1000:
            return (f"CuPy is installed for CUDA {needed // 1000} and the NVIDIA driver is too old for it: it supports "
                    f"CUDA {driver // 1000}.{driver % 1000 // 10}; update the driver (CUDA 12 needs 525 or later, "
                    f"CUDA 13 needs 580) or install cupy-cuda{driver // 1000}x instead")
        return ("CuPy is installed but finds no usable NVIDIA GPU; `nvidia-smi` must list a device: check "
                "CUDA_VISIBLE_DEVICES")
    try:
        from cupy_backends.cuda.libs import cublas, nvrtc  # noqa: F401  (the wheel alone does not bring them)
    except ImportError as error:
        return (f"CuPy is installed without the CUDA libraries ({' '.join(str(error).split())}); install them with "
                "`pip install 'cupy-cuda13x[ctk]'`, or 'cupy-cuda12x[ctk]' for CUDA 12")
    return None


def cuda_available() -> bool:
    """True where `device="cuda"` works: CuPy is installed and sees a usable NVIDIA GPU."""
    return _cuda_problem() is None


def cuda_backend() -> Backend:
    """CuPy's backend.

    Raises:
        DeviceError: there is none; the message says whether CuPy, its libraries, the driver or the GPU is missing.
    """
    problem = _cuda_problem()
    if problem is not None:
        raise DeviceError(f'device "cuda" was asked for, but {problem}; or use device="cpu"')
    import cupy
    from cupyx.scipy.special import erf

    def put(x: Any, index: int) -> Array:
        with cupy.cuda.Device(index):
            return cupy.asarray(x)

    def memory(index: int) -> tuple[int, int]:
        device = cupy.cuda.Device(index)
        with device:
            free, total = device.mem_info
            return free + cupy.get_default_memory_pool().free_bytes(), total  # the pool keeps what was freed

    return Backend(
        kind="cuda", module=cupy, array_type=cupy.ndarray, put=put, get=cupy.asnumpy,
        index_of=lambda x: x.device.id, scope=cupy.cuda.Device, erf=erf,
        memory=memory,
        raw_module=lambda source, options: cupy.RawModule(code=source, options=options),
        lacks_bfloat16=_lacks_bfloat16, set_tf32=_set_tf32,
        count=cupy.cuda.runtime.getDeviceCount, nccl=_nccl,
    )


def _nccl() -> Any:
    import cupy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy's own, of a library that it does not find
        from cupy.cuda import nccl
    if not nccl.available:
        major = cupy.cuda.runtime.runtimeGetVersion() // 1000
        raise DeviceError(f"CuPy finds no NCCL, which moves arrays between GPUs: pip install nvidia-nccl-cu{major}, or "
                          "start one process")
    return nccl


def _too_old_for(what: str, index: int) -> str | None:
    import cupy

    capability = cupy.cuda.Device(index).compute_capability  # "80" is 8.0
    return None if int(capability) >= 80 else (
        f"this GPU has compute capability {capability[:-1]}.{capability[-1:]}, and {what} needs 8.0 (Ampere) or later")


def _lacks_bfloat16(index: int) -> str | None:
    try:
        import ml_dtypes  # noqa: F401  (CuPy takes its bfloat16 from there, if it is there when CuPy is imported)
    except ImportError as error:
        return f"the package ml_dtypes is missing ({error}; pip install ml_dtypes)"
    return _too_old_for("bfloat16", index)


def _set_tf32(on: bool) -> bool:
    import cupy
    from cupy._core import _routines_linalg as routines  # $CUPY_TF32 says the same, when a process begins

    problem = _too_old_for("TF32", cupy.cuda.Device().id) if on else None
    if problem is not None:
        raise DeviceError(f"TF32 was asked for, but {problem}; leave it out")
    before = routines.get_compute_type("f") == routines.COMPUTE_TYPE_TF32
    if on != before:
        routines.set_compute_type("f", routines.COMPUTE_TYPE_TF32 if on else routines.COMPUTE_TYPE_DEFAULT)
    return before


announce_backend("cuda", cuda_backend)
