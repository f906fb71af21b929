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
from .arguments import function_name
from .problem import Problem, gradients_of, host_array, leaves_of, require_recording, restored

__all__ = ["ParameterProblem", "in_float64", "named"]


def named(params: Any) -> dict[str, Tensor]:
    """Parameters by name, frozen ones too: of a model, a dictionary, (name, Tensor) pairs, a sequence of Tensors, or
    one Tensor.

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
        found[name] = p
    if not any(p.requires_grad for p in found.values()):
        raise ValueError("no parameter requires a gradient: there is nothing to check")
    return found


@contextlib.contextmanager
def in_float64(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Float64 weights inside the block, without gradients; afterwards weights and gradients are what they were.

    A parameter that an optimizer holds is away from its home for the while.
    """
    wide = [p for p in parameters if p.dtype.kind not in "biu"]
    with contextlib.ExitStack() as stack:
        for p in wide:
            if hasattr(p, "away"):
                stack.enter_context(p.away())
        stack.enter_context(restored(wide))
        for p in wide:
            p.data = p.data.astype(np.float64)
        yield


class ParameterProblem(Problem):
    """The loss as a function of the parameters.

    Args:
        f: the loss: a function of nothing, or of the parameters, that returns a Tensor of one element.
        parameters: by name; the frozen ones are constants.
    """

    def __init__(self, f: Callable, parameters: dict[str, Tensor]) -> None:
        require_recording("taylor_test")
        checked = {name: p for name, p in parameters.items() if p.requires_grad}
        super().__init__(function_name(f), list(checked), [
            np.array(to_numpy(p.data), dtype=np.float64, order="C") for p in checked.values()])
        self.f, self.parameters, self.given = f, list(checked.values()), list(parameters.values())
        self.takes = _n_arguments(f)

    def loss(self, arrays: Sequence[np.ndarray]) -> Tensor:
        """The loss with these weights, on the tape."""
        for p, array in zip(self.parameters, arrays):
            p.data = to_device(array, p.device)
        result = self.f(*(self.given if self.takes else ()))
        if not isinstance(result, Tensor) or result.size != 1:
            what = f"a Tensor of shape {result.shape}" if isinstance(result, Tensor) else type(result).__name__
            raise TypeError(f"{self.name} returned {what}, expected the loss, a Tensor of one element")
        return result

    def outputs(self, arrays: Sequence[np.ndarray]) -> list[Array]:
        with no_grad():
            return [host_array(self.loss(arrays))]

    def others(self) -> list[Tensor]:
        """The leaves that the loss uses beside these parameters."""
        return leaves_of(self.name, lambda: [self.loss(self.copies())], self.parameters)

    def vjp(self, arrays: Sequence[np.ndarray], v: np.ndarray) -> list[np.ndarray | None]:
        for p in self.parameters:
            p.grad = None
        loss = self.loss(arrays)
        if loss.requires_grad:
            loss.backward(v.reshape(loss.shape))
        return [None if g is None else g.astype(np.float64) for g in gradients_of(self.parameters)]


def _n_arguments(f: Callable) -> int:
    """How many arguments a function must be given."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return 0
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
               for p in parameters)
