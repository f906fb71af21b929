"""Derivatives by evaluation alone: the complex step, the central difference, one-sided slopes.

All look along a line: φ(t) = Σ v·f(x + t·u), whose slope at 0 the gradient must reproduce.

* complex step: φ'(0) = Im φ(ih)/h. No subtraction, so h may be 1e-60 and the result is exact to rounding. But it
  differentiates the formula that complex numbers see: |z| drops the imaginary part, and the answer is silently wrong.
* central difference: (φ(h) − φ(−h))/2h. Believes nothing but values, and is right to about 1e-8 at best; a ladder of
  them (ladder.py) is better.
* one-sided slopes: (φ(h) − φ(0))/h and (φ(0) − φ(−h))/h differ at a kink, however small h.

Differences are taken output by output before they are summed: outputs that do not depend on the line cancel exactly.

Prerequisites: problem.py. Next: ladder.py. Squire & Trapp, "Using complex variables to estimate derivatives of real
functions" (SIAM Review 1998).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .problem import EPS, Problem, euclidean

__all__ = ["Estimate", "LARGE_STEP", "LONGEST_STEP", "Line", "SMALL_STEP", "TINY_STEP", "direction", "scales"]

IMAGINARY_STEP = 1e-60
SMALL_STEP = 2.0**-17   # near ε^⅓, where the error of a central difference is least; a power of two, so x ± h is exact
LARGE_STEP = 2.0**-14   # a second look, to tell a kink from a bend
TINY_STEP = 2.0**-26    # a kink that still shows at this step counts as one
SHORTER_STEPS = (2.0**-22, TINY_STEP, 2.0**-30)
LONGEST_STEP = 0.25     # of a ladder


@dataclass(frozen=True)
class Estimate:
    """A derivative, and how far it may be off."""

    value: float
    error: float


def scales(x: np.ndarray) -> np.ndarray:
    """How far each entry is stepped per unit: about its own size, or that of its smaller neighbours if it is tiny."""
    sizes = np.abs(x)
    nonzero = sizes[sizes > 0]
    if not nonzero.size:
        return np.ones_like(x)
    return np.maximum(sizes, np.quantile(nonzero, 0.1, method="lower"))


def direction(inputs: Sequence[np.ndarray], entries: dict[int, tuple[np.ndarray, np.ndarray]]
              ) -> list[np.ndarray | None]:
    """A direction that is zero but for some entries.

    Args:
        inputs: of the problem.
        entries: for some of the inputs, by number: flat indices (row-major) and how far to go along each.

    Returns:
        an array for each input; None for those that stand still.
    """
    u: list[np.ndarray | None] = [None] * len(inputs)
    for k, (places, lengths) in entries.items():
        flat = np.zeros(inputs[k].size)
        flat[places] = lengths
        u[k] = flat.reshape(inputs[k].shape)
    return u


class Line:
    """The problem along x + t·u, seen through the cotangent v.

    Args:
        problem: started.
        u: the direction, an array for each input, or None for inputs that stand still.
        v: the cotangent of the joined outputs.
    """

    def __init__(self, problem: Problem, u: Sequence[np.ndarray | None], v: np.ndarray) -> None:
        self.problem, self.u, self.v = problem, u, v
        self._values: dict[float, np.ndarray | None] = {0.0: problem.base}
        self._depends: np.ndarray = np.zeros(v.shape, dtype=bool)
        self._bends: dict[float, float] = {}

    def point(self, t: complex) -> list[np.ndarray]:
        """x + t·u."""
        return [x.copy() if u is None else x + t * u for x, u in zip(self.problem.inputs, self.u)]

    def at(self, t: float) -> np.ndarray | None:
        """The outputs at x + t·u; None where they are not finite or the function gives up."""
        if t in self._values:
            return self._values[t]
        try:
            y = self.problem.forward(self.point(t))
        except Exception:  # out of its domain: it does not raise at the input itself
            y = None
        if y is not None and (y.shape != self.v.shape or not np.isfinite(y).all()):
            y = None
        if abs(t) in (SMALL_STEP, LARGE_STEP) or y is not None and y.size <= 10_000:  # asked for again
            self._values[t] = y
        return y

    @cached_property
    def complex_step(self) -> tuple[float | None, str]:
        """The derivative by the complex step, or None and the reason why there is none."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            try:
                y = self.problem.forward([x + 0j for x in self.point(1j * IMAGINARY_STEP)])
            except np.exceptions.ComplexWarning:
                return None, "it drops imaginary parts"
            except Exception as error:  # whatever a function does with numbers that it was not written for
                return None, f"it raises {type(error).__name__} for complex inputs"
        if y.dtype.kind != "c":
            return None, "its output is real for complex inputs"
        if y.shape != self.v.shape or not np.isfinite(y).all():
            return None, "it is not finite for complex inputs"
        self._depends = self._depends | (y.imag != 0)
        slope = float(self.v @ y.imag) / IMAGINARY_STEP
        return (0.0 if abs(slope) < 1e-50 * self.problem.magnitude else slope), ""  # h² is not to be seen

    def central(self, h: float) -> Estimate | None:
        """(φ(h) − φ(−h))/2h, with the rounding of the values as its error; None where f is not finite."""
        above, below = self.at(h), self.at(-h)
        if above is None or below is None:
            return None
        change = above - below
        self._depends = self._depends | (change != 0)  # what moved for a longer step is rounded for a shorter one too
        moved = self._depends
        noise = EPS * float(np.abs(self.v[moved]) @ np.maximum(np.abs(above[moved]), np.abs(below[moved])))
        return Estimate(float(self.v @ change) / (2 * h), noise / h)

    def bend(self, h: float) -> float:
        """Σ |v|·|right slope − left slope| at step h: shrinks with h where f is smooth; inf where f is not finite."""
        if h not in self._bends:
            above, below = self.at(h), self.at(-h)
            if above is None or below is None:
                self._bends[h] = np.inf
            else:
                apart = above - self.problem.base
                apart -= self.problem.base - below
                self._bends[h] = float(np.abs(self.v) @ np.abs(apart, out=apart)) / h
        return self._bends[h]

    def moved(self, t: float) -> float:
        """Σ |v·change| from the input itself to t; 0 where f is not finite."""
        y = self.at(t)
        return 0.0 if y is None else float(np.abs(self.v) @ np.abs(y - self.problem.base))

    @property
    def values(self) -> float:
        """Σ |v·f|, the size of what is summed."""
        return float(np.abs(self.v) @ np.abs(self.problem.base))

    @property
    def rounding(self) -> float:
        """How far rounding moves φ, by the outputs that move along this line, or all if none was seen to."""
        parts = self.v * self.problem.rounding
        return euclidean(parts[self._depends] if self._depends.any() else parts)

    @cached_property
    def digits(self) -> float:
        """How far the last digits of the inputs along this line move φ, be it rounding or not."""
        along = [np.abs(x[u != 0] / u[u != 0]).max(initial=0) for x, u in zip(self.problem.inputs, self.u)
                 if u is not None]
        digit = EPS * float(max(along, default=0.0))
        moves = [y - self.problem.base for k in (1, -1, 4, -4) if (y := self.at(k * digit)) is not None]
        return max((euclidean(self.v * move) for move in moves), default=0.0)

    @property
    def at_infinity(self) -> bool:
        """True if an output that is infinite at the input is something else to one side."""
        if self.problem.finite is None:
            return False
        for t in (-SMALL_STEP, SMALL_STEP):
            y = self.problem.everything(self.point(t))
            if y.shape != self.problem.finite.shape or not np.array_equal(np.isfinite(y), self.problem.finite) \
                    or np.isnan(y).any():
                return True
        return False

    @property
    def rounding_decides(self) -> bool:
        """True if the inputs' last digits move φ by more than the rounding of its own values."""
        return self.digits > 8 * EPS * self.values

    @cached_property
    def is_kink(self) -> bool | None:
        """Whether the slopes to either side keep their distance for shorter and shorter steps; None if it cannot be
        seen. A sine of a million turns between two steps, and may show any slope to either side of it."""
        bend = self.bend(SMALL_STEP)
        seen = [(h, noise) for h in SHORTER_STEPS
                if (noise := 8 * max(self.rounding, self.digits) / h) < 0.25 * bend]
        if any(self.bend(h) < 0.4 * bend - noise for h, noise in seen):
            return False
        known = seen or not self.rounding_decides
        return True if known and all(self.bend(h) <= 2.2 * bend + noise for h, noise in seen) else None

    @cached_property
    def is_near_kink(self) -> bool:
        """True if the slopes to either side differ at small steps and agree at tiny ones."""
        small, large = self.bend(SMALL_STEP), self.bend(LARGE_STEP)
        return 0 < small < np.inf and 0.5 * large <= small < 1.6 * large and self.bend(TINY_STEP) < 0.2 * small

    @cached_property
    def jitter(self) -> float:
        """How far rounding alone moves the outputs: second differences at steps where curvature is no more.

        0 for a jump, which moves them as far, but is not small beside what long steps do.
        """
        jitter = max(self.bend(h) * h for h in (TINY_STEP, 4 * TINY_STEP, 16 * TINY_STEP))
        furthest = max(self.moved(-LONGEST_STEP), self.moved(LONGEST_STEP))
        return jitter if jitter <= max(0.01 * furthest, 1000 * self.rounding) else 0.0
