"""Derivatives by evaluation alone: the complex step, the central difference, the Richardson ladder, one-sided slopes.

All look along a line: φ(t) = Σ v·f(x + t·u), whose slope at 0 the gradient must reproduce.

* complex step: φ'(0) = Im φ(ih)/h. No subtraction, so h may be 1e-30 and the result is exact to rounding. But it
  differentiates the formula that complex numbers see: |z| drops the imaginary part, and the answer is silently wrong.
* central difference: (φ(h) − φ(−h))/2h. Believes nothing but values, and is right to about 1e-8 at best.
* ladder: central differences at h, h/4, h/16, …, each pair of rungs combined so that the leading error cancels
  (Richardson 1911; Ridders 1982). The rungs' disagreement is the error estimate.
* one-sided slopes: (φ(h) − φ(0))/h and (φ(0) − φ(−h))/h differ at a kink, however small h.

Differences are taken output by output before they are summed: outputs that do not depend on the line cancel exactly.

Read before: problem.py. Read next: kinks.py. Squire & Trapp, "Using complex variables to estimate derivatives of real
functions" (SIAM Review 1998).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .problem import Problem

__all__ = ["EPS", "Estimate", "Line", "SMALL_STEP"]

EPS = float(np.finfo(np.float64).eps)
IMAGINARY_STEP = 1e-30
SMALL_STEP = 2.0**-17   # near ε^⅓, where the error of a central difference is least; a power of two, so x ± h is exact
LARGE_STEP = 2.0**-14   # a second look, to tell a kink from a bend
PROBES = tuple(2.0**-k for k in range(14, 28, 2))  # steps so small that a smooth function is straight
FIRST_RUNG, N_RUNGS = 2.0**-4, 14  # down to 2⁻³⁰ ≈ 1e-9


@dataclass(frozen=True)
class Estimate:
    """A derivative, and how far it may be off."""

    value: float
    error: float


class Line:
    """The problem along x + t·u, seen through the cotangent v.

    Args:
        problem: started.
        u: the direction, an array for each input, or None for inputs that stand still.
        v: the cotangent of the joined outputs.
    """

    def __init__(self, problem: Problem, u: Sequence[np.ndarray | None], v: np.ndarray) -> None:
        self.problem, self.u, self.v = problem, u, v
        self.rungs: list[tuple[float, float]] = []  # the steps and plain differences of the last ladder
        self._values: dict[float, np.ndarray | None] = {0.0: problem.base}

    def at(self, t: float) -> np.ndarray | None:
        """The outputs at x + t·u; None where they are not finite or the function gives up."""
        if t in self._values:
            return self._values[t]
        try:
            y = self.problem.forward([x.copy() if u is None else x + t * u
                                      for x, u in zip(self.problem.inputs, self.u)])
        except (ArithmeticError, ValueError, IndexError):  # out of its domain
            y = None
        if y is not None and (y.shape != self.v.shape or not np.isfinite(y).all()):
            y = None
        if abs(t) in (SMALL_STEP, LARGE_STEP):  # asked for again
            self._values[t] = y
        return y

    @cached_property
    def complex_step(self) -> tuple[float | None, str]:
        """The derivative by the complex step, or None and the reason why there is none."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            try:
                y = self.problem.forward([x + (0j if u is None else 1j * IMAGINARY_STEP * u)
                                          for x, u in zip(self.problem.inputs, self.u)])
            except np.exceptions.ComplexWarning:
                return None, "it drops imaginary parts"
            except Exception as error:  # whatever a function does with numbers that it was not written for
                return None, f"it raises {type(error).__name__} for complex inputs"
        if y.dtype.kind != "c":
            return None, "its output is real for complex inputs"
        if y.shape != self.v.shape or not np.isfinite(y).all():
            return None, "it is not finite for complex inputs"
        return float(self.v @ y.imag) / IMAGINARY_STEP, ""

    def central(self, h: float) -> Estimate | None:
        """(φ(h) − φ(−h))/2h, with the rounding of the values as its error; None where f is not finite."""
        above, below = self.at(h), self.at(-h)
        if above is None or below is None:
            return None
        change = above - below
        moved = change != 0
        noise = EPS * float(np.abs(self.v[moved]) @ np.maximum(np.abs(above[moved]), np.abs(below[moved])))
        return Estimate(float(self.v @ change) / (2 * h), noise / h)

    def bend(self, h: float) -> float:
        """Σ |v|·|right slope − left slope| at step h: shrinks with h where f is smooth; inf where f is not finite."""
        above, below = self.at(h), self.at(-h)
        if above is None or below is None:
            return np.inf
        return float(np.abs(self.v) @ np.abs((above - self.problem.base) - (self.problem.base - below))) / h

    @cached_property
    def noise(self) -> float:
        """How far the rounding inside the function moves φ: over tiny steps, all that is not proportional to the step.

        Values that nearly cancel inside carry the rounding of what they came from, many times their own ε.
        """
        changes = self.probes
        remains = sorted(abs(a - 4 * b) for a, b in zip(changes, changes[1:]))
        noise = remains[-3] if len(remains) > 2 else max(remains, default=0.0)  # a kink nearby shows in two at the most
        rounding = EPS * self.problem.magnitude
        if not all(changes) and max(map(abs, changes)) <= 64 * rounding:  # changes below the last digit leave no trace
            noise = max(noise, rounding)
        return noise

    @cached_property
    def probes(self) -> list[float]:
        """φ(h) − φ(−h) for tiny steps, as far as the function is finite there."""
        pairs = [(self.at(h), self.at(-h)) for h in PROBES]
        return [float(self.v @ (above - below)) for above, below in pairs if above is not None and below is not None]

    def ladder(self, enough: float) -> Estimate | None:
        """The Richardson ladder; stops early at an error below `enough`. None if no two rungs are finite."""
        best: Estimate | None = None
        previous: list[float] = []
        self.rungs = []
        for rung in range(N_RUNGS):
            difference = self.central(FIRST_RUNG / 4**rung)
            if difference is None:
                previous = []
                continue
            self.rungs.append((FIRST_RUNG / 4**rung, difference.value))
            row, rounding = [difference.value], max(difference.error, self.noise / (FIRST_RUNG / 4**rung))
            for j, old in enumerate(previous):
                row.append(row[j] + (row[j] - old) / (16.0**(j + 1) - 1))
            for j in range(len(row) if previous else 0):
                error = abs(row[j] - previous[min(j, len(previous) - 1)])
                if j:
                    error = max(error, abs(row[j] - row[j - 1]))
                error += rounding
                if best is None or error < best.error:
                    best = Estimate(row[j], error)
            if best is not None and best.error <= enough and len(self.rungs) > 3:
                break
            previous = row
        return best

    def is_constant(self, rounding: float) -> bool:
        """True if the ladder saw nothing but rounding: changes below `rounding` that do not grow with the step."""
        if any(abs(2 * h * slope) > rounding for h, slope in self.rungs):
            return False
        agree = [a != 0 and abs(a - b) <= 0.05 * abs(a) for (_, a), (_, b) in zip(self.rungs, self.rungs[1:])]
        return not any(one and other for one, other in zip(agree, agree[1:]))
