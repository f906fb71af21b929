"""The contracts that make sense for a plain function and a gradient written by hand: form, no mutation, the same again.

Prerequisites: contracts.py. Next: gradcheck.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import Array
from .contracts import NONDETERMINISTIC, Broken, near, overlap, same
from .problem import EPS, PlainProblem, host_array
from .values import LAYOUTS, in_layout

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
    value, gradient = _run(problem, problem.inputs, notes)
    again, gradient_again = _run(problem, problem.inputs, notes)
    if not same(value, again):
        raise Broken("rerun", NONDETERMINISTIC, undecided=True)
    for name, a, b in zip(problem.names, gradient, gradient_again):
        if (a is None) != (b is None) or (a is not None and not same(a, b)):
            raise Broken("rerun", f"the gradient of {name} differs from one run to the next on the same input", name)
    for layout in LAYOUTS[1:]:
        _other_layout(problem, layout, value, gradient, notes)
    return gradient, list(dict.fromkeys(notes))


def _run(problem: PlainProblem, inputs: Sequence[np.ndarray], notes: list[str],
         layout: str = "C") -> tuple[np.ndarray, list[np.ndarray | None]]:
    """Value and gradient, with the inputs watched."""
    placed = problem.arguments.placed([in_layout(x, layout) for x in inputs])
    with np.errstate(all="ignore"):
        value = problem.value(placed).copy()
    _unchanged(problem, placed, problem.name)
    with np.errstate(all="ignore"):
        found = problem.gradients(placed)
    _unchanged(problem, placed, "grad")
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


def _unchanged(problem: PlainProblem, placed: Sequence[Array], who: str) -> None:
    for name, x, old in zip(problem.names, placed, problem.inputs):
        if not same(x, old):
            raise Broken("inputs unchanged", f"{who} changed its input {name} in place", name)


def _other_layout(problem: PlainProblem, layout: str, value: np.ndarray, gradient: Sequence[np.ndarray | None],
                  notes: list[str]) -> None:
    try:
        other, gradient_other = _run(problem, problem.inputs, [], layout)
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
