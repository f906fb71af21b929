"""The differentiable operation: a rule becomes a function of Tensors, and an entry of `OPS`.

Prerequisites: tensor.py, bfloat16.py. Next: ops/ (the rules).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import ON_HOST, Array, array_module, backend_of, device_of, is_bfloat16, on_device
from .bfloat16 import Precision, run_wide
from .grad_mode import is_grad_enabled
from .graph import Node, Output, Part, Rule, Whole
from .tensor import Tensor, wrap

__all__ = ["OPS", "Operation", "Twin", "differentiable", "unbroadcast"]


class Twin:
    """A faster function with the contract of a rule, for one kind of device; see kernels/.

    Attributes:
        recorded: False for one that is asked only where nothing is put on the tape. It has no way back to prepare, and
            returns None for it.
    """

    __slots__ = ("function", "device", "recorded")

    def __init__(self, function: Callable[..., Any], device: str, recorded: bool = True) -> None:
        self.function, self.device, self.recorded = function, device, recorded


class Operation:
    """An entry of `OPS`: a rule, the faster twins that may stand in for it, and whether they may at the moment.

    Attributes:
        name: its key in `OPS`.
        rule: `rule(xp, *arrays, **settings) -> (output, backward)`.
        twins: functions `twin(*arrays, **settings) -> (output, backward)`, or NotImplemented where they cannot serve.
        precision: what becomes of bfloat16; see bfloat16.py.
    """

    twins_enabled = True  # one switch for all: kernels.disabled() turns it

    __slots__ = ("name", "rule", "twins", "signature", "inputs", "n_inputs", "settings", "variadic", "precision")

    def __init__(self, name: str, rule: Rule) -> None:
        self.name, self.rule = name, rule
        self.twins: list[Twin] = []
        self.precision = Precision.ROUNDED
        self.signature = inspect.signature(rule)
        parameters = list(self.signature.parameters.values())[1:]  # without xp
        self.settings = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.inputs = frozenset(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
        self.n_inputs = 1 if self.variadic else len(parameters) - len(self.settings)

    def by_position(self, values: Sequence[Any], settings: dict[str, Any]) -> dict[str, Any]:
        """Settings that were given by position, with those that were given by name."""
        if len(values) > len(self.settings) or any(name in settings for name in self.settings[:len(values)]):
            raise TypeError(f"{self.name} takes {self.n_inputs} inputs, then the settings "
                            f"({', '.join(self.settings)}); got {self.n_inputs + len(values)} arguments by position"
                            + (f" and {', '.join(settings)} by name" if settings else ""))
        return dict(zip(self.settings, values), **settings)

    def by_name(self, inputs: Sequence[Any], settings: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """Inputs and settings, where some of the inputs were given by name."""
        try:
            bound = self.signature.bind(None, *inputs, **settings)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        bound.apply_defaults()
        return bound.args[1:], bound.kwargs

    def __call__(self, inputs: Sequence[Any], settings: dict[str, Any]) -> Any:
        """Apply to Tensors, arrays and numbers; the result is on the tape if an input requires a gradient."""
        if self.variadic:
            inputs = list(inputs[0])  # one sequence of inputs
        arrays = []
        tracked, on_host = False, True
        for x in inputs:
            if isinstance(x, Tensor):
                tracked = tracked or x.requires_grad
                x = x.data
            elif isinstance(x, (list, tuple)) or (len(inputs) == 1 and isinstance(x, (int, float, complex))):
                x = np.asarray(x)
            on_host = on_host and type(x) in ON_HOST
            arrays.append(x)
        recorded = tracked and is_grad_enabled()
        out, backward = self._run(arrays, settings, recorded) if on_host \
            else self._run_on_device(arrays, settings, recorded)
        if not recorded and type(out) is np.ndarray:
            return wrap(out)
        if isinstance(out, (np.generic, int, float, complex)):
            out = np.asarray(out)
        if not recorded:
            return tuple([wrap(part) for part in out]) if type(out) is tuple else wrap(out)
        sources = [(x._node or x) if isinstance(x, Tensor) and x.requires_grad else None for x in inputs]
        sources += [None] * (self.n_inputs - len(inputs))  # optional inputs that were left out
        if type(out) is tuple:
            whole = Whole(self.name, backward, sources, out)
            return tuple(wrap(part, Part(whole, i, part)) for i, part in enumerate(out))
        return wrap(out, Node(self.name, backward, sources, out))

    def _run(self, arrays: Sequence[Any], settings: dict[str, Any], recorded: bool, xp: Any = np,
             kind: str = "cpu") -> Output:
        """Output and closure for plain arrays: of the first twin that serves them, else of the rule."""
        if Operation.twins_enabled:
            for twin in self.twins:
                if twin.device == kind and (twin.recorded or not recorded):
                    result = twin.function(*arrays, **settings)
                    if result is not NotImplemented:
                        return result
        if xp is not np and any(map(is_bfloat16, arrays)):
            return run_wide(self.rule, xp, arrays, settings, self.precision)
        return self.rule(xp, *arrays, **settings)

    def _run_on_device(self, arrays: Sequence[Any], settings: dict[str, Any], recorded: bool) -> Output:
        """The same where a look at the arrays must tell the device, which new arrays are then made on."""
        xp = array_module(*arrays)
        if xp is np:
            return self._run(arrays, settings, recorded)
        first = next(x for x in arrays if hasattr(x, "dtype") and not isinstance(x, np.generic))
        with on_device(device_of(first)):
            return self._run(arrays, settings, recorded, xp, backend_of(first).kind)


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

    call = operation.__call__  # a bound method is called in less time than its object, and each token calls sixty

    @functools.wraps(rule)
    def apply(*inputs: Any, **settings: Any) -> Any:
        if len(inputs) > operation.n_inputs:  # settings by position: softmax(x, -1), sum(x, 0)
            settings = operation.by_position(inputs[operation.n_inputs:], settings)
            inputs = inputs[:operation.n_inputs]
        if settings and not operation.inputs.isdisjoint(settings):  # linear(x, weight=w, bias=b)
            return call(*operation.by_name(inputs, settings))
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
    return g if isinstance(like, tuple) else g.astype(like.dtype, copy=False)
