"""A program that reproduces a finding: the function, the input to the bit, the gradient, and a central difference.

It needs NumPy and the function, nothing that found the failure. A broken contract is reproduced by calling `gradcheck`.

Prerequisites: sources.py. Next: gradcheck.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Tensor
from .arguments import leaves
from .oracles import SMALL_STEP
from .problem import CallProblem, PlainProblem, TensorProblem
from .report import Finding
from .sources import MAX_PRINTED, Program, array_text

__all__ = ["array_line", "cotangent_line", "name_of", "snippet", "steps"]


def snippet(problem: CallProblem, finding: Finding, v: np.ndarray, seed: int) -> str:
    """The program's text.

    Args:
        problem: what was checked.
        finding: what was found.
        v: the cotangent of the joined outputs.
        seed: of the check.
    """
    program = Program()
    func = name_of(problem.func)
    program.define(func, problem.func)
    inputs = [f"{_variable(name)} = {array_line(name, x)}" for name, x in zip(problem.names, problem.inputs)]
    numeric = finding.kind == "gradient" and finding.index is not None and finding.oracle != "one-sided differences"
    if isinstance(problem, PlainProblem):
        grad = name_of(problem.grad) if name_of(problem.grad) != func else f"{func}_grad"
        program.define(grad, problem.grad)
        lines = _plain(program, problem, finding, func, grad) if numeric else _again(program, problem, func, seed, grad)
    else:
        assert isinstance(problem, TensorProblem)
        lines = _tensors(program, problem, finding, func, v) if numeric else _again(program, problem, func, seed)
    program.lines += inputs + lines
    return str(program)


def cotangent_line(part: np.ndarray) -> str:
    """An expression for a cotangent."""
    if part.size <= MAX_PRINTED:
        return array_text(part)
    return f"np.random.default_rng(0).uniform(0.5, 1.5, {part.shape})  # which one, hardly matters"


def name_of(function: Callable) -> str:
    """What the function is called in the program."""
    name = getattr(function, "__name__", "")
    return name if name.isidentifier() else "func"


def _variable(name: str) -> str:
    """A Python name for an argument such as pair[0]."""
    plain = "".join(c if c.isalnum() else "_" for c in name).strip("_")
    return plain if plain.isidentifier() else f"x_{plain}"


def array_line(name: str, x: np.ndarray) -> str:
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
    return steps(_variable(finding.argument), problem.inputs[k], finding, value)


def steps(x: str, array: np.ndarray, finding: Finding, value: str) -> list[str]:
    """Lines that step the element of x that a finding is about up and down, and print what comes of it."""
    assert finding.index is not None
    entry = array[finding.index]
    at = ", ".join(map(str, finding.index)) if finding.index else "()"
    return [f"h = {SMALL_STEP * (abs(float(entry)) or 1.0)!r}",
            f"{x}[{at}] += h", f"above = {value}", f"{x}[{at}] -= 2 * h", f"below = {value}",
            'print("analytic", analytic, "numeric", (above - below) / (2 * h))']


def _plain(program: Program, problem: PlainProblem, finding: Finding, func: str, grad: str) -> list[str]:
    at = ", ".join(map(str, finding.index or ())) or "()"
    which = "" if len(problem.inputs) == 1 else f"[{problem.names.index(finding.argument)}]"
    call, gradient = _call(program, problem, func), _call(program, problem, grad)
    return [f"analytic = np.asarray({gradient}{which})[{at}]",
            *_difference(problem, finding, f"float({call})")]


def _tensors(program: Program, problem: TensorProblem, finding: Finding, func: str, v: np.ndarray) -> list[str]:
    program.define("Tensor", Tensor)
    result = problem.arguments.call(problem.func, problem.tensors([x.copy() for x in problem.inputs]))
    found = [(path, leaf) for path, leaf in leaves(result) if isinstance(leaf, Tensor) and leaf.dtype.kind == "f"]
    places = ["".join(f"[{key!r}]" for key in path) for path, _ in found]
    parts = problem.split([leaf for _, leaf in found], problem.spread(v))
    lines = []
    for i, part in enumerate(parts):
        lines.append(f"v{i} = {cotangent_line(part)}")
    at = ", ".join(map(str, finding.index or ())) or "()"
    for name in problem.names:
        lines.append(f"{_variable(name)}_leaf = Tensor({_variable(name)}.copy(), requires_grad=True)")
    lines.append(f"out = {_call(program, problem, func, '{}_leaf')}")
    lines.append("(" + " + ".join(f"(out{place} * v{i}).sum()" for i, place in enumerate(places)) + ").backward()")
    x = _variable(finding.argument)
    lines.append(f"analytic = 0.0 if {x}_leaf.grad is None else {x}_leaf.grad[{at}]")
    kept = "" if problem.finite is None else "[v{i} != 0]"  # infinite outputs were left out
    value = " + ".join(f"float(np.sum((out{place}.numpy() * v{i}){kept.format(i=i)}))"
                       for i, place in enumerate(places))
    lines += ["", "", "def value():", f"    out = {_call(program, problem, func, 'Tensor({})')}"]
    lines += [f"    return {value}", "", ""]
    return lines + _difference(problem, finding, "value()")


def _again(program: Program, problem: CallProblem, func: str, seed: int, grad: str = "") -> list[str]:
    program.use("from tinygpt.testing import gradcheck")
    if not grad:
        program.define("Tensor", Tensor)
    inner = _call(program, problem, func, "{}" if grad else "Tensor({}, requires_grad=True)")[len(func) + 1:-1]
    extra = (f", grad={grad}" if grad else "") + (f", seed={seed}" if seed else "")
    return [f"gradcheck({func}, {inner}{extra})"]
