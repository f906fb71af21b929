"""`gradcheck`: one call that says whether a gradient is right.

First the contracts (contracts.py), then the numbers: the gradient is taken with a random cotangent, the inputs are cut
into groups of entries, and each group is compared with two oracles (compare.py); kinks are looked at from both sides
(kinks.py). What cannot be decided is said and counted.

Read before: contracts.py, compare.py, kinks.py. Read next: vjp.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .compare import Comparison, Tolerance, sweep
from .contracts import Broken, check_plain, check_tensors
from .kinks import examine
from .problem import PlainProblem, Problem, TensorProblem
from .report import Finding, GradcheckError, GradcheckReport

__all__ = ["check_problem", "gradcheck"]

METHODS = ("auto", "central", "complex")


def gradcheck(func: Callable, *inputs: Any, grad: Callable | None = None, rtol: float | None = None,
              atol: float | None = None, method: str = "auto", seed: int = 0, raise_exception: bool = True,
              **kwargs: Any) -> GradcheckReport:
    """Check the gradient of any function.

    Args:
        func: a function of Tensors; with `grad`, a function of plain arrays that returns one number. It may return
            several Tensors, nested in tuples, lists or dictionaries.
        inputs, kwargs: its arguments, which may be nested likewise. Floating-point arrays and Tensors are checked;
            anything else is passed on. If a Tensor has `requires_grad=True`, only such Tensors are checked.
        grad: a gradient written by hand: `grad(*inputs, **kwargs)` returns one array for one input, a tuple for several.
        rtol, atol: the largest error of an entry, rtol·|gradient| + atol; by default what float64 allows.
        method: "auto" asks both oracles. "central" leaves the complex step out; "complex" trusts it alone.
        seed: of the random cotangent and directions.
        raise_exception: raise GradcheckError unless the check passes.

    Returns:
        a report, true only for a pass.

    Raises:
        GradcheckError: the check failed or was inconclusive (with raise_exception); its `.report` says why.
        ValueError, TypeError: arguments that cannot be checked. What `func` raises itself is passed on.
    """
    if method not in METHODS:
        raise ValueError(f"gradcheck: unknown method {method!r}: expected one of {', '.join(METHODS)}")
    problem = TensorProblem(func, inputs, kwargs) if grad is None else PlainProblem(func, grad, inputs, kwargs)
    report = check_problem(problem, Tolerance(rtol, atol), method, seed)
    if raise_exception and not report:
        raise GradcheckError(report)
    return report


def check_problem(problem: Problem, tolerance: Tolerance, method: str = "auto", seed: int = 0) -> GradcheckReport:
    """The whole check of one problem."""
    report = GradcheckReport(problem.name, seed)
    for note in problem.arguments.notes:
        report.note(note)
    rng = np.random.default_rng(seed)
    _check(problem, tolerance, method, rng, report)
    report.evaluations = problem.evaluations
    return report


def _check(problem: Problem, tolerance: Tolerance, method: str, rng: np.random.Generator,
           report: GradcheckReport) -> None:
    for name, x in zip(problem.names, problem.inputs):
        if not np.isfinite(x).all():
            report.findings.append(Finding("inconclusive", f"the input {name} holds {_strange(x)}: there is nothing to "
                                           "differentiate at", name, _first(~np.isfinite(x))))
            return
    problem.start()
    if problem.finite is not None:
        bad = problem.everything([x.copy() for x in problem.inputs])
        if np.isnan(bad).any():
            report.findings.append(Finding("inconclusive", f"{problem.name} returns {_strange(bad)} at this input "
                                           f"({int(np.isnan(bad).sum())} of {bad.size} outputs)"))
            return
        report.note(f"{int((~problem.finite).sum())} of {bad.size} outputs are infinite and were left out")
    v = np.ones(1) if isinstance(problem, PlainProblem) else _cotangent(problem.base.size, rng)

    try:
        if isinstance(problem, TensorProblem):
            found = check_tensors(problem, v, rng)
        else:
            assert isinstance(problem, PlainProblem)
            found, notes = check_plain(problem)
            for note in notes:
                report.note(note)
    except Broken as broken:
        report.oracles[f"contract: {broken.contract}"] += 1
        report.findings.append(Finding("inconclusive" if broken.undecided else "contract", str(broken), broken.argument,
                                       oracle=f"contract: {broken.contract}"))
        return
    report.oracles["contracts"] += 1
    gradient = []
    for name, g, x in zip(problem.names, found, problem.inputs):
        if g is None and x.size:
            report.note(f"no gradient arrived at {name}; it was compared as zero")
        gradient.append(np.zeros(x.shape) if g is None else g)

    comparison = Comparison(problem, gradient, v, tolerance, rng, method)
    sweep(comparison)
    _collect(comparison, found, report)


def _cotangent(n: int, rng: np.random.Generator) -> np.ndarray:
    """Random numbers of both signs, none near zero."""
    return rng.uniform(0.5, 1.5, n) * rng.choice([-1.0, 1.0], n)


def _collect(comparison: Comparison, found: list[np.ndarray | None], report: GradcheckReport) -> None:
    """Turn verdicts into findings, kinks included."""
    problem = comparison.problem
    report.oracles.update(comparison.oracles)
    report.worst = comparison.worst
    for note in comparison.notes:
        report.note(note)
    for k, part, verdict in comparison.verdicts:
        index = tuple(int(i) for i in np.unravel_index(int(part[0]), problem.inputs[k].shape))
        size = float(comparison.scales[k].reshape(-1)[part[0]])  # slopes were taken along u = size
        name = problem.names[k]
        if verdict.kind == "fail":
            message = (f"no gradient arrived at {name}, but it has one (if it is meant to be a constant, pass a Tensor "
                       "without requires_grad, or an array beside Tensors with it)" if found[k] is None else
                       verdict.reason or f"wrong gradient: off by {verdict.discrepancy:.2g} of its size")
        else:
            message = f"undecided: {verdict.reason}"
        report.findings.append(Finding(
            "gradient" if verdict.kind == "fail" else "inconclusive", message, name, index, verdict.analytic / size,
            verdict.numeric / size, verdict.error / size, verdict.oracle))
    if comparison.kinks:
        failures, undecided = examine(problem, comparison.kinks, comparison.v, comparison.scales, comparison.rng)
        report.oracles["one-sided differences"] += len(comparison.kinks)
        for failure in failures:
            k, i = failure.entries[0]
            index = tuple(int(n) for n in np.unravel_index(i, problem.inputs[k].shape))
            size = float(comparison.scales[k].reshape(-1)[i])
            others = f", together with {len(failure.entries) - 1} entries tied to it," if len(failure.entries) > 1 else ""
            report.findings.append(Finding(
                "gradient", f"wrong gradient at a kink: the slope that it promises here{others} is not between the "
                f"slopes to either side, {failure.low / size:.6g} and {failure.high / size:.6g}", problem.names[k], index,
                failure.analytic / size, failure.numeric / size, 0.0, "one-sided differences"))
        for k, i in undecided:
            index = tuple(int(n) for n in np.unravel_index(i, problem.inputs[k].shape))
            report.findings.append(Finding("inconclusive", "undecided: a kink beside which the function is not finite",
                                           problem.names[k], index, oracle="one-sided differences"))
    order = {"contract": 0, "gradient": 1, "inconclusive": 2}
    report.findings.sort(key=lambda f: (order[f.kind], -abs((f.analytic or 0.0) - (f.numeric or 0.0))))


def _strange(x: np.ndarray) -> str:
    return "NaN" if np.isnan(x).any() else "an infinity"


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])
