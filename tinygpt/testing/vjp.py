"""`check_vjp`: the gradient of a rule, for people who write one.

A rule is `rule(xp, *arrays, **settings) -> (output, backward)`. Its closure can be held and called directly here, so
more is asked of it than of a function of Tensors: every returned gradient has its input's shape and dtype, a second
call of the closure gives the same again, float32 comes back as float32 and agrees with float64.

Prerequisites: gradcheck.py, rules.py. Next: twins.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import Operation, Tensor
from .arguments import function_name
from .compare import Tolerance
from .contracts import Broken
from .gradcheck import METHODS, check_problem
from .problem import TensorProblem
from .report import Finding, GradcheckError, GradcheckReport
from .rule_snippet import rule_snippet
from .rules import RuleCall, check_float32, check_rule, in_dtype

__all__ = ["as_function", "as_rule", "check_vjp", "input_names"]


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
    if method not in METHODS:
        raise ValueError(f"check_vjp: unknown method {method!r}: expected one of {', '.join(METHODS)}")
    rule = as_rule(rule)
    name = function_name(rule)
    names = input_names(rule, len(inputs))
    unknown = [constant for constant in constants if constant not in names]
    if unknown:
        raise ValueError(f"check_vjp: {name} has no input {', '.join(unknown)}: its inputs are {', '.join(names)}")
    plain = [_array(x) for x in inputs] + [None] * (len(names) - len(inputs))  # optional inputs that were left out
    checked = [k for k, x in enumerate(plain) if names[k] not in constants
               and getattr(getattr(x, "dtype", None), "kind", "") == "f"]
    if not checked:
        raise ValueError(f"check_vjp: {name} got no floating-point array to check")

    try:
        _contracts(rule, plain, settings, names, checked, seed)
    except Broken as broken:
        report = GradcheckReport(name, seed)
        report.oracles[f"contract: {broken.contract}"] += 1
        report.findings.append(Finding("contract", str(broken), broken.argument, oracle=f"contract: {broken.contract}"))
    else:
        given = [Tensor(x, requires_grad=True) if k in checked else x for k, x in enumerate(plain)]
        problem = TensorProblem(as_function(rule, name, settings), tuple(given[:len(inputs)]), {})
        report = check_problem(problem, Tolerance(rtol, atol), method, seed)
    report.reproduce = lambda: rule_snippet(rule, plain, settings, names, constants, report.findings[0], seed)
    if raise_exception and not report:
        raise GradcheckError(report)
    return report


def _array(x: Any) -> Any:
    x = x.data if isinstance(x, Tensor) else x
    return np.asarray(x) if isinstance(x, np.generic) else x


def as_function(rule: Callable, name: str, settings: dict[str, Any]) -> Callable:
    """The rule as a function of Tensors, without an entry in `OPS`."""
    operation = Operation(name, rule)

    def apply(*values: Any) -> Any:
        return operation([list(values)] if operation.variadic else values, settings)
    apply.__name__ = name
    parameters = list(inspect.signature(rule).parameters.values())[1:]
    apply.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
        p for p in parameters if p.kind is not p.KEYWORD_ONLY])
    return apply


def _contracts(rule: Callable, inputs: list[Any], settings: dict[str, Any], names: list[str], checked: list[int],
               seed: int) -> None:
    rng = np.random.default_rng(seed)
    before = [x.copy() if hasattr(x, "copy") else x for x in inputs]
    wide = in_dtype(inputs, np.float64)
    call = RuleCall(rule, wide, settings, names, checked)
    check_rule(call, in_dtype(before, np.float64), rng)
    if "dtype" in settings:  # a conversion chooses its own
        return
    narrow = in_dtype(inputs, np.float32)
    reference = RuleCall(rule, in_dtype(narrow, np.float64), settings, names, checked)
    check_float32(RuleCall(rule, narrow, settings, names, checked), reference, call.cotangents(rng))


def as_rule(function: Callable) -> Callable:
    """A rule with `xp` first: of an operation, of a rule, or of a function that does without it (a twin)."""
    operation = getattr(function, "operation", None)
    if isinstance(operation, Operation):
        return operation.rule
    parameters = list(inspect.signature(function).parameters.values())
    if parameters and parameters[0].name == "xp":
        return function

    def rule(xp: Any, *inputs: Any, **settings: Any) -> Any:
        return function(*inputs, **settings)
    rule.__name__ = function_name(function)
    rule.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
        inspect.Parameter("xp", inspect.Parameter.POSITIONAL_ONLY), *(
            p.replace(kind=p.POSITIONAL_ONLY) if p.kind is p.POSITIONAL_OR_KEYWORD else p for p in parameters)])
    return rule


def input_names(rule: Callable, n: int) -> list[str]:
    """The names of a rule's inputs, of which n are given."""
    names: list[str] = []
    for p in list(inspect.signature(rule).parameters.values())[1:]:
        if p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}[{i}]" for i in range(n - len(names))]
        elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            names.append(p.name)
    return names
