"""`check_vjp`: the gradient of a rule, for people who write one.

A rule is `rule(xp, *arrays, **settings) -> (output, backward)`. Its closure can be held and called directly here, so
more is asked of it than of a function of Tensors: every returned gradient has its input's shape and dtype, a second
call of the closure gives the same again, float32 comes back as float32 and agrees with float64.

Prerequisites: gradcheck.py, contracts/rules.py. Next: taylor.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from .contracts.base import Broken
from .contracts.rules import RuleUse, as_function, as_rule, check_float32, check_rerun, check_rule
from .gradcheck import check_problem
from .oracles.arguments import function_name
from .oracles.compare import Tolerance, check_method
from .oracles.problem import TensorProblem
from .reports.report import GradcheckReport
from .reports.snippet import rule_snippet

__all__ = ["check_vjp"]


def check_vjp(rule: Callable, *inputs: Any, constants: Sequence[str] = (), rtol: float | None = None,
              atol: float | None = None, method: str = "auto", seed: int = 0, raise_exception: bool = True,
              **settings: Any) -> GradcheckReport:
    """Check a rule `rule(xp, *inputs, **settings) -> (output, backward)`, before or after `@differentiable`.

    Args:
        rule: the rule; an operation made by `@differentiable`, or a function without `xp`, will do too.
        inputs: arrays; floating-point ones are checked.
        constants: names of floating-point inputs for which the rule returns None by design.
        rtol, atol, method, seed, raise_exception: as in `gradcheck`.
        settings: passed to the rule.

    Returns:
        a report, true only for a pass.

    Raises:
        GradcheckError, ValueError, TypeError: as `gradcheck`.
    """
    check_method("check_vjp", method)
    rule = as_rule(rule)
    name = function_name(rule)
    use = RuleUse(rule, [_array(x) for x in inputs], settings, constants)
    unknown = [constant for constant in constants if constant not in use.names]
    if unknown:
        raise ValueError(f"check_vjp: {name} has no input {', '.join(unknown)}: its inputs are {', '.join(use.names)}")
    if not use.checked:
        raise ValueError(f"check_vjp: {name} got no floating-point array to check")

    try:
        _contracts(use, np.random.default_rng(seed))
    except Broken as broken:
        report = GradcheckReport(name, seed)
        report.oracles[broken.oracle] += 1
        report.findings.append(broken.finding())
    else:
        given = [Tensor(x, requires_grad=True) if k in use.checked else x for k, x in enumerate(use.inputs)]
        problem = TensorProblem(as_function(rule, name, settings), tuple(given[:len(inputs)]), {})
        report = check_problem(problem, Tolerance(rtol, atol), method, seed)
    report.reproduce = lambda: rule_snippet(rule, use.inputs, settings, use.names, constants, report.findings[0], seed)
    return report.checked(raise_exception)


def _array(x: Any) -> Any:
    x = x.data if isinstance(x, Tensor) else x
    return np.asarray(x) if isinstance(x, np.generic) else x


def _contracts(use: RuleUse, rng: np.random.Generator) -> None:
    wide = use.in_dtype(np.float64)
    call = wide.call()
    check_rule(call, rng)
    check_rerun(call, wide.call())
    if "dtype" not in use.settings:  # a conversion chooses its own
        check_float32(use, rng)
