"""What Tensors do under +, @, [] and the like, and under NumPy's own functions: one table, bound to the rules.

`x + y`, `x.sum(axis=0)`, `numpy_array * tensor` and `np.exp(tensor)` all end up in the same rule.

Prerequisites: the other files of ops/. Next: nn/module.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Tensor, wrap
from ..autograd.graph import as_array
from ..backend import array_module, on_device, resolve_device
from . import activation, elementwise, indexing, linalg, reduction, shape
from .erf import erf

__all__ = ["bind"]


def _reflected(op: Callable) -> Callable:
    return lambda x, y: op(y, x)


def _comparison(name: str) -> Callable[[Any, Any], Tensor]:
    """A comparison, or `&` and `|` to join two: off the tape, since a step function has no useful derivative."""
    def compare(x: Any, y: Any) -> Any:
        a, b = (t.data if isinstance(t, Tensor) else np.asarray(t) if isinstance(t, (list, tuple)) else t
                for t in (x, y))
        try:
            xp = array_module(a, b)
        except TypeError:
            return NotImplemented  # so `tensor == "text"` is False, and `tensor < "text"` a TypeError
        if a is None or b is None:
            return NotImplemented
        with on_device((x if isinstance(x, Tensor) else y).device):
            return wrap(as_array(getattr(xp, name)(a, b)))
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
    with on_device(x.device):
        return wrap(as_array(x.data.argmax(axis=axis)))


def _transpose(x: Tensor, *axes: Any) -> Tensor:
    """x.transpose(), x.transpose(1, 0) or x.transpose((1, 0))."""
    return shape.transpose(x, axes=None if not axes or axes[0] is None else
                           tuple(axes[0]) if isinstance(axes[0], (tuple, list)) else axes)


def _to(x: Tensor, device: str) -> Tensor:
    """The same values on another device; x itself if it is there already."""
    return x if x.device == resolve_device(device) else elementwise.to_device(x, device=device)


def _astype(x: Tensor, dtype: Any) -> Tensor:
    """The same values in another dtype; off the tape if that is not a floating-point type."""
    if np.dtype(dtype).kind in "biu" or x.dtype.kind in "biu":
        with on_device(x.device):
            return wrap(x.data.astype(dtype))
    return elementwise.astype(x, dtype=np.dtype(dtype))


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
    "__neg__": elementwise.negative, "__abs__": elementwise.absolute, "__getitem__": _getitem,
    "__eq__": COMPARISONS["equal"], "__ne__": COMPARISONS["not_equal"],
    "__lt__": COMPARISONS["less"], "__le__": COMPARISONS["less_equal"],
    "__gt__": COMPARISONS["greater"], "__ge__": COMPARISONS["greater_equal"],
    "__and__": COMPARISONS["bitwise_and"], "__rand__": COMPARISONS["bitwise_and"],
    "__or__": COMPARISONS["bitwise_or"], "__ror__": COMPARISONS["bitwise_or"], "__invert__": _invert,
    "exp": elementwise.exp, "log": elementwise.log, "sqrt": elementwise.sqrt, "tanh": elementwise.tanh,
    "sin": elementwise.sin, "cos": elementwise.cos, "abs": elementwise.absolute, "clip": elementwise.clip,
    "erf": erf, "sigmoid": activation.sigmoid, "relu": activation.relu, "gelu": activation.gelu,
    "silu": activation.silu, "softmax": activation.softmax, "log_softmax": activation.log_softmax,
    "sum": reduction.sum, "mean": reduction.mean, "var": reduction.var, "max": reduction.max, "min": reduction.min,
    "reshape": _reshape, "flatten": _flatten, "ravel": _flatten, "transpose": _transpose,
    "swapaxes": shape.swapaxes, "squeeze": shape.squeeze, "argmax": _argmax, "to": _to, "astype": _astype,
}


def _dot(x: Any, y: Any) -> Tensor:
    """np.dot, for matrices and vectors; with more axes it is no matrix product."""
    if np.ndim(x) not in (1, 2) or np.ndim(y) not in (1, 2):
        raise TypeError(f"np.dot has a rule for matrices and vectors only, got {np.shape(x)} and {np.shape(y)}: use @")
    return linalg.matmul(x, y)


# What NumPy's functions do with Tensors, by NumPy's name.
NUMPY_FUNCTIONS: dict[str, Callable] = {
    op.__name__: op for op in (
        elementwise.add, elementwise.subtract, elementwise.multiply, elementwise.divide, elementwise.power,
        elementwise.maximum, elementwise.minimum, elementwise.negative, elementwise.absolute, elementwise.exp,
        elementwise.log, elementwise.sqrt, elementwise.sin, elementwise.cos, elementwise.tanh, elementwise.where,
        elementwise.clip, reduction.sum, reduction.mean, reduction.var, reduction.max, reduction.min, shape.transpose,
        shape.swapaxes, shape.expand_dims, shape.squeeze, shape.broadcast_to, shape.concatenate, shape.stack,
        linalg.matmul)
} | {"reshape": _reshape, "ravel": _flatten, "dot": _dot, "amax": reduction.max, "amin": reduction.min} | COMPARISONS

# NumPy functions without a derivative: they are given the bare arrays, and return what they always return.
OFF_THE_TAPE = frozenset("""
    all allclose any argmax argmin argsort array_equal ceil count_nonzero empty_like floor full_like isclose isfinite
    isinf isnan logical_and logical_not logical_or ndim ones_like rint shape sign size zeros_like
""".split())


def _bare(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else [_bare(part) for part in x] if isinstance(x, (list, tuple)) else x


def _array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
    """NumPy calls this for `np.exp(tensor)` and `numpy_array + tensor`."""
    if method == "__call__" and not settings and ufunc.__name__ in OFF_THE_TAPE:
        return ufunc(*map(_bare, inputs))
    op = NUMPY_FUNCTIONS.get(ufunc.__name__)
    if method != "__call__" or settings or op is None:
        raise TypeError(f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method} with the given arguments "
                        "has no rule for Tensors: use a function of tinygpt.ops, or tensor.numpy() for the bare values")
    return op(*inputs)


def _array_function(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy calls this for `np.sum(tensor, axis=0)`, `np.concatenate([tensor, …])` and the like."""
    if function.__name__ in OFF_THE_TAPE:
        return function(*map(_bare, args), **{name: _bare(value) for name, value in kwargs.items()})
    op = NUMPY_FUNCTIONS.get(function.__name__)
    if op is None:
        raise TypeError(f"np.{function.__name__} has no rule for Tensors: use a function of tinygpt.ops, "
                        "or tensor.numpy() for the bare values")
    return op(*args, **kwargs)


def bind() -> None:
    """Give Tensor its operators and methods."""
    for name, function in METHODS.items():
        setattr(Tensor, name, function)
    Tensor.T = property(lambda x: shape.transpose(x), doc="The axes in reverse order.")  # type: ignore[attr-defined]
    Tensor.__array_ufunc__ = _array_ufunc  # type: ignore[attr-defined]
    Tensor.__array_function__ = _array_function  # type: ignore[attr-defined]


bind()
