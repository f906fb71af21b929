"""Devices: NumPy on the host, CuPy on an NVIDIA GPU. Reading order: host.py, cuda.py, random.py."""

from ..arrays import Array, generator, manual_seed
from .host import (ON_HOST, Backend, DeviceError, allow_tf32, array_module, backend_of, default_device, device_memory,
                   device_of, is_bfloat16, new_array, on_device, register_backend, resolve_device, resolve_dtype,
                   set_default_device, to_device, to_numpy, wide_dtype)
from .cuda import cuda_available
from .random import own_generator

__all__ = [
    "ON_HOST", "Array", "Backend", "DeviceError", "allow_tf32", "array_module", "backend_of", "cuda_available",
    "default_device", "device_memory", "device_of", "generator", "is_bfloat16", "manual_seed", "new_array",
    "on_device", "own_generator", "register_backend", "resolve_device", "resolve_dtype", "set_default_device",
    "to_device", "to_numpy", "wide_dtype",
]
