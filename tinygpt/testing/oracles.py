"""Derivatives by evaluation alone: the complex step, the central difference, the Richardson ladder, one-sided slopes.

All look along a line: φ(t) = Σ v·f(x + t·u), whose slope at 0 the gradient must reproduce.

* complex step: φ'(0) = Im φ(ih)/h. No subtraction, so h may be 1e-60 and the result is exact to rounding. But it
  differentiates the formula that complex numbers see: |z| drops the imaginary part, and the answer is silently wrong.
* central difference: (φ(h) − φ(−h))/2h. Believes nothing but values, and is right to about 1e-8 at best.
* ladder: central differences at h, h/4, h/16, …, each pair of rungs combined so that the leading error cancels
  (Richardson 1911; Ridders 1982). The rungs' disagreement is the error estimate.
* one-sided slopes: (φ(h) − φ(0))/h and (φ(0) − φ(−h))/h differ at a kink, however small h.

Differences are taken output by output before they are summed: outputs that do not depend on the line cancel exactly.

Prerequisites: problem.py. Next: compare.py. Squire & Trapp, "Using complex variables to estimate derivatives of real
functions" (SIAM Review 1998).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .problem import EPS, Problem, euclidean

__all__ = ["EPS", "Estimate", "LARGE_STEP", "Line", "SMALL_STEP", "TINY_STEP"]

IMAGINARY_STEP = 1e-60
SMALL_STEP = 2.0**-17   # near ε^⅓, where the error of a central difference is least; a power of two, so x ± h is exact
LARGE_STEP = 2.0**-14   # a second look, to tell a kink from a bend
RUNGS = tuple(2.0**-k for k in range(2, 32, 2))  # 0.25 … 1e-9
TINY_STEP = 2.0**-26    # a kink that still shows at this step counts as one
CONVERGED = 1e-10
POWERS = (16.0, 4.0)    # steps shrink by 4, so h² by 16: smooth functions; and h by 4: those like max(x, 0)² at 0
STAIRS = 1e-3           # of what the longest steps do: jumps so small are digits that cancelled
STRAIGHT = 2.0**-14     # from here on down a smooth function is a straight line, and what is left is rounding


@dataclass(frozen=True)
class Estimate:
    """A derivative, and how far it may be off."""

    value: float
    error: float


@dataclass(frozen=True)
class Rung:
    """One step of a ladder: the central difference, and how far the outputs moved to either side."""

    h: float
    slope: Estimate
    below: float
    above: float


class Line:
    """The problem along x + t·u, seen through the cotangent v.

    Args:
        problem: started.
        u: the direction, an array for each input, or None for inputs that stand still.
        v: the cotangent of the joined outputs.
    """

    def __init__(self, problem: Problem, u: Sequence[np.ndarray | None], v: np.ndarray) -> None:
        self.problem, self.u, self.v = problem, u, v
        self.rungs: list[Rung] = []  # of the last ladder
        self._values: dict[float, np.ndarray | None] = {0.0: problem.base}
        self._depends: np.ndarray = np.zeros(v.shape, dtype=bool)
        self._bends: dict[float, float] = {}

    def at(self, t: float) -> np.ndarray | None:
        """The outputs at x + t·u; None where they are not finite or the function gives up."""
        if t in self._values:
            return self._values[t]
        try:
            y = self.problem.forward([x.copy() if u is None else x + t * u
                                      for x, u in zip(self.problem.inputs, self.u)])
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

    def ladder(self, a: float, allowed: float, scale: float) -> Estimate | None:
        """The Richardson ladder, left early if it has converged and agrees with the slope `a` to within `allowed`.

        Returns:
            the best estimate, or None if no two neighbouring rungs are finite.
        """
        self.rungs = []
        tableaus: list[list[list[float]]] = [[] for _ in POWERS]
        best: Estimate | None = None
        for h in RUNGS:
            difference = self.central(h)
            if difference is None:
                for rows in tableaus:
                    rows.append([])
                continue
            self.rungs.append(Rung(h, difference, *self._moved(h)))
            for base, rows in zip(POWERS, tableaus):
                previous = rows[-1] if rows else []
                rows.append(_extrapolated(difference.value, previous, base))
                best = _better(best, rows[-1], previous, difference.error)
            if best is not None and len(self.rungs) > 3 and abs(a - best.value) <= allowed \
                    and best.error <= CONVERGED * max(scale, abs(best.value)):
                return best
        noise, by_step = self.noise, {rung.h: rung for rung in self.rungs}
        candidates = [(h, entry) for rows in tableaus for h, row, previous in zip(RUNGS[1:], rows[1:], rows)
                      if row and previous
                      and (entry := _better(None, row, previous, max(by_step[h].slope.error, noise / h))) is not None]
        for h, entry in sorted(candidates, key=lambda candidate: candidate[1].error):
            if self._bears_out(h, entry, noise):
                return entry
        return None if not candidates else Estimate(self.rungs[-1].slope.value, np.inf)

    def _bears_out(self, h: float, entry: Estimate, noise: float) -> bool:
        """Whether the shorter steps are on their way to this estimate: what holds for long ones only is no slope."""
        shorter = [rung for rung in self.rungs if rung.h < h]
        for rung, following in zip(shorter, shorter[1:]):
            rounding = max(rung.slope.error, following.slope.error) + noise / following.h
            apart, moving = abs(rung.slope.value - entry.value), abs(rung.slope.value - following.slope.value)
            then = abs(following.slope.value - entry.value)
            doubt = 30 * rounding + 10 * entry.error + 1e-6 * abs(entry.value)
            if apart > 4 * moving + doubt or then > 2 * apart + doubt:
                return False
        return True

    def _moved(self, h: float) -> tuple[float, float]:
        """Σ |v·change| below and above."""
        below, above = self.at(-h), self.at(h)
        assert below is not None and above is not None
        return tuple(float(np.abs(self.v) @ np.abs(y - self.problem.base)) for y in (below, above))  # type: ignore

    @property
    def noise(self) -> float:
        """How far rounding inside the function moves φ, as far as the last ladder saw it.

        Values that nearly cancel inside carry the rounding of what they came from, many times their own ε: over tiny
        steps, that is what is not proportional to the step. And rounded values do not move at all for the tiniest.
        """
        fine = [rung for rung in self.rungs if rung.h <= STRAIGHT]
        if self.is_near_kink:
            fine = [rung for rung in fine if self.bend(rung.h) <= 0.2 * self.bend(SMALL_STEP)]
        changes = [2 * rung.h * rung.slope.value for rung in fine]
        noise = 0.5 * float(np.median([abs(a - 4 * b) for a, b in zip(changes, changes[1:])] or [0.0]))
        noise = max(noise, self.rounding)
        if any(not rung.above and not rung.below for rung in fine):  # rounded values stick for the tiniest steps …
            moves = [min(rung.above, rung.below) for rung in self.rungs]
            noise = max(noise, min((move for move in moves if move), default=0.0) / 4)  # … and then jump by one digit
        return noise

    @property
    def rounding(self) -> float:
        """How far rounding moves φ, by the outputs that move along this line, or all if none was seen to."""
        parts = self.v * self.problem.rounding
        return euclidean(parts[self._depends] if self._depends.any() else parts)

    @property
    def vanishing(self) -> float:
        """How steep the last ladder was at its steepest, if its slope shrinks to nothing with the step; else 0."""
        slopes = [abs(rung.slope.value) for rung in self.rungs]
        return max(slopes) if slopes[-1] < 1e-3 * max(slopes) else 0.0

    @property
    def is_still(self) -> bool:
        """True if nothing at all moved over the tiny steps of the last ladder."""
        fine = [rung for rung in self.rungs if rung.h <= STRAIGHT]
        return len(fine) > 2 and not any(rung.above or rung.below for rung in fine)

    @property
    def is_flat(self) -> bool:
        """True if the last ladder saw nothing but rounding: changes too small, that do not grow with the step."""
        rounding = 64 * self.rounding
        slopes = [rung.slope.value for rung in self.rungs]
        if any(abs(2 * rung.h * slope) > rounding for rung, slope in zip(self.rungs, slopes)):
            return False
        agree = [a != 0 and abs(a - b) <= 0.05 * abs(a) for a, b in zip(slopes, slopes[1:])]
        return not any(one and other for one, other in zip(agree, agree[1:]))

    @property
    def at_infinity(self) -> bool:
        """True if an output that is infinite at the input is something else to one side."""
        if self.problem.finite is None:
            return False
        for t in (-SMALL_STEP, SMALL_STEP):
            y = self.problem.everything([x.copy() if u is None else x + t * u
                                         for x, u in zip(self.problem.inputs, self.u)])
            if y.shape != self.problem.finite.shape or not np.array_equal(np.isfinite(y), self.problem.finite) \
                    or np.isnan(y).any():
                return True
        return False

    @property
    def is_bent(self) -> bool:
        """True if the slopes to either side differ, by more than noise, and do not come together in shorter steps."""
        small, large = self.bend(SMALL_STEP), self.bend(LARGE_STEP)
        return 0.25 * large <= small < 1.6 * large and small * SMALL_STEP > 16 * self.noise

    @property
    def is_drowned(self) -> bool:
        """True if the inputs' last digits move the function as far as any step does: a sine of 1e12, say."""
        furthest = max(max(rung.above, rung.below) for rung in self.rungs)
        values = float(np.abs(self.v) @ np.abs(self.problem.base))
        return self.noise > 0.1 * furthest and self.rounding > 1e-6 * values

    def on_a_stair(self, slope: float) -> bool:
        """True if the values are a staircase, and this slope is that of short steps which do not leave their stair.

        1 + tanh(u) at u = −18 has one or two digits, as multiples of ε: for short steps it stands still, and its slope
        shows in steps that cross some of the jumps, small as those are beside what long steps do. A kink that is near
        makes slopes change as suddenly, but no jump.
        """
        furthest = max(max(rung.above, rung.below) for rung in self.rungs)
        for far, near, nearer in zip(self.rungs, self.rungs[1:], self.rungs[2:]):
            crossed = 2 * far.h * abs(far.slope.value - near.slope.value)
            if abs(near.slope.value) < 0.1 * abs(far.slope.value) \
                    and abs(nearer.slope.value - near.slope.value) <= 0.01 * abs(near.slope.value) \
                    and abs(slope - near.slope.value) <= 0.01 * abs(far.slope.value):
                return 1e-7 * crossed < self._jump_between(near, far.h, 1e-9 * crossed) <= STAIRS * furthest
        return False

    def _jump_between(self, near: Rung, far: float, least: float) -> float:
        """How far the values jump at the step, between two rungs, where they leave the line that short steps draw."""
        def off_line(h: float) -> float:
            above, below = self.at(h), self.at(-h)
            return np.inf if above is None or below is None else abs(
                float(self.v @ (above - below)) - 2 * h * near.slope.value)

        low, high = near.h, far
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if off_line(middle) > least else (middle, high)
        return off_line(high) - off_line(low)

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
        far = [y for y in (self.at(-RUNGS[0]), self.at(RUNGS[0])) if y is not None]
        moved = max((float(np.abs(self.v) @ np.abs(y - self.problem.base)) for y in far), default=0.0)
        return jitter if jitter <= max(0.01 * moved, 1000 * self.rounding) else 0.0


def _extrapolated(slope: float, previous: list[float], base: float) -> list[float]:
    """A row of the tableau: each entry cancels one more power of what the error shrinks by from row to row."""
    row = [slope]
    for j, old in enumerate(previous):
        row.append(row[j] + (row[j] - old) / (base**(j + 1) - 1))
    return row


def _better(best: Estimate | None, row: list[float], previous: list[float], rounding: float) -> Estimate | None:
    """The best entry so far; an entry's error is its distance from the two that it was made of."""
    for j in range(len(row) if previous else 0):
        error = abs(row[j] - previous[min(j, len(previous) - 1)])
        if j:
            error = max(error, abs(row[j] - row[j - 1]))
        if best is None or error + rounding < best.error:
            best = Estimate(row[j], error + rounding)
    return best
