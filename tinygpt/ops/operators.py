"""What Tensors do under +, @, [] and the like, and their methods: one table, bound to the rules.

Prerequisites: loss.py. Next: nn/module.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import array_module, as_array
from ..autograd.tensor import Tensor, wrap
from . import activation, elementwise, indexing, linalg, reduction, shape

__all__ = ["COMPARISONS", "METHODS"]


def _reflected(op: Callable) -> Callable:
    return lambda x, y: op(y, x)


def _comparison(name: str) -> Callable[[Any, Any], Tensor]:
    """A comparison, or `&` and `|` to join two: off the tape, since a step function has no useful derivative."""
    def compare(x: Any, y: Any) -> Any:
        a, b = (t.data if isinstance(t, Tensor) else np.asarray(t) if isinstance(t, (list, tuple)) else t
                for t in (x, y))
        if not all(isinstance(t, (bool, int, float, complex)) or hasattr(t, "dtype") for t in (a, b)):
            return NotImplemented  # so `tensor == "text"` is False, and `tensor < "text"` a TypeError
        return wrap(as_array(getattr(array_module(a, b), name)(a, b)))
    compare.__name__ = name
    return compare


def _getitem(x: Tensor, key: Any) -> Tensor:
    """x[key]; Tensors in the key stand for their arrays."""
    def plain(part: Any) -> Any:
        return part.data if isinstance(part, Tensor) else part
    return indexing.getitem(x, key=tuple(map(plain, key)) if isinstance(key, tuple) else plain(key))


def _reshape(x: Tensor, *lengths: Any) -> Tensor:
    """x.reshape(2, 3) or x.reshape((2, 3)); one length may be −1."""
    return shape.reshape(x, shape=lengths[0] if len(lengths) == 1 else lengths)


def _flatten(x: Tensor) -> Tensor:
    """All elements in one axis, the last axis fastest."""
    return shape.reshape(x, shape=(-1,))


def _argmax(x: Tensor, axis: int | None = None) -> Tensor:
    """Where the largest elements are: the first of equals; off the tape."""
    return wrap(as_array(x.data.argmax(axis=axis)))


def _transpose(x: Tensor, *axes: Any) -> Tensor:
    """x.transpose(), x.transpose(1, 0) or x.transpose((1, 0))."""
    return shape.transpose(x, axes=None if not axes or axes[0] is None else
                           tuple(axes[0]) if isinstance(axes[0], (tuple, list)) else axes)


def _invert(x: Tensor) -> Tensor:
    """~x, for a boolean Tensor."""
    if x.dtype != bool:
        raise TypeError(f"~ needs a boolean Tensor, got {x.dtype}")
    return COMPARISONS["equal"](x, False)


COMPARISONS = {name: _comparison(name) for name in (
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "bitwise_and", "bitwise_or")}

METHODS: dict[str, Callable] = {
    "__add__": elementwise.add, "__radd__": _reflected(elementwise.add),
    "__sub__": elementwise.subtract, "__rsub__": _reflected(elementwise.subtract),
    "__mul__": elementwise.multiply, "__rmul__": _reflected(elementwise.multiply),
    "__truediv__": elementwise.divide, "__rtruediv__": _reflected(elementwise.divide),
    "__pow__": elementwise.power, "__rpow__": _reflected(elementwise.power),
    "__matmul__": linalg.matmul, "__rmatmul__": _reflected(linalg.matmul),
    "__neg__": elementwise.negative, "__getitem__": _getitem,
    "__eq__": COMPARISONS["equal"], "__ne__": COMPARISONS["not_equal"],
    "__lt__": COMPARISONS["less"], "__le__": COMPARISONS["less_equal"],
    "__gt__": COMPARISONS["greater"], "__ge__": COMPARISONS["greater_equal"],
    "__and__": COMPARISONS["bitwise_and"], "__rand__": COMPARISONS["bitwise_and"],
    "__or__": COMPARISONS["bitwise_or"], "__ror__": COMPARISONS["bitwise_or"], "__invert__": _invert,
    "exp": elementwise.exp, "log": elementwise.log, "sqrt": elementwise.sqrt, "tanh": elementwise.tanh,
    "relu": activation.relu, "softmax": activation.softmax, "log_softmax": activation.log_softmax,
    "sum": reduction.sum, "mean": reduction.mean, "max": reduction.max, "argmax": _argmax, "reshape": _reshape,
    "flatten": _flatten, "ravel": _flatten, "transpose": _transpose, "swapaxes": shape.swapaxes,
}

for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
Tensor.__array_ufunc__ = None  # type: ignore[attr-defined]  # numpy_array + tensor: NumPy leaves it to the Tensor
Tensor.T = property(lambda x: shape.transpose(x), doc="The axes in reverse order.")  # type: ignore[attr-defined]
