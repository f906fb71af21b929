"""The contracts of a rule, whose closure can be held in the hand and called more than once.

Prerequisites: contracts.py. Next: vjp.py, twins.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine.deferred import Deferred
from ..backend import Array, array_module, device_of, to_device, to_numpy
from .contracts import Broken, arrays_in, check_form, near, overlap, same

__all__ = ["FLOAT32", "RuleCall", "check_float32", "check_rule", "in_dtype"]

FLOAT32, FLOOR32 = 2e-3, 0.05  # of the largest entry (or of a number near 1): room for rounding, none for a mistake


def _floating(x: Any) -> bool:
    return getattr(getattr(x, "dtype", None), "kind", "") == "f"


def in_dtype(inputs: Sequence[Any], dtype: Any) -> list[Any]:
    """The inputs with the floating-point arrays among them converted; copies."""
    return [x.astype(dtype) if _floating(x) else x for x in inputs]


def _running(function: Callable[[], Any]) -> Any:
    """What the function returns; Broken if it raises."""
    try:
        with np.errstate(all="ignore"):
            return function()
    except Exception as error:
        raise Broken("backward runs", f"{type(error).__name__}: {error}") from error


class RuleCall:
    """One call of a rule: its outputs, its closure, and the names of its inputs.

    Args:
        rule: `rule(xp, *inputs, **settings)`.
        inputs: all of them.
        names: one for each input.
        checked: positions of those whose gradient is wanted.

    Raises:
        Broken: the rule returned something else than output and closure.
    """

    def __init__(self, rule: Callable, inputs: Sequence[Any], settings: dict[str, Any], names: Sequence[str],
                 checked: Sequence[int]) -> None:
        self.inputs, self.names, self.checked = inputs, names, checked
        with np.errstate(all="ignore"):
            result = rule(array_module(*inputs), *inputs, **settings)
        if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
            raise Broken("form", f"a rule returns its output and a function backward(g), got {type(result).__name__}")
        self.several = isinstance(result[0], tuple)
        found = result[0] if self.several else (result[0],)
        self.outputs: list[Array] = [np.asarray(out) if isinstance(out, (np.generic, float)) else out for out in found]
        self.backward = result[1]

    def cotangents(self, rng: np.random.Generator) -> list[Array]:
        """Random cotangents of the outputs' form."""
        return [to_device(np.asarray(rng.standard_normal(out.shape)).astype(out.dtype), device_of(out))
                for out in self.outputs]

    def deferred(self, cotangents: Sequence[Array]) -> list[Any]:
        """What the closure returns for each checked input, functions not yet called; None for the other inputs."""
        found = _running(lambda: self.backward(tuple(cotangents) if self.several else cotangents[0]))
        if not isinstance(found, (tuple, list)):
            raise Broken("form", f"backward returned {type(found).__name__}, expected a tuple of gradients")
        if len(found) != len(self.names):
            raise Broken("form", f"backward returned {len(found)} gradients for {len(self.names)} inputs "
                         f"({', '.join(self.names)})")
        return [dx if k in self.checked else None for k, dx in enumerate(found)]

    def gradients(self, cotangents: Sequence[Array]) -> list[Any]:
        """The gradient of each checked input, of its input's form; None for the others."""
        found = []
        with np.errstate(all="ignore"):
            for k, dx in enumerate(self.deferred(cotangents)):
                dx = _running(dx) if callable(dx) else dx
                if dx is not None:
                    dx = np.asarray(dx) if isinstance(dx, np.generic) else dx
                    check_form(self.names[k], dx, self.inputs[k])
                found.append(dx)
        return found


def check_rule(call: RuleCall, before: Sequence[Any], rng: np.random.Generator) -> None:
    """Form, no mutation, memory of its own, repeatability.

    Args:
        call: the call.
        before: copies of the inputs, made before it.
        rng: draws the cotangents.

    Raises:
        Broken: the first contract that does not hold.
    """
    def unchanged(who: str) -> None:
        for name, x, old in zip(call.names, call.inputs, before):
            if hasattr(x, "dtype") and not same(x, old):
                raise Broken("inputs unchanged", f"{who} changed its input {name} in place", name)

    unchanged("the rule")
    for out in call.outputs:
        if out.dtype.kind != "f":
            raise Broken("dtype", f"the rule returned {out.dtype} for floating-point inputs")
    watched = [("saved arrays", "an array that it had saved: its next call would see other numbers", array)
               for array in arrays_in(call.backward)]
    watched += [("output", "the output of the rule", out) for out in call.outputs]
    cotangents = call.cotangents(rng)
    watched += [("cotangent", "the gradient that it was given, which others may hold too", g) for g in cotangents]
    kept = [array.copy() for _, _, array in watched]

    runs = []
    for _ in range(2):
        found = call.gradients(cotangents)
        runs.append([None if dx is None else dx.copy() for dx in found])
        unchanged("backward")
        for (what, whose, array), old in zip(watched, kept):
            if not same(array, old):
                raise Broken(f"{what} unchanged", f"backward changed {whose}")
    for k in call.checked:
        _own_memory(call, k, found[k], [array for what, _, array in watched if what == "saved arrays"])
        a, b = runs[0][k], runs[1][k]
        if (a is None) != (b is None) or (a is not None and not same(a, b)):
            raise Broken("rerun", f"a second call of the same closure gives another gradient of {call.names[k]}",
                         call.names[k])
    for k, dx in enumerate(call.deferred(cotangents)):
        if isinstance(dx, Deferred):
            _check_deferred(call.names[k], dx, runs[0][k])


def _own_memory(call: RuleCall, k: int, dx: Any, saved: Sequence[Array]) -> None:
    """Views of the cotangent are allowed (the engine never writes into a gradient that it got), views of data not."""
    data = [(f"the input {name}", x) for name, x in zip(call.names, call.inputs)]
    for whose, array in data + [("an array that the closure saved", array) for array in saved]:
        if overlap(dx, array):
            raise Broken("memory", f"the gradient of {call.names[k]} shares memory with {whose}: adding to it in place "
                         "would change both", call.names[k])


def _check_deferred(name: str, dx: Deferred, expected: Array) -> None:
    """The short way into a gradient that exists gives what adding the array would."""
    total = np.ones_like(expected) if isinstance(expected, np.ndarray) else array_module(expected).ones_like(expected)
    dx.add_to(total, vacant=False)
    fresh = total * np.nan
    dx.add_to(fresh, vacant=True)
    if not near(expected + 1, total) or not near(expected, fresh):
        raise Broken("deferred gradient", f"add_to adds something else than the gradient of {name}", name)
    if expected.ndim:  # a part may be added up in another order than the whole, so rounding is allowed for
        half = slice(0, (len(expected) + 1) // 2)
        part = total[half] * 0 + 1
        dx.rows(half).add_to(part, vacant=False)
        tolerances = (FLOOR32, FLOAT32) if total.dtype == np.float32 else ()
        if not near((expected + 1)[half], part, *tolerances):
            raise Broken("deferred gradient", f"rows gives something else than rows of the gradient of {name}", name)


def check_float32(call: RuleCall, reference: RuleCall, cotangents: Sequence[Array]) -> None:
    """A call in float32 stays float32, and agrees with `reference`, the same in float64.

    Raises:
        Broken: another dtype, or numbers further apart than rounding explains.
    """
    def apart(a: Array, b: Array) -> bool:
        return not near(a, to_numpy(b).astype(np.float64), FLOOR32, FLOAT32)

    for out, expected in zip(call.outputs, reference.outputs):
        if out.dtype != np.float32:
            raise Broken("float32", f"the output for float32 inputs is {out.dtype}")
        if apart(expected, out):
            raise Broken("float32", "the float32 output differs from the float64 one by more than rounding")
    found = call.gradients([g.astype(np.float32) for g in cotangents])
    expected_all = reference.gradients([g.astype(np.float32).astype(np.float64) for g in cotangents])
    for name, dx, expected in zip(call.names, found, expected_all):
        if dx is not None and expected is not None and apart(expected, dx):
            gap = float(np.abs(to_numpy(expected) - to_numpy(dx)).max())
            raise Broken("float32", f"the float32 gradient of {name} differs from the float64 one by {gap:.3g}, more "
                         "than rounding", name)
