"""`taylor_test`: is the gradient of a whole loss right?

With the gradient g of a smooth loss f, and a random direction u through all weights, the remainder

    R(h) = |f(w + h u) − f(w) − h g·u|

falls with h²: halve the step, and a quarter is left. If g is wrong by however little, a part of R falls only with h,
and small steps show it. Small models are also looked at along one parameter at a time, and so is any that fails.

Prerequisites: oracles/parameters.py, oracles/ladder.py. Next: model.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..nn.evaluating import evaluating
from .contracts.base import NONDETERMINISTIC, UNLIKE_RECORDED, near, same
from .oracles.ladder import Ladder
from .oracles.line import Line
from .oracles.parameters import ParameterProblem, in_float64, named
from .oracles.problem import host_array, restored
from .reports.report import Finding, GradcheckReport

__all__ = ["taylor_test"]

STEPS = tuple(2.0**-k for k in range(3, 24, 2))
ORDER = 1.8     # remainders that fall slower than h^1.8 …
FEW = 1_000_000  # weights, up to which every parameter is perturbed by itself
SLOPE = 1e-7    # … and are more than this share of the slope, are a wrong gradient


def taylor_test(f: Callable, params: Any, *, seed: int = 0, raise_exception: bool = True) -> GradcheckReport:
    """Check the gradient of a loss with respect to all of a model's parameters at once.

    The weights are taken to float64 for the test and restored after it.

    Args:
        f: the loss: a function of nothing (or of the parameters) that returns a Tensor of one element.
        params: a model, a dictionary, (name, Tensor) pairs, Tensors, or one Tensor.
        seed: of the direction.
        raise_exception: raise GradcheckError unless the test passes.

    Returns:
        a report, true only for a pass; its notes hold the remainders and the order with which they fall.

    Raises:
        GradcheckError: the remainder does not fall with order 2, or nothing could be said (with raise_exception).
        TypeError, ValueError: parameters or a loss of the wrong kind.
    """
    given = named(params)
    with evaluating(params), in_float64(given.values()):
        problem = ParameterProblem(f, given)
        report = GradcheckReport(problem.name, seed)
        problem.start()
        reason = _undecidable(problem)
        if not reason:
            with restored(problem.others()):
                _look(problem, np.random.default_rng(seed), report)
            reason = _undecidable(problem)
        if reason:
            report.findings = [Finding("inconclusive", reason, oracle="Taylor remainder")]
        report.evaluations = problem.evaluations
    return report.checked(raise_exception)


def _look(problem: ParameterProblem, rng: np.random.Generator, report: GradcheckReport) -> None:
    """The test itself."""
    found = problem.vjp(problem.inputs, np.ones(1))
    gradient = problem.dense(found)
    directions = [_direction(x, rng) for x in problem.inputs]
    status, text = _remainders(problem, gradient, directions)
    report.note(text)
    report.oracles["Taylor remainder"] += 1
    if status != "passed" or sum(x.size for x in problem.inputs) <= FEW:
        report.findings = _culprits(problem, gradient, found, directions, text, status == "passed")


def _undecidable(problem: ParameterProblem) -> str:
    """Why nothing can be said of this loss, "" if something can: it is not the same again (to the bit on a CPU; a GPU
    may add up in another order), or another one when it is recorded."""
    equal = same if all(p.device == "cpu" for p in problem.parameters) else near
    if not equal(problem.base, problem.forward(problem.inputs)):
        return NONDETERMINISTIC
    return "" if near(problem.base, host_array(problem.loss(problem.inputs)).reshape(-1)) else UNLIKE_RECORDED


def _direction(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random, of the size of the weights."""
    size = math.sqrt(float(np.mean(x * x))) if x.size else 1.0
    return rng.standard_normal(x.shape) * (size or 1.0)


def _remainders(problem: ParameterProblem, gradient: list[np.ndarray], directions: Sequence[np.ndarray | None]
                ) -> tuple[str, str]:
    """("passed" | "failed" | "inconclusive", the remainders in words) along one direction."""
    line = Line(problem, directions, np.ones(1))
    slope = sum(float(np.sum(g * u)) for g, u in zip(gradient, directions) if u is not None)
    if not math.isfinite(slope) or not np.isfinite(problem.base).all() or not problem.base.size:
        return ("inconclusive" if math.isfinite(slope) else "failed"), "the loss or its gradient is not finite"
    noise = 16 * float(problem.rounding.max())
    found: list[tuple[float, float]] = []
    for h in STEPS:
        y = line.at(h)
        if y is not None:
            found.append((h, abs(float((y - problem.base)[0]) - h * slope)))
    clear = [(h, r) for h, r in found if r > 30 * noise]
    text = "remainders " + ", ".join(f"{r:.1e} at h = {h:.1e}" for h, r in found[::3])
    if not found:
        return "inconclusive", "the loss is not finite near these weights"
    if len(clear) < 3:  # straight, or nearly: what is left is rounding
        h, r = found[0]
        return ("passed" if r <= 1e-6 * h * abs(slope) + 30 * noise else "inconclusive"), text + ": a straight line"
    orders = [math.log(r1 / r2) / math.log(h1 / h2) for (h1, r1), (h2, r2) in zip(clear, clear[1:])]
    text += f"; order {orders[-1]:.2f}"
    h, r = clear[-1]
    if orders[-1] >= ORDER or r <= SLOPE * h * abs(slope):
        return "passed", text
    estimate = Ladder(line, slope, 0.0, abs(slope)).estimate  # curvature of several orders may look like another one
    right = estimate is not None and abs(estimate.value - slope) + estimate.error <= SLOPE * abs(slope)
    return "passed" if right else "failed", text


def _culprits(problem: ParameterProblem, gradient: list[np.ndarray], found: list[np.ndarray | None],
              directions: list[np.ndarray], text: str, passed: bool) -> list[Finding]:
    """The parameters along which alone the test does not pass, with promised and observed slope."""
    findings = []
    for k, name in enumerate(problem.names):
        only: list[np.ndarray | None] = [u if i == k else None for i, u in enumerate(directions)]
        status, words = _remainders(problem, gradient, only)
        if status == "passed":
            continue
        a = float(np.sum(gradient[k] * directions[k]))
        estimate = Ladder(Line(problem, only, np.ones(1)), a, 0.0, abs(a)).estimate
        message = ("no gradient arrives at this parameter" if found[k] is None else
                   f"the slope along this parameter {'is wrong' if status == 'failed' else 'cannot be told'} ({words})")
        findings.append(Finding(
            "gradient" if status == "failed" else "inconclusive", message, name, None, a,
            None if estimate is None else estimate.value, None if estimate is None else estimate.error,
            "Taylor remainder"))
    if not findings and not passed:
        findings.append(Finding("inconclusive", f"the remainder does not fall with order 2 ({text}), though it does "
                                "along each parameter alone: is the loss smooth here?", oracle="Taylor remainder"))
    return findings
