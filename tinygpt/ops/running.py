"""Along an axis: running sums and products, differences, slopes, areas, sliding products, and lines between points.

Prerequisites: aggregates.py, products.py. Next: linear_algebra.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arrays import Array
from ..autograd import Output, Tensor, differentiable, unbroadcast, wrap
from . import elementwise, reduction, shape
from .axes import broadcast_to
from .numpy_table import ENTRIES, as_input, beside, module_of, no_out, of_numpy, plain

__all__ = [
    "convolve", "correlate", "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "diff", "ediff1d", "gradient",
    "interp", "linspace", "nancumprod", "nancumsum", "trapezoid",
]

# ---------------------------------------------------------------------------------------------------------------------
# Running sums and products


@differentiable
def _cumsum(xp: Any, x: Array, *, axis: int) -> Output:
    """The sums of the first elements along `axis`."""
    def backward(g):  # element i is in all sums from i on
        return (xp.flip(xp.cumsum(xp.flip(g, axis), axis=axis), axis) + 0,)
    return xp.cumsum(x, axis=axis), backward


@differentiable
def _cumprod(xp: Any, x: Array, *, axis: int) -> Output:
    """The products of the first elements along `axis`."""
    out = xp.cumprod(x, axis=axis)

    def backward(g):
        """dxᵢ = (Π of those before i) · Sᵢ, where Sᵢ = gᵢ + x_{i+1} S_{i+1}: no division, so zeros do no harm."""
        rows, gs, products = (xp.moveaxis(a, axis, 0) for a in (x, g, out))
        sums: list[Any] = [None] * len(rows)
        for i in range(len(rows) - 1, -1, -1):
            sums[i] = gs[i] if i == len(rows) - 1 else gs[i] + rows[i + 1] * sums[i + 1]
        parts = [s if i == 0 else products[i - 1] * s for i, s in enumerate(sums)]
        return (xp.stack(parts, axis=axis) if parts else xp.zeros_like(x),)
    return out, backward


def _cumulative(name: str, rule: Any, a: Any, axis: int | None, dtype: Any, out: Any) -> Any:
    no_out(name, out)
    a = as_input(a)
    if dtype is not None:
        a = a.astype(dtype)
    if axis is None or not a.ndim and axis in (0, -1):
        return rule(a.reshape(-1), axis=0)
    return rule(a, axis=int(axis))


@of_numpy("cumsum", derivative="the sum of g from there on")
def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    """The sums of the first elements along `axis`; of all in a row if it is None."""
    return _cumulative("cumsum", _cumsum, a, axis, dtype, out)


@of_numpy("cumprod", derivative="the sum of g times the products without the element, from there on")
def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    """The products of the first elements along `axis`; of all in a row if it is None."""
    return _cumulative("cumprod", _cumprod, a, axis, dtype, out)


@of_numpy("nancumsum", derivative="as of cumsum, for the numbers")
def nancumsum(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    """The running sums, NaN counting 0."""
    return cumsum(elementwise.where(module_of(a).isnan(plain(a)), 0, as_input(a)), axis, dtype, out)


@of_numpy("nancumprod", derivative="as of cumprod, for the numbers")
def nancumprod(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Any:
    """The running products, NaN counting 1."""
    return cumprod(elementwise.where(module_of(a).isnan(plain(a)), 1, as_input(a)), axis, dtype, out)


def _with_start(name: str, cumulate: Any, start: int, x: Any, axis: int | None, dtype: Any, out: Any,
                include_initial: bool) -> Any:
    x = as_input(x)
    if axis is None and x.ndim != 1:
        raise ValueError(f"{name}: an array of {x.ndim} axes needs `axis`")
    axis = 0 if axis is None else axis
    found = cumulate(x, axis, dtype, out)
    if not include_initial:
        return found
    lengths = list(found.shape)
    lengths[axis] = 1
    return shape.concatenate([beside(np.full(lengths, start, found.dtype), found), found], axis=axis)


@of_numpy("cumulative_sum", derivative="as of cumsum")
def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, out: None = None,
                   include_initial: bool = False) -> Any:
    """The running sums; with `include_initial` from 0 on."""
    return _with_start("cumulative_sum", cumsum, 0, x, axis, dtype, out, include_initial)


@of_numpy("cumulative_prod", derivative="as of cumprod")
def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, out: None = None,
                    include_initial: bool = False) -> Any:
    """The running products; with `include_initial` from 1 on."""
    return _with_start("cumulative_prod", cumprod, 1, x, axis, dtype, out, include_initial)


# ---------------------------------------------------------------------------------------------------------------------
# Differences, slopes, areas


def _near(x: Any, like: Any) -> Any:
    """x as a Tensor where `like` is."""
    return x if isinstance(x, Tensor) else wrap(beside(x, like))


def _slices(x: Any, axis: int, *parts: Any) -> list[Any]:
    before = (slice(None),) * (axis % x.ndim)
    return [x[before + (part,)] for part in parts]


@of_numpy("diff", derivative="g here less g before")
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """The differences of neighbours along `axis`, taken n times."""
    a = as_input(a)
    if n < 0:
        raise ValueError(f"diff: n must not be negative, got {n}")
    if not n:
        return a
    parts = [a]
    for extra, place in ((prepend, 0), (append, len(parts) + 1)):
        if extra is not None and extra is not np._NoValue:
            extra = _near(extra, a)
            if not extra.ndim:
                lengths = list(a.shape)
                lengths[axis] = 1
                extra = extra + beside(np.zeros(lengths, a.dtype), a)
            parts.insert(place, extra)
    x = shape.concatenate(parts, axis=axis) if len(parts) > 1 else a
    for _ in range(n):
        after, before = _slices(x, axis, slice(1, None), slice(None, -1))
        x = after - before
    return x


@of_numpy("ediff1d", derivative="g here less g before")
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """The differences of neighbours, of all elements in a row, between two ends."""
    middle = diff(as_input(ary).reshape(-1))
    ends = [None if end is None else _near(end, middle).reshape(-1) for end in (to_begin, to_end)]
    parts = [part for part in (ends[0], middle, ends[1]) if part is not None]
    return shape.concatenate(parts) if len(parts) > 1 else middle


@of_numpy("gradient", derivative="the same differences of g, turned round; of the gaps as of divide")
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """The slope along each axis by central differences, at the ends by one-sided ones; see NumPy's gradient."""
    f = as_input(f)
    axes = tuple(range(f.ndim)) if axis is None else tuple(
        i % f.ndim for i in (axis if isinstance(axis, tuple) else (axis,)))
    steps = [1.0] * len(axes) if not varargs else list(varargs) * (len(axes) if len(varargs) == 1 else 1)
    if len(steps) != len(axes):
        raise TypeError(f"gradient: got {len(varargs)} spacings for {len(axes)} axes")
    found = [_slope(f, i, step, edge_order) for i, step in zip(axes, steps)]
    return found[0] if len(found) == 1 else tuple(found)


def _slope(f: Any, axis: int, step: Any, edge_order: int) -> Any:
    n = f.shape[axis]
    if n < edge_order + 1 or edge_order not in (1, 2):
        raise ValueError(f"gradient: {n} elements are too few for edge_order {edge_order}, which may be 1 or 2")
    step = _near(step, f)
    gaps = diff(step) if step.ndim else broadcast_to(step, shape=(n - 1,))
    if len(gaps) != n - 1:
        raise ValueError(f"gradient: {len(gaps) + 1} coordinates for {n} elements")
    gaps = gaps.astype(f.dtype).reshape([-1 if i == axis else 1 for i in range(f.ndim)])
    rise = diff(f, axis=axis)
    quotient = rise / gaps  # the slope of each piece

    def cut(x: Any, start: int, end: int | None) -> Any:
        return _slices(x, axis, slice(start, end))[0]
    h, k = cut(gaps, 0, -1), cut(gaps, 1, None)
    middle = (cut(quotient, 0, -1) * k + cut(quotient, 1, None) * h) / (h + k)
    first, last = cut(quotient, 0, 1), cut(quotient, n - 2, None)
    if edge_order == 2:  # the parabola through the three outermost points
        bend = (cut(quotient, 1, None) - cut(quotient, 0, -1)) / (h + k)
        first = first - cut(bend, 0, 1) * cut(gaps, 0, 1)
        last = last + cut(bend, n - 3, None) * cut(gaps, n - 2, None)
    return shape.concatenate([first, middle, last], axis=axis)


@of_numpy("trapezoid", derivative="half of g times the gaps to both sides")
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """The area under the line through the points."""
    y = as_input(y)
    if x is None:
        gaps = dx
    else:
        x = _near(x, y)
        if x.ndim == 1:
            x = x.reshape([-1 if i == axis % y.ndim else 1 for i in range(y.ndim)])
        gaps = diff(x, axis=axis)
    after, before = _slices(y, axis, slice(1, None), slice(None, -1))
    return reduction.sum(gaps * (after + before) / 2, axis=axis)


# ---------------------------------------------------------------------------------------------------------------------
# Sliding products, and lines between points


@differentiable
def _convolve(xp: Any, x: Array, y: Array) -> Output:
    """The whole convolution: the element k is the sum of all x_i y_{k−i}."""
    def backward(g):  # dL/dx_i = Σ_k g_k y_{k−i}: the same, with the other one turned round
        return (lambda: unbroadcast(xp.convolve(g, y[::-1], "full")[len(y) - 1:len(y) - 1 + len(x)], x),
                lambda: unbroadcast(xp.convolve(g, x[::-1], "full")[len(x) - 1:len(x) - 1 + len(y)], y))
    return xp.convolve(x, y, "full"), backward


def _sliding(name: str, a: Any, v: Any, mode: str) -> Any:
    if a.ndim != 1 or v.ndim != 1 or not a.size or not v.size:
        raise ValueError(f"{name}: expected two rows of at least one number, got shapes {a.shape} and {v.shape}")
    whole, small, large = _convolve(a, v), min(len(a), len(v)), max(len(a), len(v))
    if mode == "full":
        return whole
    if mode == "same":
        return whole[(small - 1) // 2:(small - 1) // 2 + large]
    if mode == "valid":
        return whole[small - 1:large]
    raise ValueError(f"{name}: mode must be 'full', 'same' or 'valid', got {mode!r}")


@of_numpy("convolve", derivative="g convolved with the other row turned round")
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """Two rows slid along each other, one of them turned round, and multiplied: the whole, or a part of it."""
    return _sliding("convolve", as_input(a), as_input(v), mode)


@of_numpy("correlate", derivative="g convolved with the other row")
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """Two rows slid along each other and multiplied."""
    a, v = as_input(a), as_input(v)
    if v.dtype.kind == "c":
        v = ENTRIES["conjugate"].function(v)
    if len(a) >= len(v) or mode == "full":
        return _sliding("correlate", a, v[::-1], mode)
    return _sliding("correlate", a[::-1], v, mode)[::-1]  # NumPy slides the shorter one along the longer


@of_numpy("linspace", derivative="the two ends get g by the weights of the points")
def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
             axis: int = 0) -> Any:
    """`num` numbers from start to stop at equal distances."""
    whole = start if isinstance(start, Tensor) else as_input(stop)
    start, stop = _near(start, whole), _near(stop, whole)
    share = np.linspace(0, 1, num, endpoint=endpoint)
    share = share.astype(np.result_type(start.dtype, stop.dtype, np.float32)) if start.dtype == np.float32 else share
    whole = stop - start
    found = start + whole * beside(share.reshape(-1, *[1] * whole.ndim), whole)
    found = ENTRIES["moveaxis"].function(found, 0, axis) if axis else found
    found = found if dtype is None else found.astype(dtype)
    return (found, whole * (float(share[1]) if num > 1 else math.nan)) if retstep else found


@of_numpy("interp", derivative="g times the slope of the piece; its ends get g by their weights")
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: float | None = None) -> Any:
    """The values at x of the line through the points (xp, fp), which ascend; beyond its ends `left` and `right`."""
    some = next(part for part in (x, xp, fp) if isinstance(part, Tensor)) if any(
        isinstance(part, Tensor) for part in (x, xp, fp)) else as_input(x)
    x, xp, fp = _near(x, some), _near(xp, some), _near(fp, some)
    module = module_of(x)
    if xp.ndim != 1 or xp.shape != fp.shape or not xp.size:
        raise ValueError(f"interp: expected two rows of points, got shapes {xp.shape} and {fp.shape}")
    if period is not None:
        mod = ENTRIES["remainder"].function
        x, xp = mod(x, abs(period)), mod(xp, abs(period))
        order = xp.data.argsort()
        xp, fp = xp[order], fp[order]
        xp = shape.concatenate([xp[-1:] - abs(period), xp, xp[:1] + abs(period)])
        fp = shape.concatenate([fp[-1:], fp, fp[:1]])
        left = right = None
    n = len(xp)
    piece = module.clip(module.searchsorted(xp.data, x.data, side="right") - 1, 0, max(n - 2, 0))
    after = module.minimum(piece + 1, n - 1)
    gap = xp[after] - xp[piece]
    share = (x - xp[piece]) / elementwise.where(gap.data == 0, 1, gap)
    inside = fp[piece] + share * (fp[after] - fp[piece])
    low, high = x.data < xp.data[0], x.data > xp.data[-1]
    inside = elementwise.where(low, fp[0] if left is None else left, inside)
    inside = elementwise.where(high, fp[-1] if right is None else right, inside)
    unknown = module.isnan(x.data)
    return elementwise.where(unknown, math.nan, inside) if unknown.any() else inside
