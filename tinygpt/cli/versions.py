"""What `tinygpt --version --verbose` says: the versions that an answer to "it is slow here" begins with.

Read before: backend.py. Used by __init__.py.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator

import numpy as np

from .._version import __version__
from ..backend import DeviceError, resolve_device
from ..training.parallel import physical_cores

__all__ = ["versions"]


def versions() -> Iterator[str]:
    """Lines: tinygpt, Python, NumPy and its BLAS, CuPy and its GPU or why there is none, threads."""
    yield f"tinygpt {__version__}"
    yield f"Python  {platform.python_version()} on {platform.platform()}"
    yield f"NumPy   {np.__version__} with {_blas()}"
    yield f"GPU     {_gpu()}"
    yield f"threads {physical_cores()} replicas train side by side unless --threads says otherwise"


def _blas() -> str:
    from threadpoolctl import threadpool_info

    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    if not found:  # macOS's Accelerate is none that threadpoolctl knows
        return str(np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"])
    return ", ".join(f"{info['internal_api']} {info['version']} ({info['num_threads']} threads)" for info in found)


def _gpu() -> str:
    try:
        resolve_device("cuda")
    except DeviceError as error:
        return f"none: {error}"
    import cupy

    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return f"{name} with CuPy {cupy.__version__} and CUDA {cupy.cuda.runtime.runtimeGetVersion()}"
