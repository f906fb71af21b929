"""Where the function is not smooth: relu at 0, the ties of a maximum.

There is no derivative at a kink, but there are slopes to either side, and a gradient is right if the slope that it
promises lies between them. Looking along single entries is not enough: a maximum that gives each of two equal entries
the whole gradient promises 1 for either, which is the slope to the right of it; only the two together promise 2, where
the maximum rises by 1. So entries that act together are found and perturbed together, with positive weights, one
output at a time. Entries that act apart are not: relu(x₁) − relu(x₂) with gradient (0, 0) is right at 0, although the
slope along (1, −1) is 1 to either side.

Prerequisites: sweep.py. Next: reports/. The set of slopes is Clarke's generalised gradient (1975).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .line import LARGE_STEP, SMALL_STEP, Line, direction
from .problem import EPS, Problem

__all__ = ["KinkFailure", "examine"]

MAX_ENTRIES, MAX_OUTPUTS, N_WEIGHTS = 24, 8, 4
MAX_TIED, LARGE = 500, 2_000_000  # other entries that may be tied to them: so many, fewer where a look takes long
RTOL = 1e-5  # of one-sided slopes, which are extrapolated from two steps
CANCELLED = 1e-13  # of the numbers that a promised slope is the sum of: what rounding leaves where it ought to be 0

Entry = tuple[int, int]  # number of the input, flat index


@dataclass(frozen=True)
class KinkFailure:
    """Entries whose promised slope lies outside the one-sided ones; `numeric` is the nearer of the two."""

    entries: list[Entry]
    output: int
    analytic: float
    low: float
    high: float

    @property
    def numeric(self) -> float:
        """The nearer end of the interval."""
        return self.low if self.analytic < self.low else self.high


@dataclass(frozen=True)
class Sides:
    """Slopes to the left and to the right of every output, and how far they may be off."""

    left: np.ndarray
    right: np.ndarray
    doubt: np.ndarray


class Slopes:
    """Slopes to either side, for every output, along weighted sets of entries."""

    def __init__(self, problem: Problem, sizes: Sequence[np.ndarray]) -> None:
        self.problem, self.sizes = problem, sizes
        self.ones = np.ones(problem.base.size)

    def along(self, entries: Sequence[Entry], weights: Sequence[float]) -> Sides | None:
        """The slopes of all outputs; None where the function is not finite nearby."""
        chosen = {}
        for k in {k for k, _ in entries}:
            places = np.array([i for input_, i in entries if input_ == k])
            mine = np.array([weight for weight, (input_, _) in zip(weights, entries) if input_ == k])
            chosen[k] = places, mine * self.sizes[k].flat[places]
        line = Line(self.problem, direction(self.problem.inputs, chosen), self.ones)
        sides = []
        doubt = np.zeros(self.problem.base.size)
        for sign in (-1, 1):
            near, far = line.at(sign * SMALL_STEP), line.at(sign * LARGE_STEP)
            if near is None or far is None:
                return None
            slope, coarse = ((y - self.problem.base) / (sign * h) for y, h in ((near, SMALL_STEP), (far, LARGE_STEP)))
            sides.append(slope + (slope - coarse) / (LARGE_STEP / SMALL_STEP - 1))  # the curvature's part cancels
            doubt += 0.25 * np.abs(slope - coarse)
        return Sides(sides[0], sides[1], doubt + 4 * self.problem.rounding / SMALL_STEP)


def _apart(sides: Sides, base: np.ndarray) -> np.ndarray:
    """Which outputs have a kink: slopes that differ by more than curvature and rounding explain."""
    noise = 16 * EPS * np.abs(base) / SMALL_STEP + sides.doubt
    return np.abs(sides.right - sides.left) > 1e-3 * np.maximum(np.abs(sides.left), np.abs(sides.right)) + noise


def _clusters(n: int, together: Iterator[tuple[int, int]]) -> list[list[int]]:
    """The connected components of 0 … n − 1 under the given pairs."""
    label = list(range(n))
    for i, j in together:
        old, new = label[j], label[i]
        label = [new if x == old else x for x in label]
    return [[i for i in range(n) if label[i] == x] for x in sorted(set(label))]


def _promised(gradient: Sequence[np.ndarray], entries: Sequence[Entry], weights: Sequence[float],
              sizes: Sequence[np.ndarray]) -> float:
    """The slope that the gradient promises along weighted entries."""
    return sum(float(gradient[k].flat[i]) * weight * float(sizes[k].flat[i])
               for (k, i), weight in zip(entries, weights))


def _outside(a: float, left: float, right: float, doubt: float, scale: float = 0.0) -> bool:
    """Whether the promised slope a, a sum of numbers of the size `scale`, is not between the two."""
    slack = RTOL * max(abs(left), abs(right), abs(a)) + CANCELLED * scale + doubt
    return not min(left, right) - slack <= a <= max(left, right) + slack


def examine(problem: Problem, gradient: Sequence[np.ndarray], kinks: Sequence[Entry], v: np.ndarray,
            sizes: Sequence[np.ndarray], rng: np.random.Generator) -> tuple[list[KinkFailure], list[Entry]]:
    """Look at both sides of the kinks.

    Args:
        problem: started.
        gradient: the gradient for the cotangent v.
        kinks: the entries at which the function is not smooth. All are looked at one by one through v, and of those
            that look wrong, and some of the others, MAX_ENTRIES output by output and together.
        v: the cotangent of the comparison: outputs that have no kink are compared through it.
        sizes: the scale of each entry of each input.
        rng: draws weights and samples.

    Returns:
        what is wrong, and the entries at which nothing could be said.
    """
    slopes = Slopes(problem, sizes)
    undecided: list[Entry] = []
    single: dict[Entry, Sides] = {}
    calm: list[Entry] = []  # where the promise lies between the slopes of Σ v·f: to be looked at if there is room
    for entry in kinks:
        sides = slopes.along([entry], [1.0])
        if sides is None:
            undecided.append(entry)
        elif _outside(_promised(gradient, [entry], [1.0], sizes), float(v @ sides.left), float(v @ sides.right),
                      float(np.abs(v) @ sides.doubt)):
            single[entry] = sides
        else:
            calm.append(entry)
        if len(single) >= MAX_ENTRIES:
            break
    suspects = list(single)
    for i in rng.permutation(len(calm))[:MAX_ENTRIES - len(single)]:
        sides = slopes.along([calm[i]], [1.0])
        assert sides is not None
        single[calm[i]] = sides
    failures: list[KinkFailure] = []
    bent = np.zeros(problem.base.size, dtype=bool)
    tied = [kinks[i] for i in rng.permutation(len(kinks)) if kinks[i] not in single and kinks[i] not in undecided]
    tied = tied[:min(MAX_TIED, LARGE // (problem.base.size + sum(x.size for x in problem.inputs)))]
    for sides in single.values():
        bent |= _apart(sides, problem.base)

    smooth = np.where(bent, 0.0, v)  # what the kinked outputs leave
    if smooth.any():
        rest = problem.gradient(smooth)
        for entry, sides in single.items():
            a, d = _promised(rest, [entry], [1.0], sizes), float(smooth @ (sides.left + sides.right)) / 2
            apart = 0.5 * np.abs(sides.right - sides.left)  # slight, but a sort of thousands has no larger kinks
            if abs(a - d) > float(np.abs(smooth) @ (RTOL * np.abs(sides.right) + sides.doubt + apart)) + RTOL * abs(a):
                failures.append(KinkFailure([entry], -1, a, d, d))

    outputs = rng.permutation(np.flatnonzero(bent))
    accused = sum((_apart(single[entry], problem.base) for entry in suspects), np.zeros(problem.base.size))
    for j in outputs[np.argsort(-accused[outputs], kind="stable")][:MAX_OUTPUTS]:
        mine = [entry for entry, sides in single.items() if entry not in tied and _apart(sides, problem.base)[j]]
        failures += _one_output(problem, slopes, single, mine, tied, int(j), sizes, rng)
    return failures, undecided


def _of_output(sides: Sides, j: int) -> tuple[float, float, float]:
    """(left slope, right slope, doubt) of output j."""
    return float(sides.left[j]), float(sides.right[j]), float(sides.doubt[j])


def _one_output(problem: Problem, slopes: Slopes, single: dict[Entry, Sides],
                entries: list[Entry], rest: Sequence[Entry], j: int, sizes: Sequence[np.ndarray],
                rng: np.random.Generator) -> list[KinkFailure]:
    """The failures of one output at its kinked entries, alone and together; `rest` may belong to them as well."""
    unit = np.zeros(problem.base.size)
    unit[j] = 1.0
    row = problem.gradient(unit)
    failures = []
    for entry in entries:
        left, right, doubt = _of_output(single[entry], j)
        a = _promised(row, [entry], [1.0], sizes)
        if _outside(a, left, right, doubt):
            failures.append(KinkFailure([entry], j, a, min(left, right), max(left, right)))
    if failures or len(entries) < 2:
        return failures

    def joint(chosen: Sequence[Entry], weights: Sequence[float]) -> tuple[float, float, float, bool] | None:
        """(left slope, right slope, doubt, whether they are more than the sum of the single ones) of output j."""
        sides = slopes.along(chosen, weights)
        if sides is None:
            return None
        left, right, doubt = _of_output(sides, j)
        alone = [(w, *_of_output(single[entry], j)) for entry, w in zip(chosen, weights)]
        slack = doubt + sum(w * (1e-4 * max(abs(lo), abs(hi)) + off) for w, lo, hi, off in alone)
        interact = abs(left - sum(w * lo for w, lo, _, _ in alone)) > slack or abs(
            right - sum(w * hi for w, _, hi, _ in alone)) > slack
        return left, right, doubt, interact

    def pairs() -> Iterator[tuple[int, int]]:
        for p in range(len(entries)):
            for q in range(p):
                found = joint([entries[p], entries[q]], [1.0, 1.0])
                if found is not None and found[3]:
                    yield p, q

    def more(pivot: Entry) -> Iterator[Entry]:
        for entry in rest:
            sides = single.get(entry) or slopes.along([entry], [1.0])
            if sides is None:
                continue
            single[entry] = sides
            found = joint([pivot, entry], [1.0, 1.0])
            if found is not None and found[3]:
                yield entry

    for cluster in _clusters(len(entries), pairs()):
        chosen = [entries[p] for p in cluster]
        if len(chosen) > 1:
            chosen += more(chosen[0])
        for weights in [np.ones(len(chosen)), *rng.uniform(0.5, 1.5, (N_WEIGHTS, len(chosen)))]:
            found = joint(chosen, weights) if len(chosen) > 1 else None
            a = _promised(row, chosen, weights, sizes)
            scale = sum(abs(_promised(row, [entry], [w], sizes)) for entry, w in zip(chosen, weights))
            if found is not None and _outside(a, *found[:3], scale):
                failures.append(KinkFailure(chosen, j, a, min(found[:2]), max(found[:2])))
                break
    return failures
