"""Reductions with every argument that NumPy's have, and those made of others: products, deviations, without NaN.

`where` leaves elements out by putting in their place what changes nothing: 0 in a sum, 1 in a product, −∞ in a maximum.

Prerequisites: reduction.py, statistics.py, moves.py. Next: sorting.py.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array, as_array
from ..autograd import Output, Tensor, differentiable, wrap
from . import elementwise, reduction, statistics
from .elementwise import where as choose
from .numpy_table import as_input, beside, module_of, no_out, of_numpy, plain
from .piecewise import minimum
from .reduction import Axis, count, reduced_axes, restore

__all__ = [
    "amax", "amin", "average", "max", "mean", "min", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum",
    "nanvar", "others", "prod", "ptp", "root", "std", "sum", "var",
]


def _prepared(name: str, x: Any, dtype: Any, out: Any, where: Any, neutral: float) -> Any:
    """The array to be reduced: in the type asked for, and `neutral` where it is not to count."""
    no_out(name, out)
    x = as_input(x)
    if dtype is not None:
        x = x.astype(dtype)
    return x if _everywhere(where) else choose(beside(where, x), x, neutral)


def _everywhere(where: Any) -> bool:
    return where is None or where is True or where is np._NoValue


def _given(x: Any) -> bool:
    return x is not None and x is not np._NoValue


def _settings(axis: Any, keepdims: Any) -> dict[str, Any]:
    return {"axis": tuple(axis) if isinstance(axis, list) else axis, "keepdims": keepdims is True or (
        keepdims is not np._NoValue and bool(keepdims))}


@of_numpy("sum", derivative="g to every element")
def sum(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False, initial: Any = None,
        where: Any = None) -> Any:
    """The sum over `axis`, of the elements where `where` is true, on top of `initial`."""
    total = reduction.sum(_prepared("sum", a, dtype, out, where, 0), **_settings(axis, keepdims))
    return total + initial if _given(initial) else total


@of_numpy("prod", derivative="g times the product of the other elements")
def prod(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False, initial: Any = None,
         where: Any = None) -> Any:
    """The product over `axis`, of the elements where `where` is true, times `initial`."""
    total = _prod(_prepared("prod", a, dtype, out, where, 1), **_settings(axis, keepdims))
    return total * initial if _given(initial) else total


def others(xp: Any, rows: Array) -> Array:
    """For each element of the last axis the product of all others, without dividing: zeros do no harm."""
    ones = xp.ones_like(rows[..., :1])
    before = xp.cumprod(xp.concatenate([ones, rows[..., :-1]], axis=-1), axis=-1)
    after = xp.cumprod(xp.concatenate([ones, rows[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    return before * after


@differentiable
def _prod(xp: Any, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Output:
    """The product over `axis`."""
    axes = reduced_axes(x, axis)
    kept = [a for a in range(x.ndim) if a not in axes]
    order = (*kept, *axes)

    def backward(g):  # dΠ = Σᵢ (Π of the others) dxᵢ
        turned = x.transpose(order)
        rest = others(xp, turned.reshape(*[x.shape[a] for a in kept], -1)).reshape(turned.shape)
        return (restore(g, x, axis) * rest.transpose([order.index(a) for a in range(x.ndim)]),)
    return x.prod(axis=axis, keepdims=keepdims), backward


@of_numpy("mean", derivative="g / n to every element")
def mean(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False, *,
         where: Any = None) -> Any:
    """The mean over `axis`, of the elements where `where` is true."""
    x = _prepared("mean", a, dtype, out, where, 0)
    settings = _settings(axis, keepdims)
    if _everywhere(where):
        return reduction.mean(x, **settings)
    return reduction.sum(x, **settings) / _how_many(x, where, settings)


def _how_many(x: Any, where: Any, settings: dict[str, Any]) -> Any:
    mask = module_of(x).broadcast_to(beside(where, x), x.shape)
    return wrap(as_array(mask.sum(axis=settings["axis"], keepdims=settings["keepdims"]).astype(x.dtype)))


def _extreme(name: str, reduce: Callable[..., Any], pair: Callable[..., Any], neutral: float) -> Callable[..., Any]:
    def extreme(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, initial: Any = None,
                where: Any = None) -> Any:
        if not _everywhere(where) and not _given(initial):
            raise ValueError(f"{name}: with where= there may be nothing to choose from: give initial= too")
        x = _prepared(name, a, None, out, where, neutral)
        settings = _settings(axis, keepdims)
        if not _given(initial):
            return reduce(x, **settings)
        if not count(x, settings["axis"]):  # of nothing: the initial value, in the shape of the sum
            return reduction.sum(x, **settings) + initial
        return pair(reduce(x, **settings), initial)
    extreme.__name__ = extreme.__qualname__ = name
    extreme.__doc__ = f"The {name}imum over `axis`, of the elements where `where` is true, and of `initial`."
    return extreme


max = of_numpy("max", derivative="g to the largest; equal ones share it")(
    _extreme("max", reduction.max, elementwise.maximum, -math.inf))
min = of_numpy("min", derivative="g to the smallest; equal ones share it")(
    _extreme("min", statistics.min, minimum, math.inf))
amax = of_numpy("amax", derivative="as of max")(max)
amin = of_numpy("amin", derivative="as of min")(min)


@of_numpy("var", derivative="2 g (x − mean) / (n − ddof)")
def var(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: bool = False, *,
        where: Any = None, mean: Any = None, correction: Any = None) -> Any:
    """The squared distances from the mean, added up over `axis` and divided by their number less `ddof`."""
    x = _prepared("var", a, dtype, out, where, 0)
    settings = _settings(axis, keepdims)
    ddof = correction if _given(correction) else ddof
    if _everywhere(where) and not _given(mean):
        return statistics.var(x, **settings, ddof=ddof)
    n = count(x, settings["axis"]) if _everywhere(where) else _how_many(x, where, settings | {"keepdims": True})
    if not _given(mean):
        mean = reduction.sum(x, axis=settings["axis"], keepdims=True) / n
    squares = (x - mean) * (x - mean)
    if not _everywhere(where):
        squares = choose(beside(where, x), squares, 0)
    rest = elementwise.maximum(n - ddof, 0) if isinstance(n, Tensor) else builtins.max(n - ddof, 0)
    total = reduction.sum(squares, axis=settings["axis"], keepdims=True) / rest
    return total if settings["keepdims"] else reduction.sum(total, axis=settings["axis"])


@of_numpy("std", derivative="g (x − mean) / ((n − ddof) std); 0 where all are equal")
def std(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: bool = False, *,
        where: Any = None, mean: Any = None, correction: Any = None) -> Any:
    """The square root of the variance."""
    return root(var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction))


@differentiable
def root(xp: Any, x: Array) -> Output:
    """√x, with the gradient 0 at 0: of a length or a deviation that is 0, the middle of all directions."""
    zero = x == 0
    safe = xp.sqrt(xp.where(zero, 1, x))  # no infinite slope, in second derivatives either

    def backward(g):
        return (xp.where(zero, 0, g) / (2 * safe),)
    return xp.where(zero, 0, safe), backward


@of_numpy("ptp", derivative="g to the largest, −g to the smallest")
def ptp(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> Any:
    """The largest less the smallest."""
    return max(a, axis, out, keepdims) - min(a, axis, out, keepdims)


@of_numpy("average", derivative="g w / Σw; for a weight g (x − average) / Σw")
def average(a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """The mean over `axis`, weighted by `weights`; with `returned` also the sum of these."""
    a = as_input(a)
    if weights is None:
        out = mean(a, axis, keepdims=keepdims)
        return (out, out * 0 + a.size / builtins.max(out.size, 1)) if returned else out
    weights = weights if isinstance(weights, Tensor) else wrap(beside(weights, a))
    if weights.shape != a.shape:
        axes = reduced_axes(a.data, axis)
        if axis is None or weights.shape != tuple(a.shape[i] for i in (axis if isinstance(axis, tuple) else (axis,))):
            raise TypeError(f"average: weights of shape {weights.shape} fit no axis of {a.shape}: give `axis`, and "
                            "weights as long as it is")
        weights = weights.transpose(*np.argsort(axes).tolist())
        weights = weights.reshape([n if i in axes else 1 for i, n in enumerate(a.shape)])
    total = sum(weights * module_of(a).ones(a.shape, dtype=a.dtype), axis, keepdims=keepdims)
    out = sum(a * weights, axis, keepdims=keepdims) / total
    return (out, total) if returned else out


# ---------------------------------------------------------------------------------------------------------------------
# Without NaN


def _numbers(x: Any) -> Array:
    return ~module_of(x).isnan(plain(x))


def _and(where: Any, mask: Array) -> Array:
    return mask if _everywhere(where) else mask & beside(where, wrap(mask))


@of_numpy("nansum", derivative="g to every element that is a number")
def nansum(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False, initial: Any = None,
           where: Any = None) -> Any:
    """The sum, NaN counting 0."""
    return sum(a, axis, dtype, out, keepdims, initial, _and(where, _numbers(a)))


@of_numpy("nanprod", derivative="g times the product of the other numbers")
def nanprod(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False,
            initial: Any = None, where: Any = None) -> Any:
    """The product, NaN counting 1."""
    return prod(a, axis, dtype, out, keepdims, initial, _and(where, _numbers(a)))


@of_numpy("nanmean", derivative="g / n to every element that is a number")
def nanmean(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, keepdims: bool = False, *,
            where: Any = None) -> Any:
    """The mean of what is not NaN."""
    return mean(a, axis, dtype, out, keepdims, where=_and(where, _numbers(a)))


@of_numpy("nanvar", derivative="as of var, for the elements that are numbers")
def nanvar(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: bool = False, *,
           where: Any = None, mean: Any = None, correction: Any = None) -> Any:
    """The variance of what is not NaN."""
    return var(a, axis, dtype, out, ddof, keepdims, where=_and(where, _numbers(a)), mean=mean, correction=correction)


@of_numpy("nanstd", derivative="as of std, for the elements that are numbers")
def nanstd(a: Any, axis: Axis = None, dtype: Any = None, out: None = None, ddof: float = 0, keepdims: bool = False, *,
           where: Any = None, mean: Any = None, correction: Any = None) -> Any:
    """The standard deviation of what is not NaN."""
    return root(nanvar(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction))


def _nan_extreme(reduce: Callable[..., Any], a: Any, axis: Any, out: Any, keepdims: Any, initial: Any,
                 where: Any, neutral: float) -> Any:
    """Where a slice has nothing but NaN, the result is NaN, as NumPy's."""
    numbers = _and(where, _numbers(a))
    found = reduce(choose(numbers, as_input(a), neutral), axis, out, keepdims, initial)
    if _given(initial):
        return found
    settings = _settings(axis, keepdims)
    some = module_of(numbers).broadcast_to(numbers, plain(a).shape).any(**settings)
    return found if some.all() else choose(some, found, math.nan)


@of_numpy("nanmax", derivative="g to the largest number; equal ones share it")
def nanmax(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, initial: Any = None,
           where: Any = None) -> Any:
    """The largest of what is not NaN."""
    return _nan_extreme(max, a, axis, out, keepdims, initial, where, -math.inf)


@of_numpy("nanmin", derivative="g to the smallest number; equal ones share it")
def nanmin(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, initial: Any = None,
           where: Any = None) -> Any:
    """The smallest of what is not NaN."""
    return _nan_extreme(min, a, axis, out, keepdims, initial, where, math.inf)
