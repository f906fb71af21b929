"""The Richardson ladder: central differences at h, h/4, h/16, …, extrapolated to h = 0.

Each pair of rungs is combined so that the leading error cancels (Richardson 1911; Ridders 1982). Their disagreement is
the error estimate. What the rungs did tells a smooth function from a staircase, a constant, or mere rounding.

Prerequisites: line.py. Next: compare.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .line import LARGE_STEP, LONGEST_STEP, SMALL_STEP, Estimate, Line
from .problem import EPS

__all__ = ["Ladder"]

STEPS = tuple(LONGEST_STEP / 4.0**k for k in range(15))  # 0.25 … 1e-9
CONVERGED = 1e-10
POWERS = (16.0, 4.0)    # steps shrink by 4, so h² by 16: smooth functions; and h by 4: those like max(x, 0)² at 0
STAIRS = 1e-3           # of what the longest steps do: jumps so small are digits that cancelled
DROWNED = 3e-5          # of what the longest steps do: last digits that do as much leave no slope to three digits
SHORT_STEPS = tuple(tuple(2.0**-k for k in (first, first + 2, first + 4)) for first in (26, 32, 38))
STRAIGHT = 2.0**-14     # from here on down a smooth function is a straight line, and what is left is rounding


@dataclass(frozen=True)
class Rung:
    """One step of a ladder: the central difference, and how far the outputs moved to either side."""

    h: float
    slope: Estimate
    below: float
    above: float

    @property
    def moved(self) -> float:
        """How far to the side that moved further."""
        return max(self.below, self.above)


class Ladder:
    """The ladder along a line, left early if it has converged and agrees with the slope `a` to within `allowed`.

    Args:
        line: what it climbs.
        a: the slope that the gradient promises.
        allowed: how far it may be off.
        scale: S, the sum of the sizes of what `a` is the sum of.

    Attributes:
        estimate: the best one; None if no two neighbouring rungs are finite.
        rungs: those that are finite, longest first.
    """

    def __init__(self, line: Line, a: float, allowed: float, scale: float) -> None:
        self.line = line
        self.rungs: list[Rung] = []
        self.estimate = self._climb(a, allowed, scale)

    def _climb(self, a: float, allowed: float, scale: float) -> Estimate | None:
        tableaus: list[list[list[float]]] = [[] for _ in POWERS]
        best: Estimate | None = None
        for h in STEPS:
            difference = self.line.central(h)
            if difference is None:
                for rows in tableaus:
                    rows.append([])
                continue
            self.rungs.append(Rung(h, difference, self.line.moved(-h), self.line.moved(h)))
            for base, rows in zip(POWERS, tableaus):
                previous = rows[-1] if rows else []
                rows.append(_extrapolated(difference.value, previous, base))
                best = _better(best, rows[-1], previous, difference.error)
            if best is not None and len(self.rungs) > 3 and abs(a - best.value) <= allowed \
                    and best.error <= CONVERGED * max(scale, abs(best.value)):
                return best
        noise, by_step = self.noise, {rung.h: rung for rung in self.rungs}
        candidates = [(h, entry) for rows in tableaus for h, row, previous in zip(STEPS[1:], rows[1:], rows)
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

    @cached_property
    def noise(self) -> float:
        """How far rounding inside the function moves φ, as far as it can be seen.

        Values that nearly cancel inside carry the rounding of what they came from, many times their own ε: over tiny
        steps, that is what is not proportional to the step. And rounded values do not move at all for the tiniest.
        """
        fine = self._fine
        if self.line.is_near_kink:
            fine = [rung for rung in fine if self.line.bend(rung.h) <= 0.2 * self.line.bend(SMALL_STEP)]
        changes = [2 * rung.h * rung.slope.value for rung in fine]
        noise = 0.5 * float(np.median([abs(a - 4 * b) for a, b in zip(changes, changes[1:])] or [0.0]))
        noise = max(noise, self.line.rounding)
        if any(not rung.moved for rung in fine):  # rounded values stick for the tiniest steps …
            moves = [min(rung.above, rung.below) for rung in self.rungs]
            noise = max(noise, min((move for move in moves if move), default=0.0) / 4)  # … and then jump by one digit
        return noise

    @property
    def _fine(self) -> list[Rung]:
        return [rung for rung in self.rungs if rung.h <= STRAIGHT]

    @property
    def furthest(self) -> float:
        """How far the outputs moved at the most."""
        return max(rung.moved for rung in self.rungs)

    @property
    def vanishing(self) -> float:
        """How steep it was at its steepest, if its slope shrinks to nothing with the step; else 0."""
        slopes = [abs(rung.slope.value) for rung in self.rungs]
        return max(slopes) if slopes[-1] < 1e-3 * max(slopes) else 0.0

    @property
    def is_still(self) -> bool:
        """True if nothing at all moved over the tiny steps."""
        return len(self._fine) > 2 and not any(rung.moved for rung in self._fine)

    @property
    def is_level(self) -> bool:
        """True if φ is the same at every step, to the last digits of what it is a sum of: the outputs may move, but
        their changes cancel."""
        return all(abs(2 * rung.h * rung.slope.value) <= 16 * EPS * self.line.values for rung in self.rungs)

    @property
    def is_flat(self) -> bool:
        """True if there is nothing but rounding: changes too small, that do not grow with the step."""
        rounding = 64 * self.line.rounding
        slopes = [rung.slope.value for rung in self.rungs]
        if any(abs(2 * rung.h * slope) > rounding for rung, slope in zip(self.rungs, slopes)):
            return False
        agree = [a != 0 and abs(a - b) <= 0.05 * abs(a) for a, b in zip(slopes, slopes[1:])]
        return not any(one and other for one, other in zip(agree, agree[1:]))

    @property
    def is_bent(self) -> bool:
        """True if the slopes to either side differ, by more than noise, and do not come together in shorter steps."""
        small, large = self.line.bend(SMALL_STEP), self.line.bend(LARGE_STEP)
        return 0.25 * large <= small < 1.6 * large and small * SMALL_STEP > 16 * self.noise

    @property
    def is_drowned(self) -> bool:
        """True if the inputs' last digits move the function nearly as far as any step does: a sine of 1e12, say."""
        lost = self.noise > 0.1 * self.furthest or self.line.digits > DROWNED * self.furthest
        return lost and self.line.rounding_decides

    @cached_property
    def is_unresolved(self) -> bool:
        """True if the function does something between the rungs that they do not see: a sine of a million turns.

        Then short steps move it further than longer ones do, or agree on another slope. Three of them have to agree,
        for values that stick and jump give any slope. It is no estimate either, as it may be that of a piece between
        two kinks.
        """
        assert self.estimate is not None
        line, d, error = self.line, self.estimate.value, self.estimate.error
        moved = {rung.h: rung.moved for rung in self.rungs}
        moved |= {h: max(line.moved(-h), line.moved(h)) for steps in SHORT_STEPS for h in steps}
        least, noise = np.inf, 64 * max(line.rounding, self.noise)
        for h in sorted(moved, reverse=True):
            least = min(least, moved[h])
            if moved[h] > 30 * least + noise:
                return True
        if moved[SHORT_STEPS[-1][0]] > 0.01 * self.furthest + 64 * max(line.digits, EPS * line.problem.magnitude):
            return True
        for steps in SHORT_STEPS if np.isfinite(error) else ():
            found = [estimate.value for h in steps if (estimate := line.central(h)) is not None]
            if len(found) < len(steps):
                continue
            last, h = found[-1], steps[-1]
            spread = max(abs(slope - last) for slope in found)
            digit = max(line.digits, EPS * line.values)
            doubt = spread + (digit + EPS * abs(last)) / h
            if spread <= 0.05 * abs(last) and abs(2 * h * last) > 64 * digit \
                    and abs(last - d) > 4 * (error + doubt) + 1e-3 * abs(d):
                return True
        return False

    def on_a_stair(self, slope: float) -> bool:
        """True if the values are a staircase, and this slope is that of short steps which do not leave their stair.

        1 + tanh(u) at u = −18 has one or two digits, as multiples of ε: for short steps it stands still, and its slope
        shows in steps that cross some of the jumps, small as those are beside what long steps do. A kink that is near
        makes slopes change as suddenly, but no jump.
        """
        for far, near, nearer in zip(self.rungs, self.rungs[1:], self.rungs[2:]):
            crossed = 2 * far.h * abs(far.slope.value - near.slope.value)
            if abs(near.slope.value) < 0.1 * abs(far.slope.value) \
                    and abs(nearer.slope.value - near.slope.value) <= 0.01 * abs(near.slope.value) \
                    and abs(slope - near.slope.value) <= 0.01 * abs(far.slope.value):
                return 1e-7 * crossed < self._jump_between(near, far.h, 1e-9 * crossed) <= STAIRS * self.furthest
        return False

    def _jump_between(self, near: Rung, far: float, least: float) -> float:
        """How far the values jump at the step, between two rungs, where they leave the line that short steps draw."""
        def off_line(h: float) -> float:
            above, below = self.line.at(h), self.line.at(-h)
            return np.inf if above is None or below is None else abs(
                float(self.line.v @ (above - below)) - 2 * h * near.slope.value)

        low, high = near.h, far
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if off_line(middle) > least else (middle, high)
        return off_line(high) - off_line(low)


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
