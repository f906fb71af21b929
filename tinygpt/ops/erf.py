"""The error function erf(x) = 2/√π ∫₀ˣ e^(−t²) dt, which the exact GELU is made of and NumPy does not have.

Rational approximations on four intervals, in double precision to the last digit or so. The coefficients are those of
Sun's fdlibm (s_erf.c, 1993), whose licence lets them be used freely; CuPy brings an erf of its own.

Prerequisites: elementwise.py. Next: activation.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arrays import Array, kind_of
from ..autograd.graph import Output
from ..autograd.operation import differentiable

__all__ = ["erf", "erf_values"]

TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)

# Coefficients of numerator and denominator, from the constant term upwards.
SMALL = ((1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
          -5.77027029648944159157e-03, -2.37630166566501626084e-05),
         (1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
          1.32494738004321644526e-04, -3.96022827877536812320e-06))
NEAR_ONE = ((-2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01,
             3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02,
             -2.16637559486879084300e-03),
            (1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02,
             1.26171219808761642112e-01, 1.36370839120290507362e-02, 1.19844998467991074170e-02))
MIDDLE = ((-9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e+01,
           -6.23753324503260060396e+01, -1.62396669462573470355e+02, -1.84605092906711035994e+02,
           -8.12874355063065934246e+01, -9.81432934416914548592e+00),
          (1.0, 1.96512716674392571292e+01, 1.37657754143519042600e+02, 4.34565877475229228821e+02,
           6.45387271733267880336e+02, 4.29008140027567833386e+02, 1.08635005541779435134e+02,
           6.57024977031928170135e+00, -6.04244152148580987438e-02))
TAIL = ((-9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e+01,
         -1.60636384855821916062e+02, -6.37566443368389627722e+02, -1.02509513161107724954e+03,
         -4.83519191608651397019e+02),
        (1.0, 3.03380607434824582924e+01, 3.25792512996573918826e+02, 1.53672958608443695994e+03,
         3.19985821950859553908e+03, 2.55305040643316442583e+03, 4.74528541206955367215e+02,
         -2.24409524465858183362e+01))
ERF_OF_ONE = 8.45062911510467529297e-01  # erf(1), rounded to single precision; NEAR_ONE holds the rest


def _ratio(coefficients: tuple, x: np.ndarray) -> np.ndarray:
    """Numerator over denominator by Horner's rule, in place."""
    above, below = (np.full_like(x, terms[-1]) for terms in coefficients)
    for value, terms in ((above, coefficients[0]), (below, coefficients[1])):
        for term in terms[-2::-1]:
            value *= x
            value += term
    above /= below
    return above


def _small(x: np.ndarray) -> np.ndarray:  # |x| < 0.84375: an odd function, x + x P(x²)/Q(x²)
    return x + x * _ratio(SMALL, x * x)


def _near_one(x: np.ndarray) -> np.ndarray:  # up to 1.25: around erf(1)
    return np.copysign(ERF_OF_ONE + _ratio(NEAR_ONE, np.abs(x) - 1), x)


def _tail(coefficients: tuple, x: np.ndarray) -> np.ndarray:  # 1 − e^(−x² − 0.5625 + P(1/x²)/Q(1/x²)) / |x|
    a = np.abs(x)
    return np.copysign(1 - np.exp(-a * a - 0.5625 + _ratio(coefficients, 1 / (a * a))) / a, x)


def erf_values(x: Array) -> Array:
    """erf of a real or complex array, in its dtype.

    A complex x = a + ib is taken to first order in b, which is what a complex-step derivative looks at.
    """
    if x.dtype.kind == "c":
        return erf_values(x.real) + 1j * x.imag * TWO_OVER_SQRT_PI * np.exp(-x.real * x.real)
    own = kind_of(x).erf
    if own is not None:
        return own(x)
    wide = x.astype(np.float64, copy=False)
    magnitude = np.abs(wide)
    out = np.asarray(np.sign(wide))  # |x| ≥ 6: 1 to the last digit; NaN stays NaN
    for low, high, piece in ((0.0, 0.84375, _small), (0.84375, 1.25, _near_one),
                             (1.25, 1 / 0.35, lambda t: _tail(MIDDLE, t)), (1 / 0.35, 6.0, lambda t: _tail(TAIL, t))):
        here = (magnitude >= low) & (magnitude < high)
        out[here] = piece(wide[here])
    return out.astype(x.dtype if x.dtype.kind == "f" else np.float64, copy=False)


@differentiable
def erf(xp: Any, x: Array) -> Output:
    """The error function."""
    def backward(g):  # d(erf x) = 2/√π e^(−x²) dx, by the fundamental theorem of calculus
        return (g * (TWO_OVER_SQRT_PI * xp.exp(-x * x)),)
    return erf_values(x), backward
