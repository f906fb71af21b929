"""Functions that move elements about, with one rule for all of them.

What such a function does with numbers, it does with their places: applied to 1, 2, 3, … it says where each element of
the output came from, and 0 says that it came from nowhere. Backward, each gradient goes back to that place, and what
was used several times gets the sum. So NumPy's own function is the whole of the rule, with every argument it knows.

Prerequisites: axes.py, numpy_table.py. Next: aggregates.py.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arrays import Array, as_array
from ..autograd import Output, Tensor, differentiable
from . import elementwise, indexing, shape
from .numpy_table import METHOD_NAMES, enter, of_numpy

__all__ = [
    "append", "array_split", "bincount", "block", "broadcast_arrays", "choose", "column_stack", "compress", "dsplit",
    "dstack", "extract", "hsplit", "hstack", "insert", "moved", "pad", "select", "sums_at", "unstack",
    "vsplit", "vstack",
]


def sums_at(xp: Any, places: Array, g: Array, n: int) -> Array:
    """A row of n sums: each element of the row `g` added at its place, from 0 on."""
    if g.dtype.kind == "c":
        return sums_at(xp, places, xp.real(g), n) + 1j * sums_at(xp, places, xp.imag(g), n)
    return xp.bincount(places, weights=g, minlength=n)


def moved(xp: Any, function: Callable[..., Any], xs: Sequence[Array], blank: Callable[..., Any] | None = None) -> Output:
    """Output and closure of a function that moves the elements of its arrays.

    Args:
        function: of the arrays; returns an array, or a list or tuple of them.
        xs: the arrays.
        blank: the same with zeros for what it fills in; None where it fills in nothing else.
    """
    out = function(*xs)
    several = isinstance(out, (list, tuple))

    def backward(g):
        ends = np.cumsum([x.size for x in xs]).tolist()
        numbered = [xp.arange(end - x.size + 1, end + 1).reshape(x.shape) for x, end in zip(xs, ends)]
        places = (blank or function)(*numbered)
        if several:
            places = xp.concatenate([part.ravel() for part in places])
            g = xp.concatenate([part.ravel() for part in g])
        else:
            places, g = places.ravel(), g.ravel()
        total = sums_at(xp, places, g, ends[-1] + 1)[1:]
        return [total[end - x.size:end].reshape(x.shape).astype(x.dtype) for x, end in zip(xs, ends)]
    return (tuple(out) if several else as_array(out)), backward


def _plain(value: Any) -> Any:
    """Indices and masks may be given as Tensors."""
    if isinstance(value, Tensor) and value.dtype.kind in "biu":
        return value.data
    return value


def _move(name: str, variadic: bool = False) -> Callable[..., Any]:
    """NumPy's function of that name as an operation: its first argument is the input, all others are settings."""
    kinds = inspect.Parameter
    first, *others = inspect.signature(getattr(np, name)).parameters.values()

    def rule(xp: Any, *xs: Array, **settings: Any) -> Output:
        def function(*arrays: Array) -> Any:
            return getattr(xp, name)(list(arrays) if variadic else arrays[0], **settings)
        return moved(xp, function, xs)
    rule.__name__ = rule.__qualname__ = name
    rule.__doc__ = f"NumPy's {name}."
    rule.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
        kinds("xp", kinds.POSITIONAL_OR_KEYWORD),
        kinds("xs", kinds.VAR_POSITIONAL) if variadic else kinds(first.name, kinds.POSITIONAL_OR_KEYWORD),
        *(kinds(p.name, kinds.KEYWORD_ONLY, default=p.default) for p in others if p.name not in UNSUPPORTED)])
    rule.__annotations__ = {}
    operation = differentiable(rule)

    @functools.wraps(operation)
    def apply(x: Any, *given: Any, **named: Any) -> Any:
        return operation(x, *map(_plain, given), **{key: _plain(value) for key, value in named.items()})
    return apply


UNSUPPORTED = {"out", "dtype", "casting", "subok", "order"}  # arguments of NumPy's that are no matter of moving

ONE_ARRAY = """roll flip fliplr flipud rot90 tile repeat moveaxis rollaxis diag diagflat diagonal tril triu take
    take_along_axis delete resize trim_zeros""".split()

for _name in ONE_ARRAY:
    if hasattr(np, _name):
        enter(_move(_name), _name, derivative="g goes back to where each element came from")


@of_numpy("hstack", derivative="each array gets its part of g")
@differentiable
def hstack(xp: Any, *xs: Array) -> Output:
    """Arrays side by side: along the second axis, or the first of rows."""
    return moved(xp, lambda *arrays: xp.hstack(arrays), xs)


@of_numpy("vstack", derivative="each array gets its part of g")
@differentiable
def vstack(xp: Any, *xs: Array) -> Output:
    """Arrays one below the other; a row counts as a matrix of one row."""
    return moved(xp, lambda *arrays: xp.vstack(arrays), xs)


@of_numpy("dstack", derivative="each array gets its part of g")
@differentiable
def dstack(xp: Any, *xs: Array) -> Output:
    """Arrays behind one another, along the third axis."""
    return moved(xp, lambda *arrays: xp.dstack(arrays), xs)


@of_numpy("column_stack", derivative="each array gets its part of g")
@differentiable
def column_stack(xp: Any, *xs: Array) -> Output:
    """Arrays as the columns of a matrix; a row becomes one column."""
    return moved(xp, lambda *arrays: xp.column_stack(arrays), xs)


@of_numpy("broadcast_arrays", derivative="g, summed over what was repeated")
def broadcast_arrays(*xs: Any, subok: bool = False) -> tuple[Any, ...]:
    """Each array repeated to their common shape."""
    from .axes import broadcast_to
    whole = np.broadcast_shapes(*[np.shape(x) for x in xs])
    return tuple(broadcast_to(x, shape=whole) for x in xs)


MOVING_PADS = ("constant", "edge", "reflect", "symmetric", "wrap")


@of_numpy("pad", derivative="g goes back to where each element came from")
@differentiable
def pad(xp: Any, x: Array, *, pad_width: Any, mode: str = "constant", constant_values: Any = 0,
        reflect_type: str = "even") -> Output:
    """x with elements around it, as NumPy's pad; of its modes those that move elements or fill in constants."""
    if mode not in MOVING_PADS or reflect_type != "even":
        raise ValueError(f"pad: expected mode to be one of {', '.join(MOVING_PADS)} and reflect_type 'even', got "
                         f"{mode!r} and {reflect_type!r}")

    def with_constant(fill: Any) -> Callable[[Array], Array]:
        settings = {"constant_values": fill} if mode == "constant" else {}
        return lambda a: xp.pad(a, pad_width, mode=mode, **settings)
    return moved(xp, with_constant(constant_values), [x], with_constant(0))


# ---------------------------------------------------------------------------------------------------------------------
# Put together from others


def _as_input(x: Any) -> Any:
    return x if isinstance(x, Tensor) else Tensor(x)


def _at_least(n: int) -> Callable[..., Any]:
    def at_least(*arys: Any) -> Any:
        def one(x: Any) -> Any:
            x = _as_input(x)
            shape_of = getattr(np, f"atleast_{n}d")(np.empty(x.shape, np.bool_)).shape
            return x if shape_of == x.shape else shape.reshape(x, shape=shape_of)
        return one(arys[0]) if len(arys) == 1 else tuple(map(one, arys))
    at_least.__name__ = at_least.__qualname__ = f"atleast_{n}d"
    at_least.__doc__ = f"Arrays with at least {n} axes."
    return at_least


for _n in (1, 2, 3):
    enter(_at_least(_n), f"atleast_{_n}d", derivative="g, reshaped")


@of_numpy("append", derivative="each array gets its part of g")
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """`values` behind `arr`; both flattened if `axis` is None."""
    return shape.concatenate([_as_input(arr), _as_input(values)], axis=axis)


@of_numpy("insert", derivative="each array gets its part of g")
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """`values` put into `arr` before the places `obj`."""
    return _insert(_as_input(arr), _as_input(values), obj=_plain(obj), axis=axis)


@differentiable
def _insert(xp: Any, arr: Array, values: Array, *, obj: Any, axis: int | None = None) -> Output:
    """np.insert with its two arrays in front."""
    return moved(xp, lambda a, b: xp.insert(a, obj, b, axis=axis), [arr, values])


@of_numpy("compress", derivative="g goes back to where each element came from")
def compress(condition: Any, a: Any, axis: int | None = None, out: None = None) -> Any:
    """The slices of `a` along `axis` where `condition` is true."""
    _no_out("compress", out)
    a = _as_input(a)
    (chosen,) = np.nonzero(_bare(condition))
    if axis is None:
        return shape.reshape(a, shape=(-1,))[chosen]
    return a[(slice(None),) * (axis % a.ndim) + (chosen,)]


@of_numpy("extract", derivative="g goes back to where each element came from")
def extract(condition: Any, arr: Any) -> Any:
    """The elements of `arr` where `condition` is true, in a row."""
    return shape.reshape(_as_input(arr), shape=(-1,))[np.nonzero(_bare(condition).ravel())[0]]


@of_numpy("choose", derivative="g goes back to where each element came from")
def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Any:
    """Of several arrays, broadcast together, each element from the one that `a` says."""
    _no_out("choose", out)
    a, parts = np.asarray(_bare(a)), [_as_input(x) for x in choices]
    which, *_ = np.broadcast_arrays(a, *[np.empty(x.shape, np.bool_) for x in parts])
    which = np.choose(which, range(len(parts)), mode=mode)  # type: ignore[call-overload]
    return select([which == i for i in range(len(parts))], parts)


@of_numpy("select", derivative="g goes back to where each element came from")
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """From the first array whose condition holds; `default` where none does."""
    if len(condlist) != len(choicelist):
        raise ValueError(f"select: got {len(condlist)} conditions for {len(choicelist)} choices")
    out = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist)):
        out = elementwise.where(_bare(condition), choice, out)
    return out


@of_numpy("block", derivative="each array gets its part of g")
def block(arrays: Any) -> Any:
    """Arrays joined from nested lists: the innermost along the last axis, the next along the one before it."""
    def depth_of(part: Any) -> int:
        return 1 + max(map(depth_of, part)) if isinstance(part, list) else 0

    def dims_of(part: Any) -> int:
        return max(map(dims_of, part)) if isinstance(part, list) else np.ndim(part)
    depth = depth_of(arrays)
    n_dims = max(depth, dims_of(arrays))

    def join(part: Any, level: int) -> Any:
        if isinstance(part, list):
            return shape.concatenate([join(x, level - 1) for x in part], axis=-level)
        x = _as_input(part)
        return shape.reshape(x, shape=(1,) * (n_dims - x.ndim) + x.shape)
    return join(arrays, depth)


@of_numpy("array_split", derivative="each part's gradient in its place")
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> tuple[Any, ...]:
    """x cut along `axis`: into so many parts, the first ones longer, or before the given indices."""
    ary = _as_input(ary)
    n = ary.shape[axis]
    parts = np.array_split(np.arange(n), _bare(indices_or_sections))
    before = (slice(None),) * (axis % ary.ndim)
    return tuple(ary[before + (slice(int(part[0]), int(part[-1]) + 1) if len(part) else slice(0, 0),)]
                 for part in parts)


@of_numpy("split", ours="numpy_split", derivative="each part's gradient in its place")
def numpy_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> tuple[Any, ...]:
    """x cut along `axis` as NumPy's split does: into so many equal parts, or before the given indices."""
    n = np.shape(ary)[axis]
    if isinstance(indices_or_sections, (int, np.integer)) and n % indices_or_sections:
        raise ValueError(f"split: {n} elements along axis {axis} are not {indices_or_sections} equal parts")
    return array_split(ary, indices_or_sections, axis)


def _split_along(name: str, axis_of: Callable[[int], int]) -> Callable[..., Any]:
    def cut(ary: Any, indices_or_sections: Any) -> tuple[Any, ...]:
        return numpy_split(ary, indices_or_sections, axis_of(np.ndim(ary)))
    cut.__name__ = cut.__qualname__ = name
    cut.__doc__ = f"NumPy's {name}."
    enter(cut, name, derivative="each part's gradient in its place")
    return cut


hsplit = _split_along("hsplit", lambda n: 1 if n > 1 else 0)
vsplit = _split_along("vsplit", lambda n: 0)
dsplit = _split_along("dsplit", lambda n: 2)


@of_numpy("unstack", derivative="each part's gradient in its place")
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices along `axis`, without it."""
    x = _as_input(x)
    before = (slice(None),) * (axis % x.ndim)
    return tuple(x[before + (i,)] for i in range(x.shape[axis]))


@of_numpy("matrix_transpose", "linalg.matrix_transpose", derivative="g, transposed")
def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged."""
    return shape.swapaxes(x, axis1=-1, axis2=-2)


@of_numpy("copy", derivative="g")
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """The same values in memory of their own."""
    return elementwise.multiply(a, 1)


@of_numpy("bincount", derivative="of the weights: g at the place that each was added to")
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    """How often each number occurs in x, or the sum of the weights where it does."""
    if weights is None:
        return Tensor(np.bincount(_bare(x), minlength=minlength))
    return _bincount(_as_input(weights), x=_bare(x), minlength=minlength)


@differentiable
def _bincount(xp: Any, weights: Array, *, x: Any, minlength: int = 0) -> Output:
    """Sums of weights by the numbers x."""
    def backward(g):
        return (g[x].astype(weights.dtype),)
    return sums_at(xp, x, weights, minlength).astype(weights.dtype), backward


def _bare(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x if isinstance(x, int) else np.asarray(x)


def _no_out(name: str, out: Any) -> None:
    if out is not None:
        raise TypeError(f"np.{name} of a Tensor takes no out: earlier results may depend on what is there")
