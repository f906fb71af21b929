"""The contracts of a rule, whose closure can be held in the hand and called more than once.

Prerequisites: base.py. Next: twins.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...autograd import Operation
from ...backend import Array, array_module, device_of, to_device, to_numpy
from ...engine.deferred import Deferred
from ..oracles.arguments import function_name, is_floating
from .base import (NONDETERMINISTIC, Broken, Watch, arrays_in, check_form, near, overlap, same, same_gradient,
                   size_of)

__all__ = ["FLOAT32", "FLOOR32", "RuleCall", "RuleUse", "as_function", "as_rule", "check_float32", "check_rerun",
           "check_rule",
           "in_dtype", "input_names"]

FLOAT32, FLOOR32 = 2e-3, 0.05  # of the largest entry (or of a number near 1): room for rounding, none for a mistake


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


def in_dtype(inputs: Sequence[Any], dtype: Any) -> list[Any]:
    """The inputs with the floating-point arrays among them converted; copies."""
    return [x.astype(dtype) if is_floating(x) else x for x in inputs]


class RuleUse:
    """A rule with all its arguments, ready to be called.

    Args:
        rule: `rule(xp, *inputs, **settings)`.
        inputs: the positional arguments; optional ones may be left out.
        settings: the keyword arguments.
        constants: names of the floating-point inputs without a gradient.

    Attributes:
        names: one for each input.
        inputs: as given, with None for those that were left out.
        checked: positions of the inputs whose gradient is wanted.
    """

    def __init__(self, rule: Callable, inputs: Sequence[Any], settings: dict[str, Any],
                 constants: Sequence[str] = ()) -> None:
        self.rule, self.settings, self.constants = rule, settings, constants
        self.names = input_names(rule, len(inputs))
        self.inputs = [*inputs, *[None] * (len(self.names) - len(inputs))]
        self.checked = [k for k, (name, x) in enumerate(zip(self.names, self.inputs))
                        if is_floating(x) and name not in constants]

    def in_dtype(self, dtype: Any) -> RuleUse:
        """The same with copies of the inputs in another dtype."""
        return RuleUse(self.rule, in_dtype(self.inputs, dtype), self.settings, self.constants)

    def shaken(self, eps: float, rng: np.random.Generator) -> RuleUse:
        """The same with inputs that are off by a few digits, of which the last is worth `eps` of a number."""
        inputs = [x * to_device(1 + 4 * eps * rng.choice([-1.0, 1.0], x.shape), device_of(x)) if is_floating(x) else x
                  for x in self.inputs]
        inputs = [np.asarray(x) if isinstance(x, np.generic) else x for x in inputs]  # of an array without axes
        return RuleUse(self.rule, inputs, self.settings, self.constants)

    def call(self, rule: Callable | None = None) -> RuleCall:
        """Call the rule, or another in its place."""
        return RuleCall(self, self.rule if rule is None else rule)


def _running(function: Callable[[], Any]) -> Any:
    """What the function returns; Broken if it raises."""
    try:
        with np.errstate(all="ignore"):
            return function()
    except Exception as error:
        raise Broken("backward runs", f"{type(error).__name__}: {error}") from error


class RuleCall:
    """One call of a rule: its outputs and its closure.

    Attributes:
        watch: the inputs, which nobody may change.

    Raises:
        Broken: the rule returned something else than output and closure.
    """

    def __init__(self, use: RuleUse, rule: Callable) -> None:
        self.inputs, self.names, self.checked = use.inputs, use.names, use.checked
        self.watch = Watch()
        self.watch.add_inputs(self.names, self.inputs)
        with np.errstate(all="ignore"):
            result = rule(array_module(*self.inputs), *self.inputs, **use.settings)
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


def check_rule(call: RuleCall, rng: np.random.Generator) -> None:
    """Form, no mutation, memory of its own, repeatability.

    Args:
        call: the call.
        rng: draws the cotangents.

    Raises:
        Broken: the first contract that does not hold.
    """
    watch = call.watch
    watch.check("the rule")
    for out in call.outputs:
        if out.dtype.kind != "f":
            raise Broken("dtype", f"the rule returned {out.dtype} for floating-point inputs")
    saved, cotangents = list(arrays_in(call.backward)), call.cotangents(rng)
    for array in saved:
        watch.add("saved arrays", "an array that it had saved: its next call would see other numbers", array)
    for out in call.outputs:
        watch.add("output", "the output of the rule", out)
    for g in cotangents:
        watch.add("cotangent", "the gradient that it was given, which others may hold too", g)

    runs = []
    for _ in range(2):
        found = call.gradients(cotangents)
        runs.append([None if dx is None else dx.copy() for dx in found])
        watch.check("backward")
    for k in call.checked:
        _own_memory(call, k, found[k], saved)
        if not same_gradient(runs[0][k], runs[1][k]):
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


def check_rerun(call: RuleCall, again: RuleCall) -> None:
    """Broken, and undecided, unless the rule gives the same outputs again: to the bit on a CPU."""
    equal = same if all(isinstance(out, np.ndarray) for out in call.outputs) else near
    if not all(map(equal, call.outputs, again.outputs)):
        raise Broken("rerun", NONDETERMINISTIC, undecided=True)


def check_float32(use: RuleUse, rng: np.random.Generator) -> None:
    """In float32 a rule stays float32, and agrees with itself in float64.

    The last digits of float32 may matter much, as to the sine of a large number. How much, float64 tells of inputs that
    are off by as much.

    Raises:
        Broken: another dtype, or numbers further apart than rounding explains.
    """
    narrow = use.in_dtype(np.float32)
    wide = narrow.in_dtype(np.float64)
    call, reference, shaken = narrow.call(), wide.call(), wide.shaken(float(np.finfo(np.float32).eps), rng).call()

    def apart(expected: Array, got: Array, moved: Array) -> bool:
        rounding = 4 * size_of(to_numpy(moved) - to_numpy(expected))
        return not near(expected, to_numpy(got).astype(np.float64), max(FLOOR32, rounding / FLOAT32), FLOAT32)

    for out, expected, moved in zip(call.outputs, reference.outputs, shaken.outputs):
        if out.dtype != np.float32:
            raise Broken("float32", f"the output for float32 inputs is {out.dtype}")
        if apart(expected, out, moved):
            raise Broken("float32", "the float32 output differs from the float64 one by more than rounding")
    cotangents = [g.astype(np.float32) for g in reference.cotangents(rng)]
    widened = [g.astype(np.float64) for g in cotangents]
    for name, dx, expected, moved in zip(call.names, call.gradients(cotangents), reference.gradients(widened),
                                         shaken.gradients(widened)):
        if dx is not None and expected is not None and apart(expected, dx, moved):
            gap = float(np.abs(to_numpy(expected) - to_numpy(dx)).max())
            raise Broken("float32", f"the float32 gradient of {name} differs from the float64 one by {gap:.3g}, more "
                         "than rounding", name)
