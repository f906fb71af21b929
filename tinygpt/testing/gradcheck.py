"""`gradcheck`: one call that says whether a gradient is right.

First the contracts (contracts/), then the numbers: the gradient is taken with a random cotangent, the inputs are cut
into groups of entries (oracles/sweep.py), and each group is compared with two oracles (oracles/compare.py); kinks are
looked at from both sides (oracles/kinks.py). What cannot be decided is reported and counted.

Prerequisites: oracles/, reports/, contracts/tensors.py. Next: vjp.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..engine.derivatives import grad as grad_of
from .contracts.base import Broken
from .contracts.plain import check_plain
from .contracts.tensors import check_tensors
from .oracles.arguments import leaves
from .oracles.compare import Tolerance, Verdict, check_method
from .oracles.kinks import examine
from .oracles.problem import CallProblem, PlainProblem, TensorProblem, draw_cotangent, restored
from .oracles.sweep import Sweep
from .reports.report import Finding, GradcheckReport
from .reports.snippet import snippet

__all__ = ["check_problem", "gradcheck"]


def gradcheck(func: Callable, *inputs: Any, grad: Callable | None = None, rtol: float | None = None,
              atol: float | None = None, method: str = "auto", seed: int = 0, order: int = 1,
              raise_exception: bool = True, **kwargs: Any) -> GradcheckReport:
    """Check the gradient of any function.

    Args:
        func: a function of Tensors; with `grad`, a function of plain arrays that returns one number. It may return
            several Tensors, nested in tuples, lists or dictionaries.
        inputs, kwargs: its arguments, which may be nested likewise. Floating-point arrays and Tensors are checked;
            anything else is passed on. If a Tensor has `requires_grad=True`, only such Tensors are checked.
        grad: a gradient written by hand: `grad(*inputs, **kwargs)` returns one array for one input, a tuple for
            several.
        rtol, atol: the largest error of an entry, rtol·|gradient| + atol; by default what float64 allows.
        method: "auto" asks both oracles. "central" leaves the complex step out; "complex" trusts it alone.
        seed: of the random cotangent and directions.
        order: 2 checks, where the gradient is right, the gradient of the gradient too, as `tinygpt.grad` computes it.
        raise_exception: raise GradcheckError unless the check passes.

    Returns:
        a report, true only for a pass.

    Raises:
        GradcheckError: the check failed or was inconclusive (with raise_exception); its `.report` says why.
        ValueError, TypeError: arguments that cannot be checked. What `func` raises itself is passed on.
    """
    check_method("gradcheck", method)
    if order not in (1, 2) or order == 2 and grad is not None:
        raise ValueError(f"gradcheck: order must be 1, or 2 for a function of Tensors without grad=; got {order}")
    tolerance = Tolerance(rtol, atol)
    problem = TensorProblem(func, inputs, kwargs) if grad is None else PlainProblem(func, grad, inputs, kwargs)
    report = check_problem(problem, tolerance, method, seed)
    if report and isinstance(problem, TensorProblem) and order == 2:
        once = TensorProblem(_gradient_of(problem, seed), inputs, kwargs)
        once.names = problem.names
        report = check_problem(once, tolerance, method, seed)
        report.reproduce = lambda: snippet(problem, report.findings[0], np.zeros(0), seed, order)
    return report.checked(raise_exception)


def _gradient_of(problem: TensorProblem, seed: int) -> Callable[..., Any]:
    """The gradient of a function, all outputs joined by a random cotangent, for each checked argument: of the same
    arguments."""
    def joined(outputs: list[Tensor]) -> Any:
        v = draw_cotangent(np.random.default_rng(seed), sum(out.size for out in outputs))
        return sum((out * part).sum() for out, part in zip(outputs, problem.split(outputs, v)))

    def gradients(*args: Any, **kwargs: Any) -> list[Tensor]:
        found = dict(leaves((args, kwargs)))
        checked = [found[path] for path in problem.arguments.paths]
        return [grad_of(lambda *given: joined(problem.call(given)), i)(*checked) for i in range(len(checked))]
    gradients.__name__ = f"the gradient of {problem.name}"
    return gradients


def check_problem(problem: CallProblem, tolerance: Tolerance, method: str = "auto", seed: int = 0) -> GradcheckReport:
    """The whole check of one problem."""
    report = GradcheckReport(problem.name, seed)
    for note in problem.arguments.notes:
        report.note(note)
    rng = np.random.default_rng(seed)
    _check(problem, tolerance, method, rng, report)
    report.evaluations = problem.evaluations
    return report


def _check(problem: CallProblem, tolerance: Tolerance, method: str, rng: np.random.Generator,
           report: GradcheckReport) -> None:
    for name, x in zip(problem.names, problem.inputs):
        if not np.isfinite(x).all():
            report.findings.append(Finding("inconclusive", f"the input {name} holds {_strange(x)}: there is nothing to "
                                           "differentiate at", name, _first(~np.isfinite(x))))
            return
    problem.start()
    if problem.finite is not None:
        bad = problem.everything(problem.copies())
        if np.isnan(bad).any():
            report.findings.append(Finding("inconclusive", f"{problem.name} returns {_strange(bad)} at this input "
                                           f"({int(np.isnan(bad).sum())} of {bad.size} outputs)"))
            return
        report.note(f"{int((~problem.finite).sum())} of {bad.size} outputs are infinite and were left out")
    v = np.ones(1) if isinstance(problem, PlainProblem) else draw_cotangent(rng, problem.base.size)
    report.inputs = dict(zip(problem.names, problem.inputs))
    report.reproduce = lambda: snippet(problem, report.findings[0], v, report.seed)
    others = problem.others() if isinstance(problem, TensorProblem) else []
    if others:
        report.note(f"{problem.name} uses {len(others)} Tensors with a gradient that are not among its arguments: "
                    "theirs was not checked")
    with restored(others):
        _compare(problem, v, tolerance, method, rng, report)


def _compare(problem: CallProblem, v: np.ndarray, tolerance: Tolerance, method: str, rng: np.random.Generator,
             report: GradcheckReport) -> None:
    """The contracts and the numbers, with the cotangent v."""
    try:
        if isinstance(problem, TensorProblem):
            found = check_tensors(problem, v, rng)
        else:
            assert isinstance(problem, PlainProblem)
            found, notes = check_plain(problem)
            for note in notes:
                report.note(note)
    except Broken as broken:
        report.oracles[broken.oracle] += 1
        report.findings.append(broken.finding())
        return
    report.oracles["contracts"] += 1
    for name, g, x in zip(problem.names, found, problem.inputs):
        if g is None and x.size:
            report.note(f"no gradient arrived at {name}; it was compared as zero")

    sweep = Sweep(problem, problem.dense(found), v, tolerance, method, rng)
    sweep.run()
    report.oracles.update(sweep.oracles)
    report.worst = sweep.worst
    for note in sweep.notes:
        report.note(note)
    report.findings += [_finding(sweep, k, i, verdict, found[k] is None) for k, i, verdict in sweep.verdicts]
    if sweep.kinks:
        _examine_kinks(sweep, report)
    order = {"contract": 0, "gradient": 1, "inconclusive": 2}
    report.findings.sort(key=lambda f: (order[f.kind], -abs((f.analytic or 0.0) - (f.numeric or 0.0))))


def _place(sweep: Sweep, k: int, i: int) -> tuple[str, tuple[int, ...] | None, float]:
    """Name and index of an entry, and the length of the step along it, by which slopes are to be divided."""
    if i < 0:
        return "", None, 1.0
    index = tuple(int(n) for n in np.unravel_index(i, sweep.problem.inputs[k].shape))
    return sweep.problem.names[k], index, float(sweep.scales[k].flat[i])


def _finding(sweep: Sweep, k: int, i: int, verdict: Verdict, missing: bool) -> Finding:
    name, index, step = _place(sweep, k, i)
    if verdict.kind == "inconclusive":
        message = f"undecided: {verdict.reason}"
    elif missing:
        message = (f"no gradient arrives at {name}, but the function depends on it (a constant by design? then pass a "
                   "Tensor without requires_grad to gradcheck, or name it in constants= of check_vjp)")
    else:
        message = verdict.reason or f"wrong gradient: off by {100 * verdict.discrepancy:.3g}%"
    return Finding("gradient" if verdict.kind == "fail" else "inconclusive", message, name, index,
                   verdict.analytic / step, verdict.numeric / step, verdict.error / step, verdict.oracle)


def _examine_kinks(sweep: Sweep, report: GradcheckReport) -> None:
    failures, undecided = examine(sweep.problem, sweep.gradient, sweep.kinks, sweep.v, sweep.scales, sweep.rng)
    report.oracles["one-sided differences"] += len(sweep.kinks)
    for failure in failures:
        name, index, step = _place(sweep, *failure.entries[0])
        others = f", together with {len(failure.entries) - 1} tied to it," if len(failure.entries) > 1 else ""
        report.findings.append(Finding(
            "gradient", f"wrong gradient at a kink: the slope that it promises at this entry{others} is not between "
            f"the slopes to either side, {failure.low / step:.6g} and {failure.high / step:.6g}", name, index,
            failure.analytic / step, failure.numeric / step, 0.0, "one-sided differences"))
    for k, i in undecided:
        name, index, _ = _place(sweep, k, i)
        report.findings.append(Finding("inconclusive", "undecided: a kink beside which the function is not finite",
                                       name, index, oracle="one-sided differences"))


def _strange(x: np.ndarray) -> str:
    return "NaN" if np.isnan(x).any() else "an infinity"


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])
