"""A program that reproduces what is wrong with a rule, which it calls directly: with NumPy alone.

Prerequisites: snippet.py. Next: vjp.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .report import Finding
from .snippet import array_line, cotangent_line, name_of, steps
from .sources import Program
from .values import draw_cotangent

__all__ = ["rule_snippet"]


def rule_snippet(rule: Callable, inputs: Sequence[Any], settings: dict[str, Any], names: Sequence[str],
                 constants: Sequence[str], finding: Finding, seed: int) -> str:
    """The program's text.

    Args:
        rule: `rule(xp, *inputs, **settings)`.
        inputs, settings: what it was checked with.
        names: of the inputs.
        constants: those without a gradient by design.
        finding: what was found.
        seed: of the check.
    """
    program = Program()
    func = name_of(rule)
    program.define(func, rule)
    variables = [f"x{i}" for i in range(len(inputs))]
    program.lines += [f"{x} = {array_line(x, value) if isinstance(value, np.ndarray) else repr(value)}"
                      for x, value in zip(variables, inputs)]
    for setting, value in settings.items():
        program.define(setting, value)
    call = ", ".join([*variables, *(f"{setting}={setting}" for setting in settings)])
    if finding.kind != "gradient" or finding.index is None or finding.oracle == "one-sided differences":
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
        program.lines.append(f"v{i} = {cotangent_line(part)}")
    several = isinstance(found, tuple)
    cotangents = ", ".join(f"v{i}" for i in range(len(outs)))
    at = ", ".join(map(str, finding.index)) or "()"
    program.lines += [
        f"backward = {func}(np, {call})[1]",
        f"analytic = backward({f'({cotangents},)' if several else 'v0'})[{list(names).index(finding.argument)}]",
        "analytic = analytic() if callable(analytic) else analytic",
        f"analytic = 0.0 if analytic is None else analytic[{at}]",
        "", "", "def value():",
        f"    outs = {func}(np, {call})[0]",
        f"    return sum(float(np.sum(out * v)) for out, v in zip({'outs' if several else '[outs]'}, [{cotangents}]))",
        "", ""]
    k = list(names).index(finding.argument)
    program.lines += steps(variables[k], inputs[k], finding, "value()")
    return str(program)
