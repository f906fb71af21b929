"""A program that reproduces a finding: the function, the input to the bit, the gradient, and a central difference.

It needs NumPy and the function, nothing that found the failure; a rule is called directly. A broken contract is
reproduced by calling `gradcheck` or `check_vjp`.

Prerequisites: sources.py. Next: samples/, contracts/.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...autograd import Tensor
from ..oracles.arguments import leaves
from ..oracles.line import SMALL_STEP
from ..oracles.problem import CallProblem, PlainProblem, TensorProblem, draw_cotangent
from .report import Finding
from .sources import MAX_PRINTED, Program, array_text

__all__ = ["rule_snippet", "snippet"]


def snippet(problem: CallProblem, finding: Finding, v: np.ndarray, seed: int, order: int = 1) -> str:
    """The program for a function.

    Args:
        problem: what was checked.
        finding: what was found.
        v: the cotangent of the joined outputs.
        seed: of the check.
        order: of the check; 2 where the finding is about the gradient's gradient.
    """
    program = Program()
    func = _name_of(problem.func)
    program.define(func, problem.func)
    inputs = [f"{_variable(name)} = {_array_line(name, x)}" for name, x in zip(problem.names, problem.inputs)]
    grad = ""
    if isinstance(problem, PlainProblem):
        grad = _name_of(problem.grad) if _name_of(problem.grad) != func else f"{func}_grad"
        program.define(grad, problem.grad)
    if order == 2 or not finding.has_slope:
        lines = _again(program, problem, func, seed, grad, order)
    elif isinstance(problem, PlainProblem):
        lines = _plain(program, problem, finding, func, grad)
    else:
        assert isinstance(problem, TensorProblem)
        lines = _tensors(program, problem, finding, func, v)
    program.lines += inputs + lines
    return str(program)


def _cotangent_line(part: np.ndarray) -> str:
    """An expression for a cotangent."""
    if part.size <= MAX_PRINTED:
        return array_text(part)
    return f"np.random.default_rng(0).uniform(0.5, 1.5, {part.shape})  # which one, hardly matters"


def _name_of(function: Callable) -> str:
    """What the function is called in the program."""
    name = getattr(function, "__name__", "")
    return name if name.isidentifier() else "func"


def _variable(name: str) -> str:
    """A Python name for an argument such as pair[0]."""
    plain = "".join(c if c.isalnum() else "_" for c in name).strip("_")
    return plain if plain.isidentifier() else f"x_{plain}"


def _array_line(name: str, x: np.ndarray) -> str:
    """An expression for an input, or where to load it from if it is too large to write down."""
    if x.size <= MAX_PRINTED:
        return array_text(x)
    return f'np.load("{_variable(name)}.npy")  # np.save("{_variable(name)}.npy", report.inputs["{name}"]) writes it'


def _call(program: Program, problem: CallProblem, func: str, wrap: str = "{}") -> str:
    """The call, with the checked arguments by name, each wrapped by a format, and the others written down."""
    names = dict(zip(problem.arguments.paths, (wrap.format(_variable(name)) for name in problem.names)))

    def text(tree: Any, path: tuple) -> str:
        if path in names:
            return names[path]
        if isinstance(tree, dict):
            return "{" + ", ".join(f"{key!r}: {text(part, (*path, key))}" for key, part in tree.items()) + "}"
        if isinstance(tree, (tuple, list)):
            parts = ", ".join(text(part, (*path, i)) for i, part in enumerate(tree))
            return f"[{parts}]" if isinstance(tree, list) else f"({parts},)" if len(tree) == 1 else f"({parts})"
        constant = f"constant_{'_'.join(map(str, path[1:]))}"
        program.define(constant, tree)
        return constant

    args, kwargs = problem.arguments.tree
    parts = [text(part, (0, i)) for i, part in enumerate(args)]
    return f"{func}({', '.join([*parts, *(f'{key}={text(part, (1, key))}' for key, part in kwargs.items())])})"


def _difference(problem: CallProblem, finding: Finding, value: str) -> list[str]:
    k = problem.names.index(finding.argument)
    return _steps(_variable(finding.argument), problem.inputs[k], finding, value)


def _steps(x: str, array: np.ndarray, finding: Finding, value: str) -> list[str]:
    """Lines that step the element of x that a finding is about up and down, and print what comes of it."""
    assert finding.index is not None
    entry = array[finding.index]
    return [f"h = {SMALL_STEP * (abs(float(entry)) or 1.0)!r}",
            f"{x}[{finding.at}] += h", f"above = {value}", f"{x}[{finding.at}] -= 2 * h", f"below = {value}",
            'print("analytic", analytic, "numeric", (above - below) / (2 * h))']


def _plain(program: Program, problem: PlainProblem, finding: Finding, func: str, grad: str) -> list[str]:
    which = "" if len(problem.inputs) == 1 else f"[{problem.names.index(finding.argument)}]"
    call, gradient = _call(program, problem, func), _call(program, problem, grad)
    return [f"analytic = np.asarray({gradient}{which})[{finding.at}]",
            *_difference(problem, finding, f"float({call})")]


def _tensors(program: Program, problem: TensorProblem, finding: Finding, func: str, v: np.ndarray) -> list[str]:
    program.define("Tensor", Tensor)
    result = problem.arguments.call(problem.func, problem.tensors(problem.copies()))
    found = [(path, leaf) for path, leaf in leaves(result) if isinstance(leaf, Tensor) and leaf.dtype.kind == "f"]
    places = ["".join(f"[{key!r}]" for key in path) for path, _ in found]
    parts = problem.split([leaf for _, leaf in found], problem.spread(v))
    lines = [f"v{i} = {_cotangent_line(part)}" for i, part in enumerate(parts)]
    lines += [f"{x}_leaf = Tensor({x}.copy(), requires_grad=True)" for x in map(_variable, problem.names)]
    lines.append(f"out = {_call(program, problem, func, '{}_leaf')}")
    lines.append("(" + " + ".join(f"(out{place} * v{i}).sum()" for i, place in enumerate(places)) + ").backward()")
    x = _variable(finding.argument)
    lines.append(f"analytic = 0.0 if {x}_leaf.grad is None else {x}_leaf.grad[{finding.at}]")
    kept = "" if problem.finite is None else "[v{i} != 0]"  # infinite outputs were left out
    value = " + ".join(f"float(np.sum((out{place}.numpy() * v{i}){kept.format(i=i)}))"
                       for i, place in enumerate(places))
    lines += _value(f"out = {_call(program, problem, func, 'Tensor({})')}", value)
    return lines + _difference(problem, finding, "value()")


def _value(statement: str, result: str) -> list[str]:
    """The definition of `value()`, what a central difference is taken of."""
    return ["", "", "def value():", f"    {statement}", f"    return {result}", "", ""]


def _again(program: Program, problem: CallProblem, func: str, seed: int, grad: str, order: int) -> list[str]:
    program.use("from tinygpt.testing import gradcheck")
    if not grad:
        program.define("Tensor", Tensor)
    inner = _call(program, problem, func, "{}" if grad else "Tensor({}, requires_grad=True)")[len(func) + 1:-1]
    extra = (f", grad={grad}" if grad else "") + (f", seed={seed}" if seed else "")
    extra += ", order=2" if order == 2 else ""
    return [f"gradcheck({func}, {inner}{extra})"]


def rule_snippet(rule: Callable, inputs: Sequence[Any], settings: dict[str, Any], names: Sequence[str],
                 constants: Sequence[str], finding: Finding, seed: int) -> str:
    """The program for a rule.

    Args:
        rule: `rule(xp, *inputs, **settings)`.
        inputs, settings: what it was checked with.
        names: of the inputs.
        constants: those without a gradient by design.
        finding: what was found.
        seed: of the check.
    """
    program = Program()
    func = _name_of(rule)
    program.define(func, rule)
    variables = [f"x{i}" for i in range(len(inputs))]
    program.lines += [f"{x} = {_array_line(x, value) if isinstance(value, np.ndarray) else repr(value)}"
                      for x, value in zip(variables, inputs)]
    for setting, value in settings.items():
        program.define(setting, value)
    call = ", ".join([*variables, *(f"{setting}={setting}" for setting in settings)])
    if not finding.has_slope:
        program.use("from tinygpt.testing import check_vjp")
        extra = (f", constants={tuple(constants)}" if constants else "") + (f", seed={seed}" if seed else "")
        program.lines.append(f"check_vjp({func}, {call}{extra})")
        return str(program)

    with np.errstate(all="ignore"):
        found = rule(np, *inputs, **settings)[0]
    outs = [np.asarray(out) for out in (found if isinstance(found, tuple) else (found,))]
    finite = [np.isfinite(out) for out in outs]
    v = draw_cotangent(np.random.default_rng(seed), sum(int(mask.sum()) for mask in finite))
    for i, mask in enumerate(finite):
        part = np.zeros(mask.shape)
        part[mask], v = v[:mask.sum()], v[mask.sum():]
        program.lines.append(f"v{i} = {_cotangent_line(part)}")
    several = isinstance(found, tuple)
    cotangents = ", ".join(f"v{i}" for i in range(len(outs)))
    k = list(names).index(finding.argument)
    program.lines += [
        f"backward = {func}(np, {call})[1]",
        f"analytic = backward({f'({cotangents},)' if several else 'v0'})[{k}]",
        "analytic = analytic() if callable(analytic) else analytic",
        f"analytic = 0.0 if analytic is None else analytic[{finding.at}]",
        *_value(f"outs = {func}(np, {call})[0]", "sum(float(np.sum(out * v)) for out, v in zip("
                f"{'outs' if several else '[outs]'}, [{cotangents}]))")]
    program.lines += _steps(variables[k], inputs[k], finding, "value()")
    return str(program)
