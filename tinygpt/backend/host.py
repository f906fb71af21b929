"""Where arrays live: the kinds of devices, which one an array is on, and moving it.

arrays.py lets everything be written once for NumPy and CuPy; this file knows that an array is in some place. Data
crosses between host and device only through `to_device` and `to_numpy`, so every transfer can be found by searching for
those two names. Asking for a GPU that is not there is an error, never a silent fall-back to the CPU.

Prerequisites: arrays.py. Next: cuda.py.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import KINDS, Array, Kind

__all__ = [
    "Backend", "CPU", "DeviceError", "ON_HOST", "allow_tf32", "announce_backend", "array_module", "backend_for",
    "backend_of", "default_device", "device_memory", "device_of", "is_bfloat16", "new_array", "on_device",
    "register_backend", "resolve_device", "resolve_dtype", "set_default_device", "to_device", "to_numpy",
    "wide_dtype",
]


class DeviceError(RuntimeError):
    """A device was asked for that this machine cannot serve; the message says what is missing and what to install."""


@dataclass(frozen=True)
class Backend:
    """One kind of device: its array module, and how data gets there and back.

    Attributes:
        kind: the device name before the colon: "cpu", "cuda".
        module: the array module (`numpy`, `cupy`).
        array_type: the class of its arrays.
        put: (array, index) -> the array on device number `index`.
        get: array -> a `numpy.ndarray` on the host.
        index_of: array -> the number of its device.
        scope: device number -> a context manager that makes this device the current one.
        erf: the device's own error function, or None where ops/erf.py computes it.
        memory: device number -> its free and all its memory, in bytes; None where nobody asks.
        raw_module: (source, options) -> compiled CUDA kernels (see kernels/cuda/launch.py); None where there are none.
        lacks_bfloat16: device number -> why it has no bfloat16, or None if it has; None where no device has it.
        set_tf32: whether float32 matrix products may round their factors to TF32 -> whether they might before; None
            where there is no TF32.
        count: how many such devices this machine has; None where nobody asks.
        nccl: CuPy's module of NCCL (see ranks/nccl.py), or a DeviceError; None where several ranks cannot use it.
    """

    kind: str
    module: Any
    array_type: type
    put: Callable[[Any, int], Array]
    get: Callable[[Array], np.ndarray]
    index_of: Callable[[Array], int]
    scope: Callable[[int], contextlib.AbstractContextManager]
    erf: Callable[[Array], Array] | None = None
    memory: Callable[[int], tuple[int, int]] | None = None
    raw_module: Callable[[str, tuple[str, ...]], Any] | None = None
    lacks_bfloat16: Callable[[int], str | None] | None = None
    set_tf32: Callable[[bool], bool] | None = None
    count: Callable[[], int] | None = None
    nccl: Callable[[], Any] | None = None


_ANYWHERE = contextlib.nullcontext()
CPU = Backend(
    kind="cpu", module=np, array_type=np.ndarray, put=lambda x, index: np.asarray(x), get=lambda x: x,
    index_of=lambda x: 0, scope=lambda index: _ANYWHERE,
)
_BY_KIND: dict[str, Backend] = {"cpu": CPU}
_BY_TYPE: dict[type, Backend] = {np.ndarray: CPU}
_LATER: dict[str, Callable[[], Backend]] = {}  # kinds that are looked for when they are first asked for
ON_HOST = frozenset({np.ndarray, float, int, bool, complex, type(None)})  # what needs no closer look: it is NumPy's


def register_backend(backend: Backend) -> None:
    """Make `backend.kind` a device name, and its arrays known to `array_module`."""
    _BY_KIND[backend.kind] = backend
    _BY_TYPE[backend.array_type] = backend
    KINDS[backend.array_type] = Kind(
        backend.module, lambda values, like: to_device(values, device_of(like)), to_numpy, backend.erf)


def announce_backend(kind: str, find: Callable[[], Backend]) -> None:
    """Make `kind` a device name whose backend `find` looks for when it is first asked for."""
    _LATER[kind] = find


# ---------------------------------------------------------------------------------------------------------------------
# Which device an array is on, and moving it


def backend_of(x: Array) -> Backend:
    """The backend whose array `x` is; TypeError for anything that is not an array."""
    backend = _BY_TYPE.get(type(x))
    if backend is not None:
        return backend
    if isinstance(x, (np.ndarray, np.generic)):  # subclasses, such as memory maps, and NumPy's scalars
        return CPU
    if type(x).__module__.partition(".")[0] == "cupy":
        return backend_for("cuda")
    raise TypeError(f"expected a NumPy or CuPy array, got {type(x).__name__}")


def device_of(x: Array) -> str:
    """The name of the device that holds `x`: "cpu", "cuda:0", …"""
    backend = backend_of(x)
    return backend.kind if backend is CPU else f"{backend.kind}:{backend.index_of(x)}"


def array_module(*arrays: Any) -> Any:
    """`numpy` or `cupy`: the module of the given arrays. Python and NumPy scalars and None go with either.

    Raises:
        ValueError: the arrays are on different devices; both are named.
    """
    for x in arrays:
        if type(x) not in ON_HOST:
            break
    else:
        return np
    found: Any = None
    for x in arrays:
        if x is None or isinstance(x, (bool, int, float, complex, np.generic)):
            continue
        if found is None:
            found = x
        elif device_of(x) != device_of(found):
            raise ValueError(f"arrays on two devices, {device_of(found)} and {device_of(x)}: "
                             "move one of them with .to(device) first")
    return np if found is None else backend_of(found).module


def new_array(data: Any, dtype: Any = None, device: str | None = None) -> Array:
    """Data as an array of numbers, for a Tensor.

    Args:
        data: a NumPy or CuPy array (kept, not copied, where it is on the right device already), a number or nested
            lists of numbers.
        dtype: converts the data; None keeps its dtype.
        device: "cpu", "cuda" or "cuda:N"; None keeps a GPU array where it is and puts host data on the default device.

    Raises:
        TypeError: data that is no array of numbers.
        DeviceError: no such device, or bfloat16 on one that does not compute in it, as the host.
    """
    if not isinstance(data, np.ndarray) and not hasattr(data, "__cuda_array_interface__") and not _is_array(data):
        data = np.asarray(data)
    if data.dtype.kind not in "biufc" and data.dtype.name != "bfloat16":
        raise TypeError(f"Tensor: expected numbers, got {data.dtype} data")
    if device is not None or isinstance(data, np.ndarray):
        data = to_device(data, resolve_device(device))
    if dtype is not None or data.dtype.kind == "V":
        where = device_of(data)
        with on_device(where):
            data = data.astype(resolve_dtype(data.dtype if dtype is None else dtype, where), copy=False)
    return data


def _is_array(x: Any) -> bool:
    try:
        backend_of(x)
    except TypeError:
        return False
    return not isinstance(x, np.generic)


def on_device(device: str) -> contextlib.AbstractContextManager:
    """A context in which new arrays are made on `device`: a machine with several GPUs has a current one."""
    if device == "cpu":
        return _ANYWHERE
    kind, index = _parse(device)
    return backend_for(kind).scope(index)


def to_device(x: Any, device: str) -> Array:
    """`x` as an array on `device`; no copy where it is there already."""
    if device == "cpu" and type(x) is np.ndarray:
        return x
    kind, index = _parse(device)
    if type(x) in _BY_TYPE or type(x).__module__.partition(".")[0] == "cupy":
        backend = backend_of(x)
        if backend is not CPU:
            if backend.kind == kind and backend.index_of(x) == index:
                return x
            x, dtype = to_numpy(x), x.dtype  # between two GPUs: through the host
            if x.dtype != dtype and kind != "cpu":
                x = x.astype(dtype)
    return backend_for(kind).put(x, index)


def to_numpy(x: Array) -> np.ndarray:
    """`x` as a NumPy array on the host; no copy where it is one already.

    bfloat16, which NumPy lacks and the host does not compute with, arrives as the same numbers in float32.
    """
    if isinstance(x, np.ndarray):
        return x
    x = backend_of(x).get(x)
    return x.astype(np.float32) if is_bfloat16(x) else x


def device_memory(device: str) -> tuple[int, int] | None:
    """Free memory and all memory of a device, in bytes; None for the host, which has no such limit of its own."""
    kind, index = _parse(device)
    memory = backend_for(kind).memory
    return None if memory is None else memory(index)


# ---------------------------------------------------------------------------------------------------------------------
# Narrow numbers: bfloat16 and TF32


def is_bfloat16(x: Any) -> bool:
    """Whether `x` is an array of bfloat16: the upper half of a float32, with its range and 8 bits of precision."""
    dtype = getattr(x, "dtype", None)  # ml_dtypes' type, which is none of NumPy's floating-point types
    return dtype is not None and dtype.kind not in "fiub" and dtype.name == "bfloat16"


def wide_dtype(dtype: Any) -> np.dtype:
    """The type in which numbers of a type are computed with: float32 for bfloat16, for others the same."""
    dtype = np.dtype(dtype)
    return np.dtype(np.float32) if dtype.name == "bfloat16" else dtype


def resolve_dtype(dtype: Any, device: str) -> np.dtype:
    """The type that a name or a type stands for, "float32" or "bfloat16" say, on a device.

    Raises:
        DeviceError: bfloat16, on a device that has none.
    """
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name != "bfloat16":
        return np.dtype(dtype)
    kind, index = _parse(device)
    problem_of = backend_for(kind).lacks_bfloat16
    problem = "NumPy computes nothing in it" if problem_of is None else problem_of(index)
    if problem is not None:
        advice = "use float32, or a GPU (--device cuda)" if kind == "cpu" else "use float32"
        raise DeviceError(f"dtype bfloat16 was asked for on {device}, but {problem}; {advice}")
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def allow_tf32(device: str, on: bool = True) -> bool:
    """Say whether products of float32 matrices on a GPU may round their factors to TF32, which is several times as
    fast: 10 bits behind the point in place of 23, sums still in float32. It is a setting of the process.

    Returns:
        Whether they might before.

    Raises:
        DeviceError: the device has no TF32.
    """
    kind, index = _parse(device)
    backend = backend_for(kind)
    if backend.set_tf32 is None:
        raise DeviceError(f"TF32 was asked for on {device}, and only GPUs have it; leave it out, or use --device cuda")
    with backend.scope(index):
        return backend.set_tf32(on)


# ---------------------------------------------------------------------------------------------------------------------
# Device names and the default


def _parse(device: str) -> tuple[str, int]:
    kind, colon, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if (kind not in _BY_KIND and kind not in _LATER) or (colon and not number.isdigit()) or (kind == "cpu" and colon):
        raise ValueError(f'unknown device {device!r}: expected "cpu", "cuda" or "cuda:N"')
    return kind, int(number) if colon else 0


def backend_for(kind: str) -> Backend:
    """The backend of a kind of device; CuPy's is looked for when it is first asked for.

    Raises:
        DeviceError: there is no GPU, or CuPy is not installed.
    """
    if kind not in _BY_KIND:
        register_backend(_LATER[kind]())
    return _BY_KIND[kind]


_default_device: str | None = None


def resolve_device(device: str | None = None) -> str:
    """The full name of a device that works: `device`, or the default one if None.

    Raises:
        ValueError: the name is none of "cpu", "cuda", "cuda:N".
        DeviceError: the machine has no such device; the message says whether CuPy or the GPU is missing.
    """
    kind, index = _parse(default_device() if device is None else device)
    backend = backend_for(kind)
    if backend.count is not None and index >= (count := backend.count()):
        raise DeviceError(f'device "{kind}:{index}" was asked for, but this machine has {count} GPU(s), '
                          f'"{kind}:0" to "{kind}:{count - 1}"')
    return kind if kind == "cpu" else f"{kind}:{index}"


def default_device() -> str:
    """The device of new tensors: what `set_default_device` said, else $TINYGPT_DEVICE, else "cpu"."""
    return _default_device or os.environ.get("TINYGPT_DEVICE") or "cpu"


def set_default_device(device: str | None) -> None:
    """Put new tensors and models on `device` from now on; None gives the choice back to $TINYGPT_DEVICE or "cpu".

    Raises:
        ValueError, DeviceError: as `resolve_device`.
    """
    global _default_device
    _default_device = None if device is None else resolve_device(device)
