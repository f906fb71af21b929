"""NumPy's further functions of one or two numbers, element by element: one row of a table each.

A row says what the function is called in NumPy and what its slope is. The rule is the same for all: the gradient of the
output times the slope.

Prerequisites: elementwise.py, numpy_table.py. Next: moves.py. The slopes are in every table of derivatives, such as
Abramowitz & Stegun, "Handbook of mathematical functions" (1964), chapter 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array
from ..autograd import Output, differentiable, unbroadcast
from . import elementwise
from .numpy_table import ENTRIES, as_input, enter, of_numpy

__all__ = ["angle", "conjugate", "divmod", "float_power", "i0", "imag", "nan_to_num", "real", "real_if_close", "round"]

LOG_2, LOG_10, DEGREE = math.log(2), math.log(10), math.pi / 180


def _steps(xp: Any, *arrays: Array) -> Array:
    """The slope of a function that is constant but for its jumps."""
    return xp.zeros_like(arrays[-1])


def _sinc_slope(xp: Any, x: Array, out: Array) -> Array:
    """(cos πx − sinc x) / x; near 0, where that cancels, the series −π²x/3 (1 − π²x²/10 + π⁴x⁴/280)."""
    small = abs(x) < 0.01
    square = (math.pi * x) ** 2
    series = -math.pi**2 * x / 3 * (1 - square / 10 * (1 - square / 28))
    return xp.where(small, series, (xp.cos(math.pi * x) - out) / xp.where(small, 1, x))


# NumPy's name: the derivative in words, and as a function of xp, x and the output
ONE_INPUT: dict[str, tuple[str, Callable[[Any, Array, Array], Any]]] = {
    "tan": ("g (1 + tan² x)", lambda xp, x, y: 1 + y * y),
    "arcsin": ("g / √(1 − x²)", lambda xp, x, y: 1 / xp.sqrt(1 - x * x)),
    "arccos": ("−g / √(1 − x²)", lambda xp, x, y: -1 / xp.sqrt(1 - x * x)),
    "arctan": ("g / (1 + x²)", lambda xp, x, y: 1 / (1 + x * x)),
    "sinh": ("g cosh x", lambda xp, x, y: xp.cosh(x)),
    "cosh": ("g sinh x", lambda xp, x, y: xp.sinh(x)),
    "arcsinh": ("g / √(x² + 1)", lambda xp, x, y: 1 / xp.sqrt(x * x + 1)),
    "arccosh": ("g / √(x² − 1)", lambda xp, x, y: 1 / (xp.sqrt(x - 1) * xp.sqrt(x + 1))),
    "arctanh": ("g / (1 − x²)", lambda xp, x, y: 1 / ((1 - x) * (1 + x))),
    "exp2": ("g 2ˣ log 2", lambda xp, x, y: y * LOG_2),
    "expm1": ("g eˣ", lambda xp, x, y: y + 1),
    "log2": ("g / (x log 2)", lambda xp, x, y: 1 / (x * LOG_2)),
    "log10": ("g / (x log 10)", lambda xp, x, y: 1 / (x * LOG_10)),
    "log1p": ("g / (1 + x)", lambda xp, x, y: 1 / (1 + x)),
    "square": ("2 g x", lambda xp, x, y: 2 * x),
    "cbrt": ("g / (3 ∛x²)", lambda xp, x, y: 1 / (3 * y * y)),
    "reciprocal": ("−g / x²", lambda xp, x, y: -y * y),
    "deg2rad": ("g π / 180", lambda xp, x, y: DEGREE),
    "radians": ("g π / 180", lambda xp, x, y: DEGREE),
    "rad2deg": ("g · 180 / π", lambda xp, x, y: 1 / DEGREE),
    "degrees": ("g · 180 / π", lambda xp, x, y: 1 / DEGREE),
    "sinc": ("g (cos πx − sinc x) / x", _sinc_slope),
    "fabs": ("g sign(x); 0 at 0", lambda xp, x, y: xp.sign(x)),
    "positive": ("g", lambda xp, x, y: 1),
    "sign": ("0", _steps), "floor": ("0", _steps), "ceil": ("0", _steps), "trunc": ("0", _steps),
    "rint": ("0", _steps), "fix": ("0", _steps),
}


def _first_of(xp: Any, x: Array, y: Array, first: Array, tie: Array) -> Array:
    """The share of x in fmax and fmin: all where it is taken or y is NaN, half where the two are equal."""
    share = 0.5 * first + 0.5 * (first | tie)
    return xp.where(y != y, 1.0, xp.where(x != x, 0.0, share))


def _logarithm_share(power: Callable[[Any, Array], Array]) -> Callable[..., Any]:
    """eˣ / (eˣ + eʸ), the share of x in logaddexp, as a power of the difference between x and the output."""
    def share(xp: Any, x: Array, out: Array) -> Array:
        return power(xp, x - xp.where(xp.isfinite(out), out, 0))
    return share


_share_e = _logarithm_share(lambda xp, d: xp.exp(d))
_share_2 = _logarithm_share(lambda xp, d: xp.exp2(d))


def _over(xp: Any, a: Array, b: Array) -> Array:
    """a / b, and 0 where b is 0."""
    return xp.where(b == 0, 0, a) / xp.where(b == 0, 1, b)


# NumPy's name: the derivative in words, and the slopes along x and along y as functions of xp, x, y and the output
Slope = Callable[[Any, Any, Any, Array], Any]
TWO_INPUTS: dict[str, tuple[str, Slope, Slope]] = {
    "arctan2": ("g y / (x² + y²), −g x / (x² + y²)",
                lambda xp, x, y, out: y / (x * x + y * y), lambda xp, x, y, out: -x / (x * x + y * y)),
    "hypot": ("g x / out, g y / out; 0 at the origin",
              lambda xp, x, y, out: _over(xp, x, out), lambda xp, x, y, out: _over(xp, y, out)),
    "logaddexp": ("g eˣ / (eˣ + eʸ), g eʸ / (eˣ + eʸ)",
                  lambda xp, x, y, out: _share_e(xp, x, out), lambda xp, x, y, out: _share_e(xp, y, out)),
    "logaddexp2": ("g 2ˣ / (2ˣ + 2ʸ), g 2ʸ / (2ˣ + 2ʸ)",
                   lambda xp, x, y, out: _share_2(xp, x, out), lambda xp, x, y, out: _share_2(xp, y, out)),
    "fmax": ("g to the larger; half to each at a tie",
             lambda xp, x, y, out: _first_of(xp, x, y, x > y, x == y),
             lambda xp, x, y, out: _first_of(xp, y, x, y > x, x == y)),
    "fmin": ("g to the smaller; half to each at a tie",
             lambda xp, x, y, out: _first_of(xp, x, y, x < y, x == y),
             lambda xp, x, y, out: _first_of(xp, y, x, y < x, x == y)),
    "remainder": ("g, −g floor(x / y)",
                  lambda xp, x, y, out: 1, lambda xp, x, y, out: -xp.floor_divide(x, y)),
    "fmod": ("g, −g trunc(x / y)", lambda xp, x, y, out: 1, lambda xp, x, y, out: -xp.trunc((x - out) / y)),
    "floor_divide": ("0, 0", lambda xp, x, y, out: _steps(xp, out), lambda xp, x, y, out: _steps(xp, out)),
    "copysign": ("g where the sign stays, −g where it turns; 0 for y",
                 lambda xp, x, y, out: xp.sign(x) * xp.copysign(xp.ones_like(out), y),
                 lambda xp, x, y, out: _steps(xp, out)),
    "heaviside": ("0, g where x is 0", lambda xp, x, y, out: _steps(xp, out), lambda xp, x, y, out: x == 0),
    "ldexp": ("g 2ʸ, with whole y", lambda xp, x, y, out: xp.exp2(y), lambda xp, x, y, out: _steps(xp, out)),
}


def _one_input(name: str, slope: Callable[[Any, Array, Array], Any]) -> Callable[..., Any]:
    def rule(xp: Any, x: Array) -> Output:
        out = getattr(xp, name)(x)

        def backward(g):
            return (g * slope(xp, x, out),)
        return out, backward
    return _named(rule, name)


def _two_inputs(name: str, slope_x: Slope, slope_y: Slope) -> Callable[..., Any]:
    def rule(xp: Any, x: Array, y: Array) -> Output:
        out = getattr(xp, name)(x, y)

        def backward(g):
            return (lambda: unbroadcast(g * slope_x(xp, x, y, out), x),
                    lambda: unbroadcast(g * slope_y(xp, x, y, out), y))
        return out, backward
    return _named(rule, name)


def _named(rule: Callable[..., Any], name: str) -> Callable[..., Any]:
    rule.__name__ = rule.__qualname__ = name
    rule.__doc__ = f"NumPy's {name}, element by element."
    return differentiable(rule)


for _name, (_derivative, _slope) in ONE_INPUT.items():
    enter(_one_input(_name, _slope), _name, derivative=_derivative)
for _name, (_derivative, _slope_x, _slope_y) in TWO_INPUTS.items():
    enter(_two_inputs(_name, _slope_x, _slope_y), _name, derivative=_derivative)


@of_numpy("round", "around", derivative="0")
@differentiable
def round(xp: Any, x: Array, *, decimals: int = 0) -> Output:
    """x rounded to `decimals` digits behind the point."""
    def backward(g):
        return (xp.zeros_like(x),)
    return xp.round(x, decimals), backward


@of_numpy("nan_to_num", derivative="g where x is finite")
@differentiable
def nan_to_num(xp: Any, x: Array, *, copy: bool = True, nan: float = 0.0, posinf: float | None = None,
               neginf: float | None = None) -> Output:
    """x with numbers in the place of NaN and infinities."""
    def backward(g):
        return (g * xp.isfinite(x),)
    return xp.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf), backward


@of_numpy("float_power", derivative="as of power")
def float_power(x: Any, y: Any) -> Any:
    """x to the power y, in float64 at least."""
    out = elementwise.power(x, y)
    return out.astype(np.result_type(out.dtype, np.float64))


@of_numpy("divmod", derivative="0 of the quotient; of the remainder as there")
def divmod(x: Any, y: Any) -> Any:
    """The whole quotient and the remainder."""
    return ENTRIES["floor_divide"].function(x, y), ENTRIES["remainder"].function(x, y)


@of_numpy("i0", derivative="g I₁(x), by its integral")
@differentiable
def i0(xp: Any, x: Array) -> Output:
    """The modified Bessel function of order 0."""
    def backward(g):  # I₁(x) = 1/π ∫ eˣ ᶜᵒˢ ᵗ cos t dt over 0 … π; the midpoint rule is exact to rounding for it
        n = 64 + (int(xp.abs(x).max()) if x.size else 0)
        angles = (np.arange(n) + 0.5) * (math.pi / n)
        total = xp.zeros_like(x)
        for t in angles.tolist():
            total = total + math.cos(t) * xp.exp(x * math.cos(t))
        return (g * total / n,)
    return xp.i0(x).astype(x.dtype), backward


# ---------------------------------------------------------------------------------------------------------------------
# Complex numbers on the way from real inputs to real results, as in np.abs(np.fft.fft(x))
#
# The gradient of a complex z = a + ib is kept as dL/da − i dL/db. Then every rule for a function that has a complex
# derivative is the same as for real numbers; those below have none.


@of_numpy("real", derivative="g")
@differentiable
def real(xp: Any, x: Array) -> Output:
    """The real part."""
    def backward(g):
        return (g.astype(x.dtype),)
    return xp.real(x) + 0, backward


@of_numpy("imag", derivative="−i g; 0 for real x")
@differentiable
def imag(xp: Any, x: Array) -> Output:
    """The imaginary part."""
    def backward(g):
        return ((g * -1j).astype(x.dtype) if x.dtype.kind == "c" else xp.zeros_like(x),)
    return xp.imag(x) + 0, backward


@of_numpy("real_if_close", derivative="g")
def real_if_close(a: Any, tol: float = 100) -> Any:
    """a without its imaginary part, if that is nothing but rounding."""
    a = as_input(a)
    close = a.dtype.kind == "c" and abs(a.data.imag).max() <= tol * np.finfo(a.dtype).eps
    return real(a) if close else elementwise.multiply(a, 1)


@of_numpy("conjugate", derivative="g, conjugated")
@differentiable
def conjugate(xp: Any, x: Array) -> Output:
    """The complex conjugate."""
    def backward(g):
        return (xp.conj(g),)
    return xp.conj(x), backward


@of_numpy("angle", derivative="−i g / z; 0 for real x")
@differentiable
def angle(xp: Any, x: Array, *, deg: bool = False) -> Output:
    """The angle of a complex number, in radians, or with `deg` in degrees."""
    unit = 1 / DEGREE if deg else 1.0

    def backward(g):
        return ((g * (-1j * unit) / x).astype(x.dtype) if x.dtype.kind == "c" else xp.zeros_like(x),)
    return xp.angle(x, deg=deg), backward
