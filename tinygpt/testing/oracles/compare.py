"""The gradient against the oracles along one direction: what counts as agreement.

The slope that the gradient promises along u, a = Σ g·u, is compared with the oracles'. Errors are judged against
S = Σ |g·u|, so the verdict does not change when the function is multiplied by a constant.

    a pass needs both     |a − complex step| and |a − central difference| within tolerance
    where those differ    the Richardson ladder alone decides, within its own error
    at a kink             the caller looks at the slopes to either side (kinks.py)
    otherwise             inconclusive

Prerequisites: ladder.py. Next: sweep.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .ladder import Ladder
from .line import LARGE_STEP, SMALL_STEP, Estimate, Line
from .problem import EPS, Problem

__all__ = ["BELOW", "EDGE", "Tolerance", "Verdict", "check_method", "judge"]

METHODS = ("auto", "central", "complex")

BELOW = "nothing: below the function's rounding"  # the oracle of a slope that no oracle can see
CANCELLED = "digits that cancel inside the function make its values too coarse to tell the slope from them"
DROWNED = ("the rounding of the input decides: its last digits move the function by a visible part of what the longest "
           "steps do")
UNRESOLVED = "the function turns faster than these steps can follow: shorter ones see another slope"
EDGE = "the function is not finite, or raises, to one side of the input"

RTOL = 1e-6              # of one entry: a thousand times smaller than an error of 0.1 %
ROUNDING = 1e-13         # of the largest gradient of the argument: what cancellation may leave of an entry that is ~0
NOISE = 256.0            # times the outputs' rounding: slopes so small are made of it, as 1 − σ is where σ ≈ 1
CLOSE = 4e-14            # of S, to which a sum of right entries is right
KNOWN_WELL = 2.5e-4      # an oracle that errs by more than this share of S says nothing about an error of 0.1 %
CONFIRMED = 1e-2         # where the complex step is wrong, it is by more than this; so well must differences know it
BENT = 1e-4              # slopes to either side that differ by more than this share of S deserve a second look
VANISHED = 1e-12         # of the steepest slope nearby: at a minimum, where all terms cancel, rounding leaves so much
CONSTANT = 1e-9          # slopes below this share of the function's values cannot be told from zero by differences


def check_method(who: str, method: str) -> None:
    """ValueError unless it is one of METHODS."""
    if method not in METHODS:
        raise ValueError(f"{who}: unknown method {method!r}: expected one of {', '.join(METHODS)}")


@dataclass(frozen=True)
class Tolerance:
    """The largest error of an entry that passes: rtol·|gradient| + atol; None for what fits float64.

    One wrong entry among n must not hide behind the others, so by default the tolerance of a group of entries is that
    of an average entry.
    """

    rtol: float | None = None
    atol: float | None = None

    def of(self, scale: float, n: int, length: float) -> float:
        """The tolerance of a slope: S = `scale`, n entries, Σ|u| = `length`."""
        return (RTOL / n if self.rtol is None else self.rtol) * scale + (self.atol or 0.0) * length


@dataclass(frozen=True)
class Verdict:
    """What came of one comparison: "pass", "fail", "kink" or "inconclusive"."""

    kind: str
    oracle: str
    analytic: float
    numeric: float
    error: float = 0.0    # the oracle's own uncertainty
    scale: float = 0.0    # S
    reason: str = ""
    close: bool = True    # False for a group that is as right as an average entry must be, but not to rounding

    @property
    def discrepancy(self) -> float:
        """The disagreement, relative to the larger of the two slopes."""
        gap, scale = abs(self.analytic - self.numeric), max(self.scale, abs(self.numeric))
        return gap / scale if scale else 0.0


def judge(problem: Problem, gradient: Sequence[np.ndarray], largest: Sequence[tuple[float, float]],
          u: Sequence[np.ndarray | None], v: np.ndarray, tolerance: Tolerance, method: str) -> tuple[Verdict, str]:
    """Compare along one direction.

    Args:
        problem: started.
        gradient: for each input.
        largest: for each input, the largest entry of its gradient, and the largest slope along a step of its own size.
        u: the direction, an array for each input or None.
        v: the cotangent that the gradient was taken with.
        tolerance: what the user allows.
        method: one of METHODS.

    Returns:
        the verdict, and why the complex step was set aside ("" if it was not).
    """
    line = Line(problem, u, v)
    along = [(g[d != 0], d[d != 0], most) for g, d, most in zip(gradient, u, largest) if d is not None]
    a = sum(float(g @ d) for g, d, _ in along)
    scale = sum(float(np.abs(g) @ np.abs(d)) for g, d, _ in along)
    n = max(1, sum(d.size for _, d, _ in along))
    allowed = tolerance.of(scale, n, sum(float(np.abs(d).sum()) for _, d, _ in along))
    cancelled = ROUNDING * sum(min(entry * float(np.abs(d).sum()), slope * d.size) for _, d, (entry, slope) in along
                               if np.isfinite(entry))
    exact, reason = (None, "") if method == "central" else line.complex_step
    near = line.central(SMALL_STEP)
    if not _is_smaller(a, exact, EPS / ROUNDING * cancelled):
        allowed += cancelled
    if exact is not None and abs(a - exact) > max(allowed, 1e-3 * abs(a)) and _is_smaller(a, exact, line.rounding):
        return Verdict("inconclusive", BELOW, a, exact, np.inf, scale, "too small to be seen in the function's "
                       "values, where only the complex step sees another slope"), ""
    noise = NOISE * line.rounding
    strict, allowed = allowed, allowed + noise * min(1.0, noise / max(abs(a), abs(exact or 0.0), noise or 1.0))
    rough = allowed + tolerance.of(scale, 1, 0.0)  # for differences, which are no better than this
    if not np.isfinite(a):
        return _not_finite(line, a), ""
    if method == "complex" and exact is not None:
        return Verdict("pass" if abs(a - exact) <= allowed else "fail", "complex step", a, exact, 0.0, scale), ""
    if exact is not None and near is not None and near.error <= KNOWN_WELL * scale and abs(a - exact) <= allowed \
            and abs(a - near.value) <= rough + 8 * near.error \
            and line.bend(SMALL_STEP) <= BENT * scale + 16 * near.error:
        exactly = abs(a - exact) <= CLOSE * scale + strict - (0 if tolerance.rtol else RTOL / n * scale)
        verdict = Verdict("pass", "complex step and central difference", a, exact, 0.0, scale, close=exactly)
    else:
        verdict = _by_differences(line, near, a, exact, scale, allowed, rough, n)
    if verdict.kind == "pass" and abs(a - verdict.numeric) > strict + min(4 * verdict.error, KNOWN_WELL * scale):
        verdict = replace(verdict, oracle=BELOW, scale=0.0)
    return verdict, reason


def _is_smaller(a: float, exact: float | None, rounding: float) -> bool:
    """Whether the slopes are numbers too small to be made of this rounding: not zero, and far below it."""
    return a != 0 and exact is not None and exact != 0 and max(abs(a), abs(exact)) < rounding / 64


def _is_small(exact: float | None, line: Line) -> bool:
    """Whether the slope may be nothing but rounding; without a complex step, whether rounding is small itself."""
    if exact is None:
        return line.digits <= 1e-6 * max(1.0, line.values)
    return abs(exact) <= 2 * NOISE * line.rounding


def _by_differences(line: Line, near: Estimate | None, a: float, exact: float | None, scale: float, allowed: float,
                    rough: float, n: int) -> Verdict:
    """The ladder's verdict, or "kink" where the slopes to either side differ."""
    shape = _shape(line, max(scale, abs(near.value) if near else 0.0))
    if shape == "kink" and (n > 1 or exact is None or abs(a - exact) > allowed):
        return Verdict("kink", "one-sided differences", a, near.value if near else np.nan, 0.0, scale)
    ladder = Ladder(line, a, allowed, scale)
    if ladder.estimate is None:
        return Verdict("inconclusive", "Richardson ladder", a, np.nan, np.inf, scale, EDGE)
    d, error, oracle = ladder.estimate.value, ladder.estimate.error, "Richardson ladder"
    nothing = ROUNDING * line.problem.size  # a constant has no scale: where 1 − 3·⅓ is left, that is nothing
    constant = ladder.furthest <= nothing
    staircase = line.problem.coarse and ladder.furthest > 0  # a float16 is flat for short steps, whatever it is of
    if ladder.is_still and not staircase and scale <= max(allowed, nothing if constant else 0.0):
        return Verdict("pass", oracle, a, 0.0)
    seen = ladder.is_level or not ladder.is_unresolved
    constant = ladder.is_flat and _is_small(exact, line) and seen  # … up to rounding
    if constant and abs(a) <= 2 * NOISE * line.rounding * (scale > 0):
        return Verdict("pass", oracle, a, d, error)

    size = max(scale, abs(d))
    confirmed = error <= max(CONFIRMED * size, KNOWN_WELL * ladder.vanishing)
    if exact is not None and abs(exact - d) <= rough + 4 * error and confirmed:
        oracle = "complex step and Richardson ladder"
        if abs(a - exact) <= allowed + VANISHED * ladder.vanishing:
            return Verdict("pass", oracle, a, exact, 0.0, scale)
        if shape != "kink" and abs(a - d) <= 4 * error and ladder.noise > NOISE * line.rounding:
            return Verdict("inconclusive", oracle, a, exact, error, scale, CANCELLED)
        if shape != "kink":
            return Verdict("fail", oracle, a, exact, abs(exact - d), scale)
    if shape == "kink":
        return Verdict("kink", "one-sided differences", a, d, error, scale)
    wrong = abs(a - d) > 10 * error + allowed and confirmed and shape in ("smooth", "edge")
    if wrong and shape == "smooth" and abs(a - d) <= line.bend(SMALL_STEP) and ladder.is_bent:
        return Verdict("kink" if n > 1 else "inconclusive", oracle, a, d, error, scale,
                       "the slopes to either side differ by as much: a kink is near")
    if wrong and ladder.on_a_stair(d):
        if exact is not None and abs(a - exact) <= allowed:
            return Verdict("pass", BELOW, a, exact)
        return Verdict("inconclusive", oracle, a, d, error, scale, CANCELLED)
    if ladder.is_drowned and (wrong or not _is_small(exact, line)):
        return Verdict("inconclusive", oracle, a, d, error, scale, DROWNED)
    if ladder.is_unresolved:
        return Verdict("inconclusive", oracle, a, d, error, scale, UNRESOLVED)
    if wrong:
        return Verdict("fail", oracle, a, d, error, scale)
    known = max(KNOWN_WELL * size, CONSTANT * max(line.values, ladder.vanishing))
    if error <= known and abs(a - d) <= allowed + min(4 * error, known):
        return Verdict("pass", oracle, a, d, error, scale)
    if KNOWN_WELL * size < error and abs(a - d) <= 4 * error and \
            max(abs(a), abs(d), error) <= 16 * NOISE * line.rounding:  # nothing but rounding
        return Verdict("pass", oracle, a, d, error)
    reason = {"jump": "the function jumps at this input", "edge": EDGE,
              "steep": "the slopes grow without bound as the step shrinks"}
    return Verdict("inconclusive", oracle, a, d, error, scale, reason.get(
        shape, "the rungs of the ladder disagree: the function is too rough, or computed too coarsely"))


def _shape(line: Line, scale: float) -> str:
    """"smooth", "kink", "steep" or "jump", by how the two one-sided slopes part as the step shrinks.

    "edge" where one side is missing, "rough" where nothing can be seen.
    """
    small = line.bend(SMALL_STEP)
    if not np.isfinite(small):
        return "edge"
    if small <= BENT * scale or small * SMALL_STEP <= 4 * line.jitter:
        return "smooth"
    large = line.bend(LARGE_STEP)
    ratio = small / large if large else np.inf  # 1/8 where smooth, 1 at a kink, 8 at a jump
    if ratio < 0.5 or line.is_near_kink:
        return "smooth"
    if ratio < 1.6:
        return {True: "kink", False: "smooth", None: "rough"}[line.is_kink]
    return "steep" if ratio < 4 else "jump"


def _not_finite(line: Line, a: float) -> Verdict:
    near, far = line.central(SMALL_STEP), line.central(LARGE_STEP)
    if near is None or far is None or _shape(line, abs(near.value)) in ("steep", "jump", "edge") \
            or abs(near.value) > 1.5 * abs(far.value) + 16 * (near.error + far.error):
        return Verdict("inconclusive", "central difference", a, np.nan if near is None else near.value, np.inf, 0.0,
                       "the gradient is not finite, and neither is the slope here")
    if line.at_infinity:
        return Verdict("inconclusive", "central difference", a, near.value, np.inf, 0.0,
                       "the gradient is not finite, and an output that depends on this entry is infinite")
    return Verdict("fail", "central difference", a, near.value, near.error, 0.0,
                   "the gradient is not finite, but the slope is")
