"""Module and Parameter: a model is a tree of objects whose attributes are its registry.

There is no bookkeeping behind the attributes: `self.weight = Parameter(…)` and `self.blocks = [Block(…), …]` are all
that a model needs, and whatever walks the tree (parameters, state_dict, train) looks at the attributes themselves.
A weight that two modules share is one Parameter under two names; it is listed once, under the first.

Prerequisites: ops/operators.py. Next: linear.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..arrays import Array, array_module
from ..autograd.tensor import Tensor
from ..ops import operators  # noqa: F401  (it gives Tensors their + and @)

__all__ = ["Module", "Parameter"]


class Parameter(Tensor):
    """A leaf Tensor that is trained; with `requires_grad` False it is frozen and stays as it is."""

    def __init__(self, data: Any, requires_grad: bool = True, **options: Any) -> None:
        super().__init__(data, requires_grad, **options)


class Module:
    """A part of a model. Subclasses set Parameters and Modules (or lists of Modules) as attributes and write `forward`.

    Attributes:
        training: True while training, which switches dropout on; see `train` and `eval`.
    """

    training: bool = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; call the module itself."""
        raise TypeError(f"{type(self).__name__} has no forward method")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # -- the tree -----------------------------------------------------------------------------------------------------

    def _children(self) -> Iterator[tuple[str, Any]]:
        """The Parameters and Modules among the attributes, by name; those in lists as name.0, name.1, …"""
        for name, value in vars(self).items():
            if isinstance(value, (Parameter, Module)):
                yield name, value
            elif isinstance(value, (list, tuple)):
                for i, item in enumerate(value):
                    if isinstance(item, (Parameter, Module)):
                        yield f"{name}.{i}", item

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(path, module) for this module, whose path is "", and for all below it, parents first."""
        yield prefix, self
        for name, child in self._children():
            if isinstance(child, Module):
                yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter), each parameter once: a shared one under its first path."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, child in module._children():
                if isinstance(child, Parameter) and id(child) not in seen:
                    seen.add(id(child))
                    yield (f"{path}.{name}" if path else name), child

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter, once."""
        return (parameter for _, parameter in self.named_parameters())

    @property
    def n_parameters(self) -> int:
        """How many numbers the parameters hold."""
        return sum(parameter.size for parameter in self.parameters())

    # -- training or not, and the state -------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Switch training behaviour (dropout) on, here and below."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch training behaviour off, here and below."""
        return self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """{path: array} of all parameters: the arrays themselves, not copies."""
        return {name: parameter.data for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy arrays into the parameters; the names must be exactly those of `state_dict`, and nothing is changed
        unless all of them fit.

        Raises:
            ValueError: missing or surplus names, or another shape; all of them are listed.
        """
        own = dict(self.named_parameters())
        shapes = {name: x.shape if hasattr(x, "shape") else np.shape(x) for name, x in state.items()}
        missing = [name for name in own if name not in state]
        problems = [f"{name} {list(own[name].shape)} is missing" + (_nearest(name, state) if i < 8 else "")
                    for i, name in enumerate(missing)]
        problems += [f"{name} is not part of the model" for name in state if name not in own]
        problems += [f"{name} has shape {list(shapes[name])}, expected {list(own[name].shape)}"
                     for name in own if name in state and shapes[name] != own[name].shape]
        if problems:
            more = f" (and {len(problems) - 8} more)" if len(problems) > 8 else ""
            raise ValueError(f"{type(self).__name__}.load_state_dict: {'; '.join(problems[:8])}{more}")
        for name, parameter in own.items():
            value = state[name].data if isinstance(state[name], Tensor) else state[name]
            parameter.data = array_module(parameter.data).array(value, dtype=parameter.dtype)

    if TYPE_CHECKING:  # machinery.py gives modules further methods
        def __getattr__(self, name: str) -> Any: ...


def _nearest(name: str, names: Mapping[str, Any]) -> str:
    found = difflib.get_close_matches(name, list(names)[:10_000], n=1, cutoff=0.8)  # a file may have any number
    return f" (there is {found[0]})" if found else ""
