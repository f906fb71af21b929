"""The differentiable operation: a rule becomes a function of Tensors, and an entry of `OPS`.

A *rule* is a plain function of arrays. It returns its output and a closure that turns the gradient of the output into
the gradients of the inputs. The two stand side by side, so an operation is read, and checked, in one place:

    @differentiable
    def multiply(xp, x, y):
        def backward(g):                        # d(xy) = y dx + x dy
            return unbroadcast(g * y, x), unbroadcast(g * x, y)
        return x * y, backward

Prerequisites: tensor.py. Next: ops/elementwise.py, the first rules.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..arrays import Array, array_module
from .graph import Node, Output, Rule, parts_of
from .recording import is_grad_enabled
from .tensor import Tensor, wrap

_MISSING = inspect.Parameter.empty

__all__ = ["Engine", "OPS", "Operation", "differentiable", "unbroadcast"]


class Engine:
    """How operations are carried out: this one goes by the book. The whole program puts another in its place, which
    knows other ways to the same numbers."""

    node = Node

    def run(self, operation: Operation, arrays: Sequence[Any], settings: dict[str, Any], recorded: bool) -> Output:
        """Output and closure of an operation: what its rule says.

        Args:
            arrays: the inputs, without the Tensors around them.
            recorded: whether the closure will be needed.
        """
        return operation.rule(array_module(*arrays), *arrays, **settings)


class Operation:
    """An entry of `OPS`.

    Attributes:
        name: its key in `OPS`.
        rule: `rule(xp, *arrays, **settings) -> (output, backward)`.
        inputs, settings: the names of what has a gradient, and of what has none, with their defaults.
    """

    engine = Engine()

    def __init__(self, name: str, rule: Rule) -> None:
        self.name, self.rule = name, rule
        parameters = list(inspect.signature(rule).parameters.values())[1:]  # without xp
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.inputs = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
        self.settings = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        self.n_inputs = 1 if self.variadic else len(self.inputs)

    def arguments(self, given: Sequence[Any], named: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Inputs and settings of a call in any way that Python knows: softmax(x, -1), linear(x, weight=w)."""
        inputs = {"xs": _MISSING} if self.variadic else self.inputs
        names = [*inputs, *self.settings]
        found = dict(zip(names, given))
        if len(given) > len(names) or any(name in named for name in list(found)[self.n_inputs:]):
            raise TypeError(f"{self.name} takes {self.n_inputs} inputs, then the settings ({', '.join(self.settings)});"
                            f" got {len(given)} arguments by position"
                            + (f" and {', '.join(named)} by name" if named else ""))
        for name in found.keys() & named.keys():
            raise TypeError(f"{self.name}: multiple values for argument {name!r}")
        found |= named
        values = [found.pop(name, default) for name, default in inputs.items()]
        for name, value in zip(inputs, values):
            if value is _MISSING:
                raise TypeError(f"{self.name}: missing a required input: {name!r}")
        return values, found

    def plain(self, name: str, value: Any) -> Any:
        """A setting as the rule gets it: a scalar of NumPy's, which would widen float32, as Python's number."""
        if isinstance(value, Tensor):
            raise TypeError(f"{self.name}: {name} is a Tensor, and a setting has no gradient: give float(…) of it, or "
                            "put the operation together from others")
        return value.item() if isinstance(value, np.generic) else value

    def __call__(self, inputs: Sequence[Any], settings: dict[str, Any]) -> Any:
        """Apply to Tensors, arrays and numbers; the result is on the tape if an input requires a gradient."""
        if self.variadic:
            inputs = list(inputs[0])  # one sequence of inputs
        for value in settings.values():
            if isinstance(value, (Tensor, np.generic)):
                settings = {name: self.plain(name, value) for name, value in settings.items()}
                break
        arrays, tracked = [], False
        for x in inputs:
            if isinstance(x, Tensor):
                tracked = tracked or x.requires_grad
                x = x.data
            elif isinstance(x, (list, tuple)) or (len(inputs) == 1 and isinstance(x, (int, float, complex))):
                x = np.asarray(x)
            arrays.append(x)
        recorded = tracked and is_grad_enabled()
        out, backward = self.engine.run(self, arrays, settings, recorded)
        if not recorded and type(out) is np.ndarray:
            return wrap(out)
        if isinstance(out, (np.generic, int, float, complex)):
            out = np.asarray(out)
        if not recorded:
            return tuple([wrap(part) for part in out]) if type(out) is tuple else wrap(out)
        sources = [(x._node or x) if isinstance(x, Tensor) and x.requires_grad else None for x in inputs]
        sources += [None] * (self.n_inputs - len(inputs))  # optional inputs that were left out
        if type(out) is tuple:
            nodes = parts_of(self.engine.node(self.name, backward, sources, out[0]), out, self.engine.node)
            return tuple(wrap(part, node) for part, node in zip(out, nodes))
        return wrap(out, self.engine.node(self.name, backward, sources, out))


OPS: dict[str, Operation] = {}


def differentiable(rule: Rule) -> Callable[..., Any]:
    """Make a rule `rule(xp, *arrays, **settings) -> (output, backward)` a function of Tensors, and enter it in `OPS`.

    `xp` is the array module of the inputs, numpy or cupy; callers leave it out. Inputs are positional and may be
    Tensors, arrays or numbers; settings are keyword-only. `backward(g)` gets the gradient of the output, which it
    must not change, and returns for each input an array of the input's shape and dtype, a function of no arguments
    that computes that array when it is wanted, or None. A rule that takes `*xs` is called with one list of inputs. One
    that returns a tuple of outputs gives a tuple of Tensors, and its `backward` gets the tuple of their gradients.

    >>> @differentiable
    ... def cube(xp, x):
    ...     def backward(g):                 # d(x³) = 3x² dx
    ...         return (3 * x * x * g,)
    ...     return x ** 3, backward
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> cube(x).backward([1.0, 1.0])
    >>> x.grad
    array([ 3., 12.])
    """
    name = rule.__name__
    if name in OPS and (OPS[name].rule.__module__, OPS[name].rule.__qualname__) != (rule.__module__, rule.__qualname__):
        name = f"{rule.__module__}.{rule.__qualname__}"  # a user's rule never takes the place of one that is there
    operation = OPS[name] = Operation(name, rule)
    call, names = operation.__call__, operation.inputs.keys()

    @functools.wraps(rule)
    def apply(*inputs: Any, **settings: Any) -> Any:
        if len(inputs) > operation.n_inputs or not names.isdisjoint(settings):
            return call(*operation.arguments(inputs, settings))
        return call(inputs, settings)

    signature = inspect.signature(rule)
    apply.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=list(signature.parameters.values())[1:], return_annotation=Tensor)
    apply.operation = operation  # type: ignore[attr-defined]
    return apply


def unbroadcast(g: Array, like: Any) -> Array:
    """Sum a gradient down to the shape that broadcasting started from; the adjoint of broadcasting.

    A value that broadcasting copied to n places contributes n times, so its gradient is the sum of theirs.

    Args:
        g: the gradient, of the broadcast shape.
        like: the input, whose shape and dtype the result has; or a shape. A number takes no gradient: None.
    """
    if isinstance(like, (int, float, complex)):
        return None
    shape = like if isinstance(like, tuple) else like.shape
    if g.shape != shape:
        extra = g.ndim - len(shape)
        axes = tuple(range(extra)) + tuple(
            extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1)
        g = g.sum(axis=axes, keepdims=True).reshape(shape)
    if isinstance(like, tuple) or g.dtype is like.dtype:
        return g
    return (g.real if g.dtype.kind == "c" != like.dtype.kind else g).astype(like.dtype, copy=False)
