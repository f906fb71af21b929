"""NumPy's own functions of Tensors: `np.exp(tensor)`, `np.sum(tensor, axis=0)`, `numpy_array * tensor`.

NumPy asks its arguments whether they know better (`__array_ufunc__` and `__array_function__`, NEP 13 and NEP 18).
Tensors do: the function that numpy_table.py has for it is called.

What every program uses is entered here. The rest, the library, is in files by theme, listed in THEMES. They are read
when a function, a method or a name in `tinygpt.ops` is first asked for that is not here, so that `import tinygpt`
costs nothing for them.

Prerequisites: operators.py, numpy_table.py. Next: precision.py.
"""

from __future__ import annotations

import functools
import importlib
import opcode
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..arrays import as_array
from ..autograd import Tensor, wrap
from . import axes, elementwise, linalg, piecewise, reduction, shape, statistics, trigonometry
from .erf import erf
from .gelu import gelu
from .numpy_table import ENTRIES, NUMPY_FUNCTIONS, enter
from .operators import COMPARISONS, METHODS
from .silu import sigmoid, silu

__all__ = ["LATER_METHODS", "MORE_METHODS", "OFF_THE_TAPE", "THEMES", "array_function", "array_ufunc", "library",
           "library_function", "with_every_keyword"]

THEMES = ("elementary", "moves", "aggregates", "sorting", "products", "running", "linear_algebra", "fourier")


def _where(condition: Any, *xy: Any) -> Any:
    """np.where: x where the condition is true, else y; of a condition alone, where it is true."""
    return elementwise.where(condition, *xy) if xy else np.nonzero(_bare(condition))


def _transpose(a: Any, axes: Any = None) -> Any:
    """np.transpose: the axes in the order `axes`, which of a row may be a number; reversed if None."""
    return shape.transpose(a, axes=axes if axes is None or isinstance(axes, (tuple, list)) else (axes,))


def _in_order(x: Any, lengths: Any, order: str) -> Any:
    """x with axes of other lengths: the last index is the fastest in the order C, the first in the order F."""
    if order == "C":
        return METHODS["reshape"](x, lengths)
    if order == "F":
        backwards = lengths[::-1] if isinstance(lengths, (tuple, list)) else lengths
        return shape.transpose(METHODS["reshape"](shape.transpose(x), backwards))
    raise ValueError(f"order must be 'C' or 'F' for a Tensor, got {order!r}: others ask how it lies in memory")


def _reshape(a: Any, /, shape: Any, order: str = "C", *, copy: bool | None = None) -> Any:
    """np.reshape: the same elements under the lengths `shape`, of which one may be −1."""
    return _in_order(a, shape, order)


def _reshape_method(x: Tensor, *lengths: Any, order: str = "C") -> Any:
    """x.reshape(2, 3) or x.reshape((2, 3)); one length may be −1."""
    if order == "C":
        return shape.reshape(x, shape=lengths[0] if len(lengths) == 1 else lengths)
    return _in_order(x, lengths[0] if len(lengths) == 1 else lengths, order)


def _ravel(a: Any, order: str = "C") -> Any:
    """All elements in one axis."""
    return _in_order(a, -1, order)


for _function, _names, _derivative in (
    (elementwise.add, "add", "g, g"), (elementwise.subtract, "subtract", "g, −g"),
    (elementwise.multiply, "multiply", "g y, g x"), (elementwise.divide, "divide true_divide", "g / y, −g x / y²"),
    (elementwise.power, "power pow", "g y xʸ⁻¹, g xʸ log x"), (elementwise.negative, "negative", "−g"),
    (elementwise.maximum, "maximum", "g to the larger; half to each at a tie"),
    (piecewise.minimum, "minimum", "g to the smaller; half to each at a tie"),
    (piecewise.absolute, "absolute abs", "g sign(x); 0 at 0"), (elementwise.exp, "exp", "g eˣ"),
    (elementwise.log, "log", "g / x"), (elementwise.sqrt, "sqrt", "g / (2 √x)"),
    (trigonometry.sin, "sin", "g cos x"), (trigonometry.cos, "cos", "−g sin x"),
    (elementwise.tanh, "tanh", "g (1 − tanh² x)"), (_where, "where", "g to the one that was taken"),
    (piecewise.clip, "clip", "g inside of the bounds and on them"),
    (_transpose, "transpose permute_dims", "g, its axes put back"),
    (shape.swapaxes, "swapaxes", "g, its axes put back"), (_reshape, "reshape", "g, reshaped"),
    (_ravel, "ravel", "g, reshaped"), (axes.expand_dims, "expand_dims", "g, reshaped"),
    (axes.squeeze, "squeeze", "g, reshaped"), (axes.broadcast_to, "broadcast_to", "g, summed over what was repeated"),
    (shape.concatenate, "concatenate concat", "each array gets its part of g"),
    (axes.stack, "stack", "each array gets its slice of g"),
    (linalg.matmul, "matmul linalg.matmul", "g yᵀ, xᵀ g"),
):
    enter(_function, *_names.split(), derivative=_derivative)
NUMPY_FUNCTIONS.update({getattr(np, _name): _comparison for _name, _comparison in COMPARISONS.items()})

# NumPy functions without a derivative: they are given the bare arrays, and return what they always return.
OFF_THE_TAPE = frozenset("""
    all allclose any argmax argmin argpartition argsort argwhere array_equal array_equiv array_repr array_str
    array2string can_cast common_type count_nonzero digitize empty_like flatnonzero full_like histogram isclose
    iscomplex iscomplexobj isfinite isin isinf isnan isneginf isposinf isreal isrealobj lexsort logical_and logical_not
    logical_or logical_xor may_share_memory min_scalar_type nanargmax nanargmin ndim nonzero ones_like result_type
    searchsorted shape shares_memory signbit size tril_indices_from triu_indices_from unravel_index zeros_like
""".split())
_OFF = {getattr(np, name) for name in OFF_THE_TAPE if hasattr(np, name)}

MORE_KEYWORDS = frozenset(("dtype", "out", "initial", "where", "ddof", "mean", "correction"))


def with_every_keyword(op: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction that also takes NumPy's further keywords, from aggregates.py: dtype, initial, where, ddof."""
    name = op.__name__

    @functools.wraps(op)
    def reduce(x: Any, *given: Any, **settings: Any) -> Any:
        if settings and not MORE_KEYWORDS.isdisjoint(settings):
            return library_function(name)(x, *given, **settings)
        return op(x, *given, **settings)
    return reduce


def _into_an_array(frame: Any) -> bool:
    """Whether a frame is at `array[i] = …`, or one of NumPy's own: NumPy then asks for a number, as float() does."""
    if frame.f_globals.get("__name__", "").startswith("numpy."):
        return True
    code = frame.f_code.co_code
    return opcode.opname[code[frame.f_lasti]] in ("STORE_SUBSCR", "STORE_SLICE")


def _as_number(kind: type) -> Callable[[Tensor], Any]:
    def convert(x: Tensor) -> Any:
        if x.requires_grad and _into_an_array(sys._getframe(1)):
            raise TypeError("a Tensor that has a gradient would lose it in an array of NumPy's: join Tensors with "
                            "tinygpt.ops.stack or concatenate, or assign .item() if no gradient is wanted")
        return kind(x.data.item())
    convert.__name__ = convert.__qualname__ = f"__{kind.__name__}__"
    return convert


def _library_operator(name: str, reflected: bool = False) -> Callable[..., Any]:
    def operator(x: Any, y: Any) -> Any:
        return library_function(name)(y, x) if reflected else library_function(name)(x, y)
    operator.__doc__ = f"NumPy's {name}."
    return operator


class _Later:
    """A method of the library: at first sight of it the library is read, which puts the method itself here.

    (A `__getattr__` of Tensors would say this in fewer words, but each attribute of a class that has one takes longer.)
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, x: Tensor | None, kind: type) -> Any:
        library()
        return getattr(kind if x is None else x, self.name)


class _InPlace(_Later):
    """A method of NumPy's arrays that changes the array."""

    def __get__(self, x: Tensor | None, kind: type) -> Any:
        copies = f"np.{self.name}, or " if self.name in ("partition", "resize", "sort") else ""
        raise AttributeError(f"a Tensor has no method {self.name!r}, since NumPy's works in place: use {copies}"
                             "tinygpt.ops.where")


LATER_METHODS = frozenset("""
    all any arccos arccosh arcsin arcsinh arctan arctanh argmin argpartition argsort cbrt ceil choose compress conj
    conjugate copy cosh cumprod cumsum deg2rad degrees diagonal dot exp2 expm1 fabs fix floor imag log10 log1p log2 mT
    nonzero positive prod rad2deg radians real reciprocal repeat rint round searchsorted sign sinc sinh square std take
    tan trace trunc
""".split())  # of Tensors, from the library
_PROPERTIES = {"real": "real", "imag": "imag", "mT": "matrix_transpose"}
_OTHER_NAMES = {"conj": "conjugate"}

MORE_METHODS: dict[str, Any] = {  # of Tensors, beyond the book's
    "__abs__": piecewise.absolute, "abs": piecewise.absolute, "clip": piecewise.clip, "sin": trigonometry.sin,
    "cos": trigonometry.cos, "erf": erf, "gelu": gelu, "silu": silu, "sigmoid": sigmoid, "squeeze": axes.squeeze,
    "reshape": _reshape_method, "ravel": _ravel, "flatten": _ravel,
    **{_op.__name__: with_every_keyword(_op) for _op in (
        reduction.sum, reduction.mean, reduction.max, statistics.var, statistics.min)},
    "__mod__": _library_operator("remainder"), "__rmod__": _library_operator("remainder", True),
    "__floordiv__": _library_operator("floor_divide"), "__rfloordiv__": _library_operator("floor_divide", True),
    "__divmod__": _library_operator("divmod"), "__rdivmod__": _library_operator("divmod", True),
    "__pos__": lambda x: x * 1, "__round__": lambda x, digits=0: library_function("round")(x, decimals=digits or 0),
    "__float__": _as_number(float), "__int__": _as_number(int),
    **{_name: _Later(_name) for _name in LATER_METHODS},
    **{_name: _InPlace(_name) for _name in ("fill", "itemset", "partition", "put", "resize", "sort")},
}


def _off(name: str) -> Callable[..., Any]:
    def method(x: Tensor, *given: Any, **named: Any) -> Any:
        found = getattr(np, name)(x.data, *map(_bare, given), **{key: _bare(value) for key, value in named.items()})
        return found if isinstance(found, tuple) else wrap(as_array(found))
    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"NumPy's {name}; off the tape."
    return method


@functools.cache
def library() -> None:
    """Read the library, and put its methods of Tensors where they are awaited."""
    for theme in THEMES:
        importlib.import_module(f".{theme}", __package__)
    for name in LATER_METHODS:
        entry = ENTRIES.get(_PROPERTIES.get(name, _OTHER_NAMES.get(name, name)))
        method = _off(name) if entry is None else property(entry.function) if name in _PROPERTIES else entry.function
        setattr(Tensor, name, method)


def library_function(name: str) -> Callable[..., Any]:
    """Our function of that name.

    Raises:
        KeyError: there is none.
    """
    library()
    return ENTRIES[name].function


def _find(theirs: Any) -> Callable[..., Any] | None:
    """Ours for one of NumPy's functions."""
    if theirs not in NUMPY_FUNCTIONS:
        library()
    return NUMPY_FUNCTIONS.get(theirs)


def _bare(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else [_bare(part) for part in x] if isinstance(x, (list, tuple)) else x


# ---------------------------------------------------------------------------------------------------------------------
# What NumPy calls

_REDUCE = {"add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min"}
_ACCUMULATE = {"add": "cumsum", "multiply": "cumprod"}


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
    """NumPy calls this for `np.exp(tensor)`, `numpy_array + tensor` and `np.add.reduce(tensor)`."""
    name = ufunc.__name__
    if method == "__call__" and not settings:
        if ufunc in _OFF:
            return ufunc(*map(_bare, inputs))
        op = _find(ufunc)
        if op is not None:
            return op(*inputs)
    elif getattr(np, name, None) is ufunc and "out" not in settings:
        if method == "reduce" and name in _REDUCE:
            return library_function(_REDUCE[name])(*inputs, **({"axis": 0} | settings))
        if method == "accumulate" and name in _ACCUMULATE:
            return library_function(_ACCUMULATE[name])(*inputs, **({"axis": 0} | settings))
        op = _find(ufunc)
        if method == "outer" and op is not None and not settings:
            x, y = (part if isinstance(part, Tensor) else Tensor(part) for part in inputs)
            return op(x.reshape(x.shape + (1,) * y.ndim), y)
    raise TypeError(f"np.{name}{'' if method == '__call__' else '.' + method} with the given arguments has no rule for "
                    "Tensors: use a function of tinygpt.ops, or tensor.numpy() for the bare values")


def array_function(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy calls this for `np.sum(tensor, axis=0)`, `np.concatenate([tensor, …])` and the like."""
    name = function.__name__
    if function in _OFF:
        others = [*args[1:], *(value for key, value in kwargs.items() if key != "a")]
        if name in _VALUES and any(isinstance(x, Tensor) and x.requires_grad for x in others):
            raise TypeError(f"np.{name} would lose the gradient of the {_VALUES[name]}")
        return function(*map(_bare, args), **{name: _bare(value) for name, value in kwargs.items()})
    op = _find(function)
    if op is None:
        raise TypeError(f"np.{name} has no rule for Tensors: use a function of tinygpt.ops, or tensor.numpy() for the "
                        "bare values")
    return op(*args, **_settings(name, op, kwargs))


_VALUES = {"full_like": "value that it fills in: use tinygpt.ops.broadcast_to",  # with values, and the way out
           "histogram": "bins or weights: use np.bincount of np.digitize, which takes weights with their gradient"}
_NOTHING = (("casting", "same_kind"), ("subok", False), ("subok", True), ("order", "C"))  # what NumPy does anyway
_RENAMED = {"a_min": "low", "a_max": "high", "min": "low", "max": "high"}  # NumPy's names of what clip takes


def _settings(name: str, op: Callable, given: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of one of NumPy's functions as our operation takes them.

    Raises:
        TypeError: one that the operation does not have, such as `out`; what it has is listed.
    """
    operation = getattr(op, "operation", None)
    if operation is None:
        return dict(given)
    known = [*operation.inputs, *operation.settings]
    found = {key if key in known else _RENAMED.get(key, key): value for key, value in given.items()
             if key in known or not (value is None or value is np._NoValue or (key, value) in _NOTHING)}
    if unknown := [key for key in found if key not in known]:
        raise TypeError(f"np.{name} of a Tensor takes no {', '.join(unknown)}; it takes {', '.join(known)}")
    return found
