"""NumPy's own functions of Tensors: `np.exp(tensor)`, `np.sum(tensor, axis=0)`, `numpy_array * tensor`.

NumPy asks its arguments whether they know better (`__array_ufunc__` and `__array_function__`, NEP 13 and NEP 18).
Tensors do: the function of that name among our rules is called.

Prerequisites: operators.py. Next: precision.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..autograd import Tensor
from . import axes, elementwise, linalg, piecewise, reduction, shape, statistics, trigonometry
from .erf import erf
from .gelu import gelu
from .silu import sigmoid, silu
from .operators import COMPARISONS, METHODS

__all__ = ["MORE_METHODS", "NUMPY_FUNCTIONS", "OFF_THE_TAPE", "array_function", "array_ufunc"]


MORE_METHODS: dict[str, Callable] = {  # of Tensors, beyond the book's
    "__abs__": piecewise.absolute, "abs": piecewise.absolute, "clip": piecewise.clip, "sin": trigonometry.sin,
    "cos": trigonometry.cos, "erf": erf, "gelu": gelu, "silu": silu, "sigmoid": sigmoid,
    "var": statistics.var, "min": statistics.min, "squeeze": axes.squeeze,
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
        elementwise.maximum, piecewise.minimum, elementwise.negative, piecewise.absolute, elementwise.exp,
        elementwise.log, elementwise.sqrt, trigonometry.sin, trigonometry.cos, elementwise.tanh, elementwise.where,
        piecewise.clip, reduction.sum, reduction.mean, statistics.var, reduction.max, statistics.min, shape.transpose,
        shape.swapaxes, axes.expand_dims, axes.squeeze, axes.broadcast_to, shape.concatenate, axes.stack,
        linalg.matmul)
} | {"reshape": METHODS["reshape"], "ravel": METHODS["ravel"], "dot": _dot, "amax": reduction.max,
     "amin": statistics.min} | COMPARISONS

# NumPy functions without a derivative: they are given the bare arrays, and return what they always return.
OFF_THE_TAPE = frozenset("""
    all allclose any argmax argmin argsort array_equal ceil count_nonzero empty_like floor full_like isclose isfinite
    isinf isnan logical_and logical_not logical_or ndim ones_like rint shape sign size zeros_like
""".split())


def _bare(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else [_bare(part) for part in x] if isinstance(x, (list, tuple)) else x


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
    """NumPy calls this for `np.exp(tensor)` and `numpy_array + tensor`."""
    if method == "__call__" and not settings and ufunc.__name__ in OFF_THE_TAPE:
        return ufunc(*map(_bare, inputs))
    op = NUMPY_FUNCTIONS.get(ufunc.__name__)
    if method != "__call__" or settings or op is None:
        raise TypeError(f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method} with the given arguments "
                        "has no rule for Tensors: use a function of tinygpt.ops, or tensor.numpy() for the bare values")
    return op(*inputs)


def array_function(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy calls this for `np.sum(tensor, axis=0)`, `np.concatenate([tensor, …])` and the like."""
    name = function.__name__
    ours = getattr(np, name, None) is function  # and no namesake, such as np.emath.sqrt
    if ours and name in OFF_THE_TAPE:
        if name in _FILL and any(isinstance(x, Tensor) and x.requires_grad for x in [*args[1:], *kwargs.values()]):
            raise TypeError(f"np.{name} would lose the gradient of the value that it fills in: use "
                            "tinygpt.ops.broadcast_to")
        return function(*map(_bare, args), **{name: _bare(value) for name, value in kwargs.items()})
    op = NUMPY_FUNCTIONS.get(name) if ours else None
    if op is None:
        raise TypeError(f"np.{name} has no rule for Tensors: use a function of tinygpt.ops, or tensor.numpy() for the "
                        "bare values")
    return op(*args, **_settings(name, op, kwargs))


_FILL = ("full_like",)
_RENAMED = {"a_min": "low", "a_max": "high", "min": "low", "max": "high"}  # NumPy's names of what clip takes


def _settings(name: str, op: Callable, given: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of one of NumPy's functions as our operation takes them.

    Raises:
        TypeError: one that the operation does not have, such as `dtype` or `where`; what it has is listed.
    """
    operation = getattr(op, "operation", None)
    if operation is None:
        return dict(given)
    known = [*operation.inputs, *operation.settings]
    found = {key if key in known else _RENAMED.get(key, key): value for key, value in given.items()
             if key in known or not (value is None or value is np._NoValue)}
    if unknown := [key for key in found if key not in known]:
        raise TypeError(f"np.{name} of a Tensor takes no {', '.join(unknown)}; it takes {', '.join(known)}")
    return found
