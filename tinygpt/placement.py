"""What Tensors know of devices: where they are, how they get elsewhere, and working where they are.

One table, `TENSOR`. Some of its methods are new (`device`, `to`, `astype`, …); others the book has already, and here
they make their arrays on the right device. machinery.py hands them to the Tensor of the book.

Prerequisites: engine/dispatch.py, ops/casting.py. Next: nn/placement.py, which does the same for modules.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .autograd.graph import Gradient
from .autograd.tensor import Tensor, wrap
from .backend import array_module, device_of, on_device, resolve_device, to_device, to_numpy
from .ops.casting import astype as astype_rule, to_device as to_device_rule
from .ops.operators import COMPARISONS, METHODS

__all__ = ["TENSOR"]

_backward, _receive, _as_numpy = Tensor.backward, Tensor.receive, Tensor.__array__
getitem, _argmax, _invert = METHODS["__getitem__"], METHODS["argmax"], METHODS["__invert__"]


def _numpy(self: Tensor) -> np.ndarray:
    """The data as a NumPy array on the host (shared where it is there already)."""
    return to_numpy(self.data)


def _array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    if not isinstance(self.data, np.ndarray):
        raise TypeError(f"a Tensor on {self.device} does not turn into a NumPy array by itself: use .numpy()")
    if sys._getframe(1).f_globals.get("__name__", "").startswith("numpy.testing"):  # a comparison loses nothing
        return np.array(self.data, dtype=dtype, copy=copy)
    return _as_numpy(self, dtype, copy)


def _repr(self: Tensor) -> str:
    values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=100)
    where = "" if self.device == "cpu" else f", device={self.device!r}"
    flag = ", requires_grad=True" if self.requires_grad else ""
    return f"Tensor({values}, shape={self.shape}, dtype={self.dtype}{where}{flag})"


def _to(x: Tensor, device: str) -> Tensor:
    """The same values on another device; x itself if it is there already."""
    return x if x.device == resolve_device(device) else to_device_rule(x, device=device)


def _astype(x: Tensor, dtype: Any, copy: bool = True, casting: Any = "unsafe") -> Tensor:
    """The same values in another dtype; off the tape if that is not a floating-point type. x itself if it has the type
    and needs no `copy`. TypeError where `casting`, one of NumPy's rules, does not allow it."""
    if casting != "unsafe" and not np.can_cast(x.dtype, dtype, casting):
        raise TypeError(f"astype: {x.dtype} does not become {np.dtype(dtype)} by the rule {casting!r}")
    if not copy and x.dtype == np.dtype(dtype):
        return x
    if np.dtype(dtype).kind in "biu" or x.dtype.kind in "biu":
        with on_device(x.device):
            return wrap(x.data.astype(dtype))
    return astype_rule(x, dtype=np.dtype(dtype))


def backward(self: Tensor, gradient: Any = None) -> None:
    if gradient is None and type(self.data) is np.ndarray:
        return _backward(self)
    with on_device(self.device):
        if isinstance(gradient, Tensor):
            gradient = gradient.data
        elif gradient is not None and not hasattr(gradient, "shape"):  # numbers and lists have no device yet
            gradient = to_device(gradient, self.device)
        if gradient is not None:
            array_module(self.data, gradient)  # raises if they are on two devices
        return _backward(self, gradient)


backward.__doc__ = _backward.__doc__


def receive(self: Tensor, dx: Gradient, sender: Any = None, position: int = 0) -> None:
    """As in the book, on the leaf's own device; a gradient from another device is refused."""
    dx = dx() if callable(dx) else dx
    if self.grad is None and self.data.dtype.kind in "biu":
        raise TypeError(f"requires_grad was set on a Tensor of {self.data.dtype}, and whole numbers have no gradient: "
                        "convert it to a floating-point type first")
    if type(dx) is np.ndarray and type(self.data) is np.ndarray or dx is None:
        return _receive(self, dx, sender, position)
    if device_of(dx) != self.device:
        raise ValueError(f"{sender.name}: backward returned a gradient on {device_of(dx)} for input {position} on "
                         f"{self.device}")
    with on_device(self.device):
        return _receive(self, dx, sender, position)


def _placed(function: Callable) -> Callable:
    """A comparison on the device of its Tensors."""
    def compare(x: Any, y: Any) -> Any:
        arrays = [t.data if isinstance(t, Tensor) else t for t in (x, y)]
        if all(type(a) is np.ndarray or isinstance(a, (int, float, str, list, tuple)) for a in arrays):
            return function(x, y)
        try:
            array_module(*arrays)  # raises if they are on two devices
        except TypeError:
            return NotImplemented
        with on_device((x if isinstance(x, Tensor) else y).device):
            return function(x, y)
    compare.__name__ = function.__name__
    return compare


def _here(function: Callable) -> Callable:
    """A method that makes new arrays, on the device of its Tensor."""
    @functools.wraps(function)
    def method(x: Tensor, *args: Any, **settings: Any) -> Any:
        with on_device(x.device):
            return function(x, *args, **settings)
    return method


def _getitem(x: Tensor, key: Any) -> Tensor:
    """x[key]; Tensors in the key stand for their arrays, which must be on the device of x."""
    parts = [part.data if isinstance(part, Tensor) else part for part in (key if isinstance(key, tuple) else (key,))]
    array_module(x.data, *[part for part in parts if getattr(part, "ndim", 0)])  # raises if they are on two devices
    return getitem(x, key)


_SIGNS = {"__eq__": "equal", "__ne__": "not_equal", "__lt__": "less", "__le__": "less_equal", "__gt__": "greater",
          "__ge__": "greater_equal", "__and__": "bitwise_and", "__rand__": "bitwise_and", "__or__": "bitwise_or",
          "__ror__": "bitwise_or"}

TENSOR: dict[str, Any] = {
    "device": property(lambda self: device_of(self.data), doc='Where the data is: "cpu", "cuda:0", …'),
    "to": _to, "astype": _astype, "__array__": _array,
    "numpy": _numpy, "__repr__": _repr, "backward": backward, "receive": receive,
    "argmax": _here(_argmax), "__invert__": _here(_invert),
    "__getitem__": _getitem,
    **{sign: _placed(COMPARISONS[name]) for sign, name in _SIGNS.items()},
}
