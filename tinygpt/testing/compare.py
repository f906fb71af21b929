"""The gradient against the oracles: which directions are looked along, and what counts as agreement.

The inputs are cut into groups of entries. Along a random direction u within one group, the slope that the gradient
promises, a = Σ g·u, is compared with the oracles'. Errors are judged against S = Σ |g·u|, so the verdict does not change
when the function is multiplied by a constant, and against the size of the group: one wrong entry among n must not
hide behind the others, so the tolerance of a group is that of an entry divided by n. A group that looks wrong is cut in
half until the entry is found, or until every part is acquitted by itself.

    a pass needs both     |a − complex step| and |a − central difference| within tolerance
    where those differ    the Richardson ladder alone decides, within its own error
    at a kink             the entry goes to kinks.py, which looks at the slopes to either side
    otherwise             inconclusive

Read before: oracles.py. Read next: kinks.py, gradcheck.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .oracles import LARGE_STEP, SMALL_STEP, Line
from .problem import Problem

__all__ = ["Comparison", "Tolerance", "Verdict", "groups", "scales", "sweep"]

RTOL = 1e-6              # of one entry: a thousand times smaller than an error of 0.1 %
ROUNDING = 1e-13         # of the largest gradient of the argument: what cancellation may leave of an entry that is ~0
KNOWN_WELL = 1e-4        # an oracle that errs by more than this share of S says nothing about an error of 0.1 %
BENT = 1e-4              # slopes to either side that differ by more than this share of S deserve a second look
CONSTANT = 1e-9          # slopes below this share of (value / length) cannot be told from zero by differences
MAX_DIRECTIONS = 128
MAX_DIRECTIONS_LARGE = 24  # for more than LARGE entries, where one evaluation takes milliseconds
LARGE = 100_000
MAX_CUTS = 2_000         # how many more directions may be spent on finding the entries that look wrong; fewer for
MIN_CUTS = 64            # inputs of more than a thousand entries, in proportion


@dataclass(frozen=True)
class Tolerance:
    """The largest error of an entry that passes: rtol·|gradient| + atol; None for what fits float64."""

    rtol: float | None = None
    atol: float | None = None

    def of(self, u: np.ndarray, g: np.ndarray) -> float:
        """The tolerance of the slope of one group, for its directions u and gradients g."""
        n = max(int(np.count_nonzero(u)), 1)
        relative = (RTOL if self.rtol is None else self.rtol) / (n if self.rtol is None else 1)
        return relative * float(np.abs(g * u).sum()) + (self.atol or 0.0) * float(np.abs(u).sum())


@dataclass(frozen=True)
class Verdict:
    """What came of one comparison: "pass", "fail", "kink" or "inconclusive"."""

    kind: str
    oracle: str
    analytic: float
    numeric: float
    error: float          # the oracle's own uncertainty
    scale: float          # S
    reason: str = ""

    @property
    def discrepancy(self) -> float:
        """The disagreement, relative to S."""
        gap = abs(self.analytic - self.numeric)
        return gap / self.scale if self.scale else (0.0 if gap == 0 else float("inf"))


def scales(x: np.ndarray) -> np.ndarray:
    """How far each entry is stepped per unit: about its own size, or that of its smaller neighbours if it is tiny."""
    sizes = np.abs(x)
    nonzero = sizes[sizes > 0]
    if not nonzero.size:
        return np.ones_like(x)
    return np.maximum(sizes, np.quantile(nonzero, 0.1) if nonzero.size > 1 else nonzero.max())


def groups(inputs: Sequence[np.ndarray], rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the input, flat indices of some of its entries): every entry once, single ones where there are few."""
    left = MAX_DIRECTIONS if sum(x.size for x in inputs) <= LARGE else MAX_DIRECTIONS_LARGE
    waiting = len(inputs)
    for k in sorted(range(len(inputs)), key=lambda k: inputs[k].size):  # what small inputs do not use, large ones may
        share = max(left // waiting, 4)
        n = min(inputs[k].size, share)
        left, waiting = left - n, waiting - 1
        if n:
            order = np.arange(inputs[k].size) if n == inputs[k].size else rng.permutation(inputs[k].size)
            for part in np.array_split(order, n):
                yield k, part


class Comparison:
    """One gradient, taken with one cotangent, against the oracles.

    Attributes:
        verdicts: the failed and undecided groups, each (input, flat indices, verdict).
        kinks: single entries (input, flat index) at which the function is not smooth.
        oracles: how many directions each oracle decided.
        worst: the largest accepted relative error.
        notes: what to tell the reader.
    """

    def __init__(self, problem: Problem, gradient: Sequence[np.ndarray], v: np.ndarray, tolerance: Tolerance,
                 rng: np.random.Generator, method: str = "auto") -> None:
        self.problem, self.gradient, self.v, self.tolerance, self.rng = problem, gradient, v, tolerance, rng
        self.method = method
        self.scales = [scales(x) for x in problem.inputs]
        self.largest = [float(np.abs(g).max(initial=0)) for g in gradient]
        self.verdicts: list[tuple[int, np.ndarray, Verdict]] = []
        self.kinks: list[tuple[int, int]] = []
        self.oracles: Counter[str] = Counter()
        self.worst = 0.0
        self.notes: list[str] = []
        self.cuts = min(MAX_CUTS, max(MIN_CUTS, 1000 * MAX_CUTS // max(1, sum(x.size for x in problem.inputs))))

    def direction(self, k: int, part: np.ndarray) -> list[np.ndarray | None]:
        """A random direction within some entries of input k; no entry's share is near zero."""
        size = self.rng.uniform(0.5, 1.5, part.size) * self.rng.choice([-1.0, 1.0], part.size)
        u = np.zeros(self.problem.inputs[k].size)
        u[part] = size * self.scales[k].reshape(-1)[part] if part.size > 1 else self.scales[k].reshape(-1)[part]
        return [u.reshape(x.shape) if i == k else None for i, x in enumerate(self.problem.inputs)]

    def judge(self, k: int, part: np.ndarray) -> Verdict:
        """One direction within some entries of input k."""
        u = self.direction(k, part)
        mine = u[k]
        assert mine is not None
        g = self.gradient[k]
        a, scale = float((g * mine).sum()), float(np.abs(g * mine).sum())
        tolerance = self.tolerance.of(mine, g) + ROUNDING * self.largest[k] * float(np.abs(mine).sum())
        if not np.isfinite(a):
            return self._not_finite(Line(self.problem, u, self.v), a)
        line = Line(self.problem, u, self.v)
        per_entry = RTOL * scale if self.tolerance.rtol is None else self.tolerance.rtol * scale
        exact, reason = (None, "") if self.method == "central" else line.complex_step
        if reason:
            self._note(f"the complex step was set aside: {reason}; the ladder decided alone")
        near = line.central(SMALL_STEP)
        if exact is not None and near is not None:
            slack = per_entry + 8 * near.error + tolerance
            if abs(a - exact) <= tolerance and abs(a - near.value) <= slack and near.error <= KNOWN_WELL * scale \
                    and line.bend(SMALL_STEP) <= BENT * scale + 16 * near.error:
                return Verdict("pass", "complex step and central difference", a, exact, 0.0, scale)
            if self.method == "complex":
                kind = "pass" if abs(a - exact) <= tolerance else "fail"
                return Verdict(kind, "complex step", a, exact, 0.0, scale)
        return self._climb(line, a, exact, scale, tolerance, per_entry)

    def _climb(self, line: Line, a: float, exact: float | None, scale: float, tolerance: float,
               per_entry: float) -> Verdict:
        """The ladder's verdict, or "kink" where the slopes to either side differ."""
        estimate = line.ladder(1e-10 * scale)
        if estimate is None:
            return Verdict("inconclusive", "Richardson ladder", a, np.nan, np.inf, scale,
                           "the function is not finite, or raises, on one side of the input")
        d, error, oracle = estimate.value, estimate.error, "Richardson ladder"
        if a == 0 and scale == 0 and line.probes and not any(line.probes):  # flat, and said to be
            return Verdict("pass", oracle, a, 0.0, 0.0, 0.0)
        if abs(a) <= ROUNDING * self.problem.magnitude and line.is_constant(0.1 * ROUNDING * self.problem.magnitude):
            return Verdict("pass", oracle, a, d, error, 0.0)
        both = exact is not None and abs(exact - d) <= per_entry + 4 * error and (
            error <= KNOWN_WELL * max(scale, abs(d)))
        if both and abs(a - exact) <= tolerance:
            return Verdict("pass", "complex step and Richardson ladder", a, exact, 0.0, scale)
        shape = self._shape(line, max(scale, abs(d)))
        if shape == "kink":
            return Verdict("kink", "one-sided differences", a, d, error, scale)
        if both:
            return Verdict("fail", "complex step and Richardson ladder", a, exact, abs(exact - d), max(scale, abs(d)))
        if abs(a - d) > 10 * error + tolerance and shape == "smooth":
            return Verdict("fail", oracle, a, d, error, max(scale, abs(d)))
        if abs(a - d) <= tolerance + 4 * error:
            values = float(np.abs(self.v) @ np.abs(self.problem.base))
            if error <= max(KNOWN_WELL * scale, CONSTANT * values):
                return Verdict("pass", oracle, a, d, error, scale)
        reason = {"jump": "the function jumps at this input", "steep": "the slopes grow without bound as the step shrinks"}
        return Verdict("inconclusive", oracle, a, d, error, scale,
                       reason.get(shape, "the rungs of the ladder disagree: the function is too rough or too imprecise"))

    def _shape(self, line: Line, scale: float) -> str:
        """"smooth", "kink", "steep" or "jump", by how the two one-sided slopes part as the step shrinks."""
        small, large = line.bend(SMALL_STEP), line.bend(LARGE_STEP)
        if not np.isfinite(small):
            return "edge"
        noise = line.central(SMALL_STEP)
        if noise is None or small <= BENT * scale + 16 * noise.error:
            return "smooth"
        ratio = small / large if large else np.inf  # 1/8 where smooth, 1 at a kink, 8 at a jump
        return "smooth" if ratio < 0.5 else "kink" if ratio < 1.6 else "steep" if ratio < 4 else "jump"

    def _not_finite(self, line: Line, a: float) -> Verdict:
        near = line.central(SMALL_STEP)
        if near is None or self._shape(line, abs(near.value)) in ("steep", "jump", "edge"):
            return Verdict("inconclusive", "central difference", a, np.nan if near is None else near.value, np.inf, 0.0,
                           "the gradient is not finite, and the function has no finite slope here")
        return Verdict("fail", "central difference", a, near.value, near.error, abs(near.value),
                       "the gradient is not finite, but the slope is")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def look(self, k: int, part: np.ndarray) -> bool:
        """Judge a group, cutting it where it does not pass; True if all is well, kinks apart."""
        verdict = self.judge(k, part)
        if verdict.kind == "pass":
            self.oracles[verdict.oracle] += 1
            self.worst = max(self.worst, min(verdict.discrepancy, 1.0) if verdict.scale else 0.0)
            return True
        if part.size == 1:
            if verdict.kind == "kink":
                self.kinks.append((k, int(part[0])))
                return True
            self.oracles[verdict.oracle] += 1
            self.verdicts.append((k, part, verdict))
            return False
        if self.cuts <= 0:  # a great many rough places: look at a few of the remaining ones
            self._note("kinks or rough places at a great many entries: a random sample of them was examined")
            return self.look(k, self.rng.choice(part, 1))
        self.cuts -= 2
        halves = np.array_split(part, 2)
        results = [self.look(k, halves[0])]
        if results[0] or verdict.kind != "fail":
            results.append(self.look(k, halves[1]))
        return all(results)


def sweep(comparison: Comparison) -> None:
    """Look along every group, until one has clearly failed (small inputs are looked at to the end, to show the worst)."""
    thorough = sum(x.size for x in comparison.problem.inputs) <= MAX_DIRECTIONS
    for k, part in groups(comparison.problem.inputs, comparison.rng):
        if not comparison.look(k, part) and not thorough and any(
                verdict.kind == "fail" for _, _, verdict in comparison.verdicts):
            break
