"""The same values, held otherwise: in another floating-point type, or on another device.

Prerequisites: elementwise.py, backend/. Next: erf.py.
"""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd import Output, differentiable
from ..backend import Array

__all__ = ["astype", "to_device"]


@differentiable
def astype(xp: Any, x: Array, *, dtype: Any) -> Output:
    """x in another floating-point type; bfloat16 on a GPU only."""
    def backward(g):
        return (g.astype(x.dtype),)
    return x.astype(backend.resolve_dtype(dtype, backend.device_of(x))), backward


@differentiable
def to_device(xp: Any, x: Array, *, device: str) -> Output:
    """x on another device; the gradient comes back to x's own. One of the few places where data is transferred."""
    home = backend.device_of(x)

    def backward(g):
        return (backend.to_device(g, home),)
    return backend.to_device(x, backend.resolve_device(device)), backward
