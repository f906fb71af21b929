"""What `tinygpt --version --verbose` says: the versions that an answer to "it is slow here" begins with.

Prerequisites: backend/. Used by __init__.py.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata

import numpy as np

from .._version import __version__
from ..backend import DeviceError, cuda_available, resolve_device, resolve_dtype
from ..kernels.cuda import fused_kernels
from ..training.parallel import physical_cores

__all__ = ["versions"]


def versions() -> Iterator[str]:
    """Lines: tinygpt, Python, NumPy and its BLAS, CuPy, its GPU or why there is none, narrow types, fused kernels,
    threads."""
    yield f"tinygpt {__version__}"
    yield f"Python  {platform.python_version()} on {platform.platform()}"
    yield f"NumPy   {np.__version__} with {_blas()}"
    yield f"CuPy    {_cupy()}"
    yield f"GPU     {_gpu()}"
    yield f"dtypes  {_dtypes()}"
    yield f"kernels {', '.join(fused_kernels()) or 'none: a GPU runs the rules; TINYGPT_KERNELS=cuda turns them on'}"
    yield f"threads {physical_cores()} replicas train side by side unless --threads says otherwise"


def _blas() -> str:
    from threadpoolctl import threadpool_info

    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    if not found:  # macOS's Accelerate is none that threadpoolctl knows
        return str(np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"])
    return ", ".join(f"{info['internal_api']} {info['version']} ({info['num_threads']} threads)" for info in found)


def _cupy() -> str:
    try:
        import cupy
    except ImportError as error:
        return f"not installed ({error})"
    return f"{cupy.__version__} for CUDA {_dotted(cupy.cuda.runtime.runtimeGetVersion())}"


def _gpu() -> str:
    try:
        resolve_device("cuda")
    except DeviceError as error:
        return f"none: {error}"
    import cupy

    runtime = cupy.cuda.runtime
    names = [runtime.getDeviceProperties(i)["name"].decode() for i in range(runtime.getDeviceCount())]
    return f"{', '.join(names)}; the driver supports CUDA {_dotted(runtime.driverGetVersion())}"


def _dtypes() -> str:
    """What --dtype and --tf32 can be, with the version of what bfloat16 comes from."""
    if not cuda_available():
        return "float32 (bfloat16 and TF32 need a GPU)"
    try:
        resolve_dtype("bfloat16", resolve_device("cuda"))
    except DeviceError as error:
        return f"float32; {error}"
    return f"float32, TF32 (--tf32), bfloat16 (--dtype bfloat16, with ml_dtypes {metadata.version('ml_dtypes')})"


def _dotted(version: int) -> str:
    """CUDA's 13020 as 13.2."""
    return f"{version // 1000}.{version % 1000 // 10}"
