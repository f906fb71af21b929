"""The contracts that make sense for a plain function and a gradient written by hand: form, no mutation, the same again.

Prerequisites: base.py. Next: rules.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backend import Array
from ..oracles.problem import EPS, PlainProblem, host_array
from .base import LAYOUTS, NONDETERMINISTIC, Broken, Watch, in_layout, near, overlap, same, same_gradient

__all__ = ["check_plain"]

COARSE = 1e-4  # how near results in another layout must be: the function may compute in float32 inside


def check_plain(problem: PlainProblem) -> tuple[list[np.ndarray | None], list[str]]:
    """All contracts of a plain function at `problem.inputs`.

    Returns:
        the gradient, and notes.

    Raises:
        Broken: the first contract that does not hold.
    """
    notes: list[str] = []
    value, gradient = _run(problem, notes)
    again, gradient_again = _run(problem, notes)
    if not same(value, again):
        raise Broken("rerun", NONDETERMINISTIC, undecided=True)
    for name, a, b in zip(problem.names, gradient, gradient_again):
        if not same_gradient(a, b):
            raise Broken("rerun", f"the gradient of {name} differs from one run to the next on the same input", name)
    for layout in LAYOUTS[1:]:
        _other_layout(problem, layout, value, gradient, notes)
    return gradient, list(dict.fromkeys(notes))


def _run(problem: PlainProblem, notes: list[str], layout: str = "C") -> tuple[np.ndarray, list[np.ndarray | None]]:
    """Value and gradient, with the inputs watched."""
    placed = problem.arguments.placed([in_layout(x, layout) for x in problem.inputs])
    watch = Watch()
    watch.add_inputs(problem.names, placed)
    with np.errstate(all="ignore"):
        value = problem.value(placed).copy()
        watch.check(problem.name)
        found = problem.gradients(placed)
    watch.check("grad")
    gradient = [_as_gradient(name, dx, x, notes) for name, dx, x in zip(problem.names, found, placed)]
    return value, gradient


def _as_gradient(name: str, dx: Any, x: Array, notes: list[str]) -> np.ndarray | None:
    if dx is None:
        return None
    array = host_array(dx)
    if array.dtype.kind not in "biuf":
        raise Broken("dtype", f"the gradient of {name} is {array.dtype}, expected real numbers", name)
    if array.shape != x.shape:
        raise Broken("shape", f"the gradient of {name} has shape {array.shape}, but {name} has shape {x.shape}", name)
    if array.dtype != np.float64:
        notes.append(f"the gradient of {name} came as {array.dtype}")
    if overlap(array, x):
        notes.append(f"grad returned memory of its input {name}: adding to the one in place would change the other")
    return array.astype(np.float64)


def _other_layout(problem: PlainProblem, layout: str, value: np.ndarray, gradient: Sequence[np.ndarray | None],
                  notes: list[str]) -> None:
    try:
        other, gradient_other = _run(problem, [], layout)
    except Broken:
        raise
    except Exception as error:  # other engines may not take every array of NumPy's
        notes.append(f"inputs laid out in memory as {layout} are refused ({type(error).__name__})")
        return
    if not near(value, other, float(problem.rounding.max(initial=0)) / EPS, COARSE):
        raise Broken("layouts", f"the result changes when the inputs are laid out in memory as {layout}")
    for name, a, b in zip(problem.names, gradient, gradient_other):
        if (a is None) != (b is None) or (a is not None and not near(a, b, 0.0, COARSE)):
            raise Broken("layouts", f"the gradient of {name} changes when the inputs are laid out in memory as "
                         f"{layout}", name)
