"""Examples of NumPy's further functions that work element by element, or along an axis.

What is called as `np.f(*inputs, **settings)` has its example in that form: the same serves to check the gradient, and
to compare with what NumPy itself returns for the arrays.

Prerequisites: elementwise.py, shape.py. Next: numpy_arrays.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ops import numpy_functions
from .registry import Sample, broadcast_shapes, draw_axes, draw_shape, draw_values, samples_of

__all__: list[str] = []

Rng = np.random.Generator
numpy_functions.library()


def one(low: float = -3.0, high: float = 3.0, avoid: tuple[float, ...] = ()) -> Callable[[Rng], Sample]:
    """One array of numbers between two bounds, none of them very near to those in `avoid`."""
    def draw(rng: Rng) -> Sample:
        x = draw_values(rng, draw_shape(rng), low, high)
        for bad in avoid:
            x = np.where(np.abs(x - bad) < 0.05, bad + 0.1, x)
        return Sample((x,))
    return draw


def _away_from_whole(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rng.integers(-3, 3, shape) + rng.uniform(0.1, 0.4, shape))


for _names, _draw in (
    ("sinh cosh arctan arcsinh expm1 square exp2 deg2rad radians rad2deg degrees sinc positive real imag conjugate "
     "nan_to_num i0 angle real_if_close", one()),
    ("tan", one(-1.4, 1.4)), ("arcsin arccos arctanh", one(-0.9, 0.9)), ("arccosh", one(1.1, 4.0)),
    ("log2 log10", one(0.1, 3.0)), ("log1p", one(-0.9, 3.0)), ("cbrt reciprocal fabs sign", one(avoid=(0.0,))),
    ("floor ceil trunc rint fix", lambda rng: Sample((_away_from_whole(rng, draw_shape(rng)),))),
    ("root", one(0.1, 3.0)),
):
    for _name in _names.split():
        samples_of(_name)(_draw)


@samples_of("round")
def round(rng: Rng) -> Sample:
    x = _away_from_whole(rng, draw_shape(rng))
    return Sample((np.asarray(x / 10),), {"decimals": 1}) if rng.random() < 0.5 else Sample((x,))


def two(low: float, high: float, low_y: float, high_y: float) -> Callable[[Rng], Sample]:
    """Two arrays that broadcast, each between its bounds."""
    def draw(rng: Rng) -> Sample:
        a, b = broadcast_shapes(rng, 2)
        return Sample((draw_values(rng, a, low, high), draw_values(rng, b, low_y, high_y)))
    return draw


for _names, _draw in (
    ("arctan2 hypot heaviside", two(0.2, 3.0, 0.3, 3.0)), ("logaddexp logaddexp2", two(-3, 3, -3, 3)),
    ("float_power", two(0.3, 3.0, -2.0, 2.0)),
):
    for _name in _names.split():
        samples_of(_name)(_draw)


@samples_of("copysign")
def copysign(rng: Rng) -> Sample:
    """Both signs, and nothing near 0, where it jumps."""
    return Sample(tuple(draw_values(rng, shape, 0.2, 3.0) * rng.choice([-1.0, 1.0], shape)
                        for shape in broadcast_shapes(rng, 2)))


for _name in ("fmax", "fmin"):
    @samples_of(_name)
    def _of_two(rng: Rng) -> Sample:
        ties = rng.random() < 0.4
        return Sample(tuple(rng.integers(-1, 2, shape) * 0.7 if ties else draw_values(rng, shape)
                            for shape in broadcast_shapes(rng, 2)))


def _division(rng: Rng) -> Sample:
    """The quotient is not near a whole number, where it jumps."""
    a, b = broadcast_shapes(rng, 2)
    y = draw_values(rng, b, 0.5, 2.0) * rng.choice([-1.0, 1.0], b)
    if rng.random() < 0.5:
        y = np.asarray(1.5)
        return Sample((np.asarray(_away_from_whole(rng, a) * 1.5), y))
    x = draw_values(rng, a, 0.01, 0.2) * rng.choice([-1.0, 1.0], a)  # smaller than any y
    return Sample((x, y))


for _name in ("remainder", "fmod", "floor_divide", "divmod"):
    samples_of(_name)(_division)


@samples_of("ldexp")
def ldexp(rng: Rng) -> Sample:
    a, b = broadcast_shapes(rng, 2)
    return Sample((draw_values(rng, a), rng.integers(-3, 4, b)))


# ---------------------------------------------------------------------------------------------------------------------
# Over axes


def _some_zeros(rng: Rng, x: np.ndarray) -> np.ndarray:
    """x, which in some examples has zeros: of a product, all but one or two of its slopes then are 0."""
    return np.where(rng.random(x.shape) < 0.25, 0, x) if rng.random() < 0.4 else x


def reduced(min_side: int = 1, zeros: bool = False, **more: Callable[[Rng], Any]) -> Callable[[Rng], Sample]:
    """An array, axes, keepdims, and further settings now and then."""
    def draw(rng: Rng) -> Sample:
        x = draw_values(rng, draw_shape(rng, min_side=min_side))
        x = _some_zeros(rng, x) if zeros else x
        settings = {"axis": draw_axes(rng, x.ndim), "keepdims": bool(rng.random() < 0.5)}
        settings |= {key: value(rng) for key, value in more.items() if rng.random() < 0.5}
        return Sample((x,), settings)
    return draw


for _name in ("amin", "ptp", "nanmean", "nanmax", "nanmin", "median", "nanmedian"):
    samples_of(_name)(reduced())
for _name in ("_prod", "nanprod"):
    samples_of(_name)(reduced(zeros=True))
for _name in ("prod", "nansum", "amax"):
    samples_of(_name)(reduced(zeros=_name == "prod", initial=lambda rng: 1.5))
for _name in ("std", "nanstd", "nanvar"):
    @samples_of(_name)
    def _deviation(rng: Rng) -> Sample:
        sample = reduced(2)(rng)
        n = np.ones(sample.inputs[0].shape).sum(axis=sample.settings["axis"])
        if np.min(n) < 2:
            return Sample((draw_values(rng, (3, 4)),), {"axis": 1, "ddof": 1})
        return Sample(sample.inputs, sample.settings | ({"ddof": 1} if rng.random() < 0.5 else {}))


def _quantile(rng: Rng) -> Sample:
    sample = reduced()(rng)
    q = rng.uniform(0.05, 0.95, () if rng.random() < 0.5 else (2,))
    settings = sample.settings | {"q": q.tolist()}
    return Sample(sample.inputs, settings)


@samples_of("quantile")
def quantile(rng: Rng) -> Sample:
    sample = _quantile(rng)
    methods = ["linear", "weibull", "hazen", "lower", "midpoint", "median_unbiased"]
    return Sample(sample.inputs, sample.settings | {"method": str(rng.choice(methods))})


samples_of("nanquantile")(_quantile)
for _name in ("percentile", "nanpercentile"):
    @samples_of(_name)
    def _percentile(rng: Rng) -> Sample:
        sample = _quantile(rng)
        return Sample(sample.inputs, sample.settings | {"q": (np.asarray(sample.settings["q"]) * 100).tolist()})


@samples_of("average")
def average(rng: Rng) -> Sample:
    x = draw_values(rng, draw_shape(rng, min_dims=1, min_side=1))
    axis = int(rng.integers(0, x.ndim))
    kind = rng.integers(0, 3)
    if kind == 0:
        return Sample((x,), {"axis": draw_axes(rng, x.ndim)})
    weights = draw_values(rng, x.shape if kind == 1 else x.shape[axis:axis + 1], 0.5, 2.0)
    return Sample((x, axis, weights))


# ---------------------------------------------------------------------------------------------------------------------
# Along one axis


def _along(rng: Rng, min_side: int = 1) -> tuple[np.ndarray, int]:
    x = draw_values(rng, draw_shape(rng, min_dims=1, min_side=min_side))
    return x, int(rng.integers(-x.ndim, x.ndim))


def along(min_side: int = 1, none: bool = True, zeros: bool = False) -> Callable[[Rng], Sample]:
    """An array and an axis, now and then None."""
    def draw(rng: Rng) -> Sample:
        x, axis = _along(rng, min_side)
        x = _some_zeros(rng, x) if zeros else x
        return Sample((x,), {"axis": None if none and rng.random() < 0.2 else axis})
    return draw


for _name in ("cumsum", "nancumsum", "sort"):
    samples_of(_name)(along())
for _name in ("cumprod", "nancumprod"):
    samples_of(_name)(along(zeros=True))
samples_of("_cumsum")(along(none=False))
samples_of("_cumprod")(along(none=False, zeros=True))
for _name in ("cumulative_sum", "cumulative_prod"):
    @samples_of(_name)
    def _cumulative(rng: Rng) -> Sample:
        x, axis = _along(rng)
        return Sample((x,), {"axis": axis, "include_initial": bool(rng.random() < 0.5)})


@samples_of("partition")
def partition(rng: Rng) -> Sample:
    x, axis = _along(rng)
    return Sample((x, int(rng.integers(0, x.shape[axis]))), {"axis": axis})


@samples_of("diff")
def diff(rng: Rng) -> Sample:
    x, axis = _along(rng, 3)
    settings: dict[str, Any] = {"n": int(rng.integers(1, 3)), "axis": axis}
    if rng.random() < 0.5:
        shape = list(x.shape)
        shape[axis] = 2
        settings["prepend" if rng.random() < 0.5 else "append"] = draw_values(rng, tuple(shape))
    return Sample((x,), settings)


@samples_of("ediff1d")
def ediff1d(rng: Rng) -> Sample:
    x = draw_values(rng, draw_shape(rng, min_dims=1, min_side=2))
    return Sample((x,), {"to_end": draw_values(rng, (2,))} if rng.random() < 0.5 else {"to_begin": 0.5})


@samples_of("gradient")
def gradient(rng: Rng) -> Sample:
    x = draw_values(rng, tuple(rng.integers(3, 6, int(rng.integers(1, 3))).tolist()))
    settings = {"edge_order": int(rng.integers(1, 3))}
    if rng.random() < 0.5:
        return Sample((x,), settings)
    axis = int(rng.integers(0, x.ndim))
    step = 0.5 if rng.random() < 0.5 else np.cumsum(rng.uniform(0.5, 2.0, x.shape[axis])).tolist()
    return Sample((x, step), settings | {"axis": axis})


@samples_of("trapezoid")
def trapezoid(rng: Rng) -> Sample:
    y, axis = _along(rng, 2)
    if rng.random() < 0.5:
        return Sample((y,), {"axis": axis, "dx": 0.5})
    return Sample((y, np.cumsum(rng.uniform(0.5, 2.0, y.shape[axis]))), {"axis": axis})


def _rows(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    n, m = rng.integers(1, 7, 2).tolist()
    return draw_values(rng, (n,)), draw_values(rng, (m,))


for _name in ("convolve", "correlate"):
    @samples_of(_name)
    def _sliding(rng: Rng) -> Sample:
        return Sample(_rows(rng), {"mode": str(rng.choice(["full", "same", "valid"]))})
samples_of("_convolve")(lambda rng: Sample(_rows(rng)))


@samples_of("linspace")
def linspace(rng: Rng) -> Sample:
    a, b = broadcast_shapes(rng, 2)
    return Sample((draw_values(rng, a), draw_values(rng, b)), {"num": int(rng.integers(1, 6))})


@samples_of("interp")
def interp(rng: Rng) -> Sample:
    xp = np.cumsum(rng.uniform(0.5, 1.5, int(rng.integers(2, 6))))
    piece = rng.integers(0, len(xp) - 1, draw_shape(rng, max_dims=2))
    x = xp[piece] + rng.uniform(0.2, 0.8, piece.shape) * (xp[piece + 1] - xp[piece])
    x = np.where(rng.random(x.shape) < 0.2, x + 100, x)  # beyond the end
    return Sample((x, xp, draw_values(rng, xp.shape)))
