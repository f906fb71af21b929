"""A model's parameters as the inputs of a problem: the loss as a function of all weights.

While a check runs, the weights are float64 and the model is in evaluation mode; afterwards everything is as it was.

Prerequisites: problem.py. Next: line.py.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ...autograd import Tensor, no_grad
from ...backend import Array, to_device, to_numpy
from ...nn.module import Module, Parameter
from .arguments import function_name
from .problem import Problem, gradients_of, host_array, restored

__all__ = ["ParameterProblem", "around", "evaluating", "in_float64", "named"]


def named(params: Any) -> dict[str, Tensor]:
    """Parameters by name: of a model, a dictionary, (name, Tensor) pairs, a sequence of Tensors, or one Tensor.

    Raises:
        TypeError: something else.
        ValueError: none that requires a gradient.
    """
    if hasattr(params, "named_parameters"):
        params = params.named_parameters()
    if isinstance(params, Tensor):
        params = {"parameter": params}
    found: dict[str, Tensor] = {}
    for i, item in enumerate(params.items() if isinstance(params, dict) else params):
        name, p = item if isinstance(item, tuple) and len(item) == 2 else (f"parameters[{i}]", item)
        if not isinstance(p, Tensor):
            raise TypeError(f"expected Tensors as parameters, got {type(p).__name__} for {name}")
        if p.requires_grad:
            found[name] = p
    if not found:
        raise ValueError("no parameter requires a gradient: there is nothing to check")
    return found


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode inside the block, for a model that has one."""
    training = getattr(model, "training", False)
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()


@contextlib.contextmanager
def in_float64(parameters: dict[str, Tensor], holders: Iterable[Any] = ()) -> Iterator[dict[str, Tensor]]:
    """Float64 weights inside the block; weights and gradients are restored after it.

    A parameter that an optimizer holds keeps its type, float32. In a model, another Parameter takes its place for the
    while; without the model there is no place to put one, and the weight stays as it is.

    Args:
        parameters: by name.
        holders: the Modules among these have the parameters.

    Yields:
        the parameters to be checked, by name.
    """
    with restored(parameters.values()):
        places: dict[int, Tensor] = {}
        for p in parameters.values():
            if p.dtype != np.float64:
                p.data = p.data.astype(np.float64)
            if p.dtype != np.float64:
                places[id(p)] = Parameter(p.data.astype(np.float64))
        with _exchanged(holders, places) as done:
            yield {name: places[id(p)] if id(p) in done else p for name, p in parameters.items()}


@contextlib.contextmanager
def _exchanged(holders: Iterable[Any], places: dict[int, Tensor]) -> Iterator[set[int]]:
    """Other Parameters in the attributes of models, by the id of those whose place they take; yields the ids found."""
    done: set[int] = set()

    def exchange(value: Any) -> Any:
        if isinstance(value, (list, tuple)) and any(id(item) in places for item in value):
            return type(value)(map(exchange, value))
        if id(value) in places:
            done.add(id(value))
        return places.get(id(value), value)

    before = []
    try:
        modules = [module for model in holders if places and isinstance(model, Module) for module in model.modules()]
        for module in modules:
            for name, value in list(vars(module).items()):
                other = exchange(value)
                if other is not value:
                    before.append((module, name, value))
                    setattr(module, name, other)
        yield done
    finally:
        for module, name, value in before:
            setattr(module, name, value)


class ParameterProblem(Problem):
    """The loss as a function of the parameters.

    Args:
        f: the loss: a function of nothing, or of the parameters, that returns a Tensor of one element.
        parameters: by name.
    """

    def __init__(self, f: Callable, parameters: dict[str, Tensor]) -> None:
        super().__init__(function_name(f), list(parameters), [
            np.array(to_numpy(p.data), dtype=np.float64, order="C") for p in parameters.values()])
        self.f, self.parameters = f, list(parameters.values())
        self.takes = _n_arguments(f)

    def loss(self, arrays: Sequence[np.ndarray]) -> Tensor:
        """The loss with these weights, on the tape."""
        for p, array in zip(self.parameters, arrays):
            p.data = to_device(np.asarray(array, dtype=p.dtype if array.dtype.kind == "f" else None), p.device)
        result = self.f(*(self.parameters if self.takes else ()))
        if not isinstance(result, Tensor) or result.size != 1:
            what = f"a Tensor of shape {result.shape}" if isinstance(result, Tensor) else type(result).__name__
            raise TypeError(f"{self.name} returned {what}, expected the loss, a Tensor of one element")
        return result

    def outputs(self, arrays: Sequence[np.ndarray]) -> list[Array]:
        with no_grad():
            return [host_array(self.loss(arrays))]

    def vjp(self, arrays: Sequence[np.ndarray], v: np.ndarray) -> list[np.ndarray | None]:
        for p in self.parameters:
            p.grad = None
        loss = self.loss(arrays)
        if loss.requires_grad:
            loss.backward(v.reshape(loss.shape))
        return [None if g is None else g.astype(np.float64) for g in gradients_of(self.parameters)]


def around(f: Callable) -> list[Any]:
    """What a function finds outside its arguments: its owner, and the values in its closure and its module."""
    try:
        found = inspect.getclosurevars(f)
    except TypeError:  # an object that can be called
        return [f]
    return [getattr(f, "__self__", None), *found.nonlocals.values(), *found.globals.values()]


def _n_arguments(f: Callable) -> int:
    """How many arguments a function must be given."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return 0
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
               for p in parameters)
