"""All entries of all inputs, perturbed in groups; a group that looks wrong is cut until the entry is found.

Few entries are perturbed one by one. Many are dealt out at random to groups, and within a group the direction is
random. A group that does not pass is cut in half, until single entries are left or every part is acquitted by itself.

Prerequisites: compare.py. Next: kinks.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from .compare import BELOW, EDGE, Tolerance, Verdict, judge
from .line import direction, scales
from .problem import Problem

__all__ = ["Sweep"]

MAX_DIRECTIONS = 128
MAX_DIRECTIONS_LARGE = 24  # for more than LARGE entries, where one evaluation takes milliseconds
LARGE = 100_000
ENOUGH_KINKS = 6  # among so many
MAX_CUTS = 2_000  # how many more directions may be spent on finding the entries that look wrong, for up to a thousand
SPARE_CUTS = 64   # for groups that are right, but not as right as right entries make them
MIXED_UP = 1e-2   # of the slope along many entries: what the slopes along single ones may miss of it
SHORTER = (2.0**-10, 2.0**-15, 2.0**-20)  # steps for what cannot be seen in steps as long as the entries
MIN_CUTS = 48     # entries; in proportion fewer for more of them, down to what a search among millions needs


def _groups(inputs: Sequence[np.ndarray], rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the input, flat indices of some of its entries): every entry once, single ones where there are few."""
    left = MAX_DIRECTIONS if sum(x.size for x in inputs) <= LARGE else MAX_DIRECTIONS_LARGE
    waiting = len(inputs)
    for k in sorted(range(len(inputs)), key=lambda k: inputs[k].size):  # what small inputs do not use, large ones may
        n = min(inputs[k].size, max(left // waiting, 4))
        left, waiting = left - n, waiting - 1
        if n:
            order = np.arange(inputs[k].size) if n == inputs[k].size else rng.permutation(inputs[k].size)
            for part in np.array_split(order, n):
                yield k, part


class Sweep:
    """One gradient, taken with one cotangent, looked at along all groups.

    Attributes:
        verdicts: the failed and undecided entries, each (input, flat index, verdict); index −1 for a mixed direction.
        kinks: single entries (input, flat index) at which the function is not smooth.
        oracles: how many directions each oracle decided.
        worst: the largest accepted relative error.
        notes: what to tell the reader.
    """

    def __init__(self, problem: Problem, gradient: Sequence[np.ndarray], v: np.ndarray, tolerance: Tolerance,
                 method: str, rng: np.random.Generator) -> None:
        self.problem, self.gradient, self.v, self.tolerance = problem, gradient, v, tolerance
        self.method, self.rng = method, rng
        self.scales = [scales(x) for x in problem.inputs]
        self.largest = [(float(np.abs(g).max(initial=0)), float(np.abs(g * size).max(initial=0)))
                        for g, size in zip(gradient, self.scales)]
        self.n = sum(x.size for x in problem.inputs)
        self.cuts = min(MAX_CUTS, max(MIN_CUTS, 1000 * MAX_CUTS // max(1, self.n)))
        self.spare = SPARE_CUTS
        self.verdicts: list[tuple[int, int, Verdict]] = []
        self.kinks: list[tuple[int, int]] = []
        self.oracles: Counter[str] = Counter()
        self.worst = 0.0
        self.by_ladder = False  # whether the last comparison was without a complex step
        self.notes: dict[str, None] = {}

    def run(self) -> None:
        """Look along every group; of many entries, only until one has clearly failed."""
        for k, part in _groups(self.problem.inputs, self.rng):
            self._look(k, part)
            if self.n > MAX_DIRECTIONS and any(verdict.kind == "fail" for _, _, verdict in self.verdicts):
                return
        if self.n > 1 and not self.verdicts and not self.kinks:
            self._mixed()
        if 1 < self.n <= MAX_DIRECTIONS and self.verdicts and not self.kinks:
            self._doubt_failures()
        if self.oracles[BELOW]:
            self.notes[f"{self.oracles[BELOW]} slopes are lost in the rounding of the function's values and could not "
                       "be compared"] = None

    def _judge(self, u: Sequence[np.ndarray | None]) -> Verdict:
        verdict, reason = judge(self.problem, self.gradient, self.largest, u, self.v, self.tolerance, self.method)
        self.by_ladder = bool(reason) or self.method == "central"
        if reason:
            self.notes[f"the complex step was set aside: {reason}; the ladder decided alone"] = None
        return verdict

    def _count(self, verdict: Verdict) -> None:
        self.oracles[verdict.oracle] += 1
        self.worst = max(self.worst, verdict.discrepancy if verdict.scale else 0.0)

    def _random(self, n: int) -> np.ndarray:
        """Weights of both signs, none near zero."""
        return self.rng.uniform(0.5, 1.5, n) * self.rng.choice([-1.0, 1.0], n)

    def _weights(self, n: int) -> np.ndarray:
        """Of a group of n entries."""
        return self._random(n) if n > 1 else np.ones(1)

    def _along(self, k: int, part: np.ndarray, weights: np.ndarray) -> list[np.ndarray | None]:
        """The direction that is `weights` at some entries of input k and zero elsewhere."""
        return direction(self.problem.inputs, {k: (part, weights)})

    def _stride(self, k: int, part: np.ndarray, verdict: Verdict) -> Verdict:
        """Another look at what could not be seen: in longer steps, for a tiny entry may stand among numbers near 1; and
        in shorter ones, for it may stand close to the edge of the domain, or to a pole, or the function may turn fast.

        Steps of another length than the entry's own may mislead: a function that computes coarsely is a staircase, flat
        for short steps, and one that oscillates may show any slope to long ones. There, the complex step has to agree.
        """
        usual = float(self.scales[k].flat[part].max())
        longer = [step for step in (float(np.abs(self.problem.inputs[k]).max()), 1.0) if step > 2 * usual]
        shorter = [usual * share for share in SHORTER] if part.size == 1 else []
        for step in longer + shorter:
            below = verdict.oracle == BELOW
            if verdict.kind != "inconclusive" and (not below or step < usual):
                continue
            other = self._judge(self._along(k, part, step * self._weights(part.size)))
            if step > usual:
                alone = below and (self.by_ladder or other.kind == "pass")
            else:
                alone = verdict.reason == EDGE and other.numeric != 0
            if "complex" not in other.oracle and not alone:
                continue
            if other.oracle != BELOW and other.kind != "inconclusive" and (other.kind == "pass" or part.size == 1):
                verdict = other
                self.scales[k].flat[part] = step
        return verdict

    def _look(self, k: int, part: np.ndarray) -> bool:
        """Judge a group of entries of input k, cutting it where it does not pass; True if all is well, kinks apart."""
        verdict = self._judge(self._along(k, part, self.scales[k].flat[part] * self._weights(part.size)))
        if verdict.oracle == BELOW or verdict.kind == "inconclusive" and part.size == 1:
            verdict = self._stride(k, part, verdict)
        if verdict.kind == "pass" and not verdict.close and part.size > 1 and self.spare > 0:
            self.spare -= 1
            return all([self._look(k, half) for half in np.array_split(part, 2)])
        if verdict.kind == "pass":
            self._count(verdict)
            return True
        if part.size == 1:
            if verdict.kind == "kink":
                self.kinks.append((k, int(part[0])))
                return True
            self.oracles[verdict.oracle] += 1
            self.verdicts.append((k, int(part[0]), verdict))
            return False
        enough = verdict.kind == "kink" and self.n > LARGE and len(self.kinks) >= ENOUGH_KINKS
        if enough or self.cuts <= 0:
            self.notes["a great many entries are kinks or rough: a random sample of them was examined"] = None
            return enough or self._look(k, self.rng.choice(part, 1))
        self.cuts -= 2
        halves = np.array_split(part, 2)
        results = [self._look(k, halves[0])]
        if results[0] or verdict.kind != "fail":
            results.append(self._look(k, halves[1]))
        return all(results)

    def _doubt_failures(self) -> None:
        """The slopes along single entries may all be right and belong to no gradient: a median has the slope 0 along
        each of three entries that tie for it, and the slope 1 along the three together."""
        if not all(verdict.kind == "fail" and np.isfinite(verdict.analytic) for _, _, verdict in self.verdicts):
            return
        gradient = [np.array(g) for g in self.gradient]
        for k, i, verdict in self.verdicts:
            gradient[k].flat[i] = verdict.numeric / self.scales[k].flat[i]  # row-major, whatever the layout
        u = [size * self.rng.uniform(0.5, 1.5, size.shape) for size in self.scales]
        together, _ = judge(self.problem, gradient, self.largest, u, self.v, self.tolerance, self.method)
        gap = abs(together.analytic - together.numeric) - sum(verdict.error for _, _, verdict in self.verdicts)
        if together.kind == "kink" or together.kind == "fail" and gap > MIXED_UP * max(
                together.scale, abs(together.numeric)):
            reason = ("the slopes along single entries, which the gradient does not have, do not add up to the slope "
                      "along a mixture of them: the function is not differentiable here")
            self.verdicts = [(k, i, replace(verdict, kind="inconclusive", reason=reason))
                             for k, i, verdict in self.verdicts]

    def _mixed(self) -> None:
        """One direction across everything: a function may be fine along each axis and not be differentiable at all.

        What turns too fast for its steps is looked at in shorter ones, as single entries are.
        """
        u = [size * self._random(size.size).reshape(size.shape) for size in self.scales]
        verdict = self._judge(u)
        for share in SHORTER:
            if verdict.kind != "pass":  # at a kink, and at a wrong gradient, shorter ones show no less
                other = self._judge([share * along for along in u])
                verdict = other if other.kind == "pass" and "complex" in other.oracle else verdict
        gap = abs(verdict.analytic - verdict.numeric)
        wrong = verdict.kind != "pass" and verdict.discrepancy > 1e-4 and gap > 10 * verdict.error
        if verdict.kind == "pass":
            self._count(verdict)
        elif verdict.kind == "kink" or wrong:
            self.oracles[verdict.oracle] += 1
            self.verdicts.append((0, -1, Verdict(
                "inconclusive", verdict.oracle, verdict.analytic, verdict.numeric, verdict.error, verdict.scale,
                "the gradient is right along single entries but not along a mixture of them: the function is not "
                "differentiable here")))
