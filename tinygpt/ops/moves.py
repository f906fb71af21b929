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

from ..arrays import Array, as_array, from_numpy, to_numpy
from ..autograd import Output, Tensor, differentiable, wrap
from . import elementwise, shape
from .numpy_table import as_input, beside, enter, joined, module_of, no_out, of_numpy, plain

__all__ = [
    "append", "array_split", "bincount", "block", "broadcast_arrays", "choose", "column_stack", "compress", "dsplit",
    "dstack", "extract", "hsplit", "hstack", "insert", "matrix_transpose", "moved", "numpy_astype",
    "numpy_split", "pad", "select", "sums_at", "trim_zeros", "unstack", "vsplit", "vstack",
]


def sums_at(xp: Any, places: Array, g: Array, n: int) -> Array:
    """A row of n sums: each element of the row `g` added at its place, from 0 on."""
    if g.dtype.kind == "c":
        return sums_at(xp, places, xp.real(g), n) + 1j * sums_at(xp, places, xp.imag(g), n)
    return xp.bincount(places, weights=g, minlength=n)


def moved(xp: Any, function: Callable[..., Any], xs: Sequence[Array],
          blank: Callable[..., Any] | None = None) -> Output:
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
    return value.data if isinstance(value, Tensor) and value.dtype.kind in "biu" else value


def _move(name: str) -> Callable[..., Any]:
    """NumPy's function of that name as an operation: its first argument is the input, all others are settings."""
    kinds = inspect.Parameter
    first, *others = inspect.signature(getattr(np, name)).parameters.values()

    def rule(xp: Any, *xs: Array, **settings: Any) -> Output:
        there = {key: from_numpy(value, xs[0]) if isinstance(value, np.ndarray) else value
                 for key, value in settings.items()}
        if xp is not np and hasattr(there.get("repeats"), "tolist"):
            there["repeats"] = there["repeats"].tolist()  # CuPy takes no array of them
        return moved(xp, lambda x: getattr(xp, name)(x, **there), xs)
    rule.__name__ = rule.__qualname__ = name
    rule.__doc__ = f"NumPy's {name}."
    rule.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
        kinds("xp", kinds.POSITIONAL_OR_KEYWORD),
        kinds(first.name, kinds.POSITIONAL_OR_KEYWORD),
        *(kinds(p.name, kinds.KEYWORD_ONLY, default=p.default) for p in others if p.name not in UNSUPPORTED)])
    rule.__annotations__ = {}
    operation = differentiable(rule)

    @functools.wraps(operation)
    def apply(x: Any, *given: Any, **named: Any) -> Any:
        return operation(x, *map(_plain, given), **{key: _plain(value) for key, value in named.items()})
    return apply


UNSUPPORTED = {"out", "dtype", "casting", "subok", "order"}  # arguments of NumPy's that are no matter of moving

ONE_ARRAY = """roll flip fliplr flipud rot90 tile repeat moveaxis rollaxis diag diagflat diagonal tril triu take
    take_along_axis delete resize""".split()

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
    xs = tuple(map(as_input, xs))
    whole = np.broadcast_shapes(*[x.shape for x in xs])
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


def _at_least(n: int) -> Callable[..., Any]:
    def at_least(*arys: Any) -> Any:
        def one(x: Any) -> Any:
            x = as_input(x)
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
    return shape.concatenate([joined(arr), joined(values)], axis=axis)


@of_numpy("insert", derivative="each array gets its part of g")
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """`values` put into `arr` before the places `obj`."""
    arr, values = joined(arr), joined(values)
    if not values.requires_grad:
        values = wrap(beside(values, arr))
    old, new = (np.arange(x.size).reshape(x.shape) for x in (arr, values))
    places = np.insert(old, plain(obj), new + arr.size, axis=axis)
    return append(arr, values)[beside(places, arr)]


@of_numpy("compress", derivative="g goes back to where each element came from")
def compress(condition: Any, a: Any, axis: int | None = None, out: None = None) -> Any:
    """The slices of `a` along `axis` where `condition` is true."""
    no_out("compress", out)
    a = as_input(a)
    (chosen,) = beside(condition, a).nonzero()
    if axis is None:
        return shape.reshape(a, shape=(-1,))[chosen]
    return a[(slice(None),) * (axis % a.ndim) + (chosen,)]


@of_numpy("extract", derivative="g goes back to where each element came from")
def extract(condition: Any, arr: Any) -> Any:
    """The elements of `arr` where `condition` is true, in a row."""
    arr = as_input(arr)
    return shape.reshape(arr, shape=(-1,))[beside(condition, arr).ravel().nonzero()[0]]


@of_numpy("choose", derivative="g goes back to where each element came from")
def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Any:
    """Of several arrays, broadcast together, each element from the one that `a` says."""
    no_out("choose", out)
    parts = [as_input(x) for x in choices]
    which = plain(a) if module_of(a) is not np else np.asarray(plain(a))
    if mode == "wrap":
        which = which % len(parts)
    elif mode == "clip":
        which = which.clip(0, len(parts) - 1)
    elif ((which < 0) | (which >= len(parts))).any():
        raise ValueError(f"choose: an element of a is none of 0 … {len(parts) - 1}, the numbers of the choices")
    return select([which == i for i in range(len(parts))], parts)


@of_numpy("select", derivative="g goes back to where each element came from")
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """From the first array whose condition holds; `default` where none does."""
    if len(condlist) != len(choicelist):
        raise ValueError(f"select: got {len(condlist)} conditions for {len(choicelist)} choices")
    out = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist)):
        out = elementwise.where(plain(condition), choice, out)
    return out


@of_numpy("block", derivative="each array gets its part of g")
def block(arrays: Any) -> Any:
    """Arrays joined from nested lists: the innermost along the last axis, the next along the one before it."""
    def depth_of(part: Any) -> int:
        return 1 + max(map(depth_of, part)) if isinstance(part, list) else 0

    def dims_of(part: Any) -> int:
        return max(map(dims_of, part)) if isinstance(part, list) else as_input(part).ndim
    depth = depth_of(arrays)
    n_dims = max(depth, dims_of(arrays))

    def join(part: Any, level: int) -> Any:
        if isinstance(part, list):
            return shape.concatenate([join(x, level - 1) for x in part], axis=-level)
        x = as_input(part)
        return shape.reshape(x, shape=(1,) * (n_dims - x.ndim) + x.shape)
    return join(arrays, depth)


@of_numpy("array_split", derivative="each part's gradient in its place")
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> tuple[Any, ...]:
    """x cut along `axis`: into so many parts, the first ones longer, or before the given indices."""
    ary = as_input(ary)
    n = ary.shape[axis]
    cuts = plain(indices_or_sections)
    parts = np.array_split(np.arange(n), cuts if isinstance(cuts, (int, np.integer)) else np.asarray(cuts))
    before = (slice(None),) * (axis % ary.ndim)
    return tuple(ary[before + (slice(int(part[0]), int(part[-1]) + 1) if len(part) else slice(0, 0),)]
                 for part in parts)


@of_numpy("split", ours="numpy_split", derivative="each part's gradient in its place")
def numpy_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> tuple[Any, ...]:
    """x cut along `axis` as NumPy's split does: into so many equal parts, or before the given indices."""
    ary = as_input(ary)
    n = ary.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)) and n % indices_or_sections:
        raise ValueError(f"split: {n} elements along axis {axis} are not {indices_or_sections} equal parts")
    return array_split(ary, indices_or_sections, axis)


def _split_along(name: str, axis_of: Callable[[int], int]) -> Callable[..., Any]:
    def cut(ary: Any, indices_or_sections: Any) -> tuple[Any, ...]:
        ary = as_input(ary)
        return numpy_split(ary, indices_or_sections, axis_of(ary.ndim))
    cut.__name__ = cut.__qualname__ = name
    cut.__doc__ = f"NumPy's {name}."
    enter(cut, name, derivative="each part's gradient in its place")
    return cut


hsplit = _split_along("hsplit", lambda n: 1 if n > 1 else 0)
vsplit = _split_along("vsplit", lambda n: 0)
dsplit = _split_along("dsplit", lambda n: 2)


@of_numpy("trim_zeros", derivative="g goes back to where each element came from")
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """x without the zeros in front (f) and behind (b), along `axis` or all axes."""
    x = as_input(filt)
    axes = range(x.ndim) if axis is None else [i % x.ndim for i in ([axis] if isinstance(axis, int) else axis)]
    key: list[Any] = [slice(None)] * x.ndim
    for i in axes:
        (there,) = (to_numpy(x.data) != 0).any(axis=tuple(j for j in range(x.ndim) if j != i)).nonzero()
        first, last = (int(there[0]), int(there[-1]) + 1) if len(there) else (x.shape[i], x.shape[i])
        key[i] = slice(first if "f" in trim.lower() else 0, last if "b" in trim.lower() else x.shape[i])
    return x[tuple(key)]


@of_numpy("unstack", derivative="each part's gradient in its place")
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices along `axis`, without it."""
    x = as_input(x)
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


@of_numpy("astype", ours="numpy_astype", derivative="g, in the type of x")
def numpy_astype(x: Any, dtype: Any, /, *, copy: bool = True, device: None = None) -> Any:
    """The same values in another type."""
    return as_input(x).astype(dtype)


@of_numpy("bincount", derivative="of the weights: g at the place that each was added to")
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    """How often each number occurs in x, or the sum of the weights where it does."""
    if weights is None:
        return wrap(module_of(x).bincount(plain(x), minlength=minlength))
    weights = as_input(weights)
    return _bincount(weights, x=beside(x, weights), minlength=minlength)


@differentiable
def _bincount(xp: Any, weights: Array, *, x: Any, minlength: int = 0) -> Output:
    """Sums of weights by the numbers x."""
    def backward(g):
        return (g[x].astype(weights.dtype),)
    return sums_at(xp, x, weights, minlength).astype(weights.dtype), backward
