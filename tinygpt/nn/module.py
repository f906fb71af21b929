"""Module and Parameter: a model is a tree of objects whose attributes are its registry.

There is no bookkeeping behind the attributes: `self.weight = Parameter(…)` and `self.blocks = [Block(…), …]` are all
that a model needs, and whatever walks the tree (parameters, state_dict, train, to) looks at the attributes themselves.
A weight that two modules share is one Parameter under two names; it is listed once, under the first.

Prerequisites: ops/. Next: linear.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from ..autograd import Deferred, Tensor
from ..backend import Array, array_module, device_of, on_device, resolve_device, resolve_dtype, to_device

__all__ = ["Module", "Parameter"]


class Parameter(Tensor):
    """A leaf Tensor that is trained.

    A parameter may be given a *home*: views into one long array of weights and one of gradients (see optim/flat.py).
    From then on `.data` and `.grad` stay those views: assigning copies into them, and `backward` adds into the
    gradient in place, which an ordinary Tensor never does.
    """

    __slots__ = ("_data", "_grad", "_trainable", "_at_home", "_vacant")

    def __init__(self, data: Any, requires_grad: bool = True, *, device: str | None = None, dtype: Any = None) -> None:
        self._at_home = False
        self._data: Array
        self._grad: Array | None
        self._trainable: bool
        super().__init__(data, requires_grad, device=device, dtype=dtype)

    @property
    def data(self) -> Array:
        """The array; with a home, assigning copies into it."""
        return self._data

    @data.setter
    def data(self, value: Array) -> None:
        if self._at_home:
            self._copy_into(self._data, value)
        else:
            self._data = value

    @property
    def grad(self) -> Array | None:
        """The gradient; with a home, assigning copies into it, and None means zeros."""
        self._settle()
        return self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        if not self._at_home:
            self._grad = value
        elif value is None:
            self._grad[...] = 0  # type: ignore[index]
        else:
            self._copy_into(self._grad, value)
        self._vacant = False

    @property
    def requires_grad(self) -> bool:
        """Whether it is trained; freeze it (False) before it is given a home."""
        return self._trainable

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._at_home and value != self._trainable:
            raise ValueError("a parameter cannot be frozen or unfrozen once FlatParameters holds it: "
                             "set requires_grad first, then build FlatParameters or the optimizer")
        self._trainable = bool(value)

    def _copy_into(self, home: Any, value: Array) -> None:
        if value is home:
            return
        if value.shape != home.shape:
            raise ValueError(f"a parameter of shape {home.shape} cannot take an array of shape {value.shape}")
        array_module(home, value)  # raises if they are on two devices
        with on_device(device_of(home)):
            home[...] = value

    def _set_home(self, data: Array, grad: Array) -> None:
        """Move into the given arrays of this parameter's shape: `data` takes its values, `grad` its gradient."""
        data[...] = self._data
        grad[...] = 0 if self._grad is None else self._grad
        self._data, self._grad, self._at_home = data, grad, True

    def _share(self, grad: Array) -> Parameter:
        """Another Parameter on the same weights, with a gradient array of its own: what a replica trains with."""
        twin = Parameter(self._data, self._trainable)
        twin._data, twin._grad, twin._at_home = self._data, grad, True
        return twin

    def _vacate(self) -> None:
        """Let the gradient count as zero. With a home nothing is written: the next gradient goes over what is there."""
        if self._at_home:
            self._vacant = True
        else:
            self._grad = None

    def _settle(self) -> None:
        """Write the zeros of a gradient that was vacated, if nothing has gone over it."""
        if self._vacant:
            self._grad[...] = 0  # type: ignore[index]
            self._vacant = False

    def _accumulate(self, g: Array) -> None:
        if not self._at_home:
            super()._accumulate(g)
        elif self._vacant:
            self._grad[...] = g  # type: ignore[index]
            self._vacant = False
        else:
            self._grad += g

    def takes(self, g: Deferred) -> bool:
        if self._at_home:
            g.add_to(self._grad, self._vacant)
            self._vacant = False
        return self._at_home


class Module:
    """A part of a model. Subclasses set Parameters and Modules (or lists of Modules) as attributes and write `forward`.

    Attributes:
        training: True while training, which switches dropout on; see `train` and `eval`.
        compute_dtype: the type of activations, where it is not that of the parameters; see `compute_in`.
    """

    training: bool = True
    compute_dtype: np.dtype | None = None

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

    # -- state --------------------------------------------------------------------------------------------------------

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
        problems = [f"{name} {list(own[name].shape)} is missing" + _nearest(name, state) for name in own
                    if name not in state]
        problems += [f"{name} is not part of the model" for name in state if name not in own]
        problems += [f"{name} has shape {list(shapes[name])}, expected {list(own[name].shape)}"
                     for name in own if name in state and shapes[name] != own[name].shape]
        if problems:
            more = f" (and {len(problems) - 8} more)" if len(problems) > 8 else ""
            raise ValueError(f"{type(self).__name__}.load_state_dict: {'; '.join(problems[:8])}{more}")
        for name, parameter in own.items():
            value = state[name].data if isinstance(state[name], Tensor) else state[name]
            with on_device(parameter.device):
                parameter.data = to_device(value, parameter.device).astype(parameter.dtype, copy=True)

    def train(self, mode: bool = True) -> Self:
        """Switch training behaviour (dropout) on, here and below."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch training behaviour off, here and below."""
        return self.train(False)

    def compute_in(self, dtype: Any) -> Self:
        """Give activations the type `dtype`, "bfloat16" say, here and below; parameters and their gradients keep
        theirs. None: the type of the parameters.

        Raises:
            DeviceError: bfloat16, on a device that has none.
        """
        found = None if dtype is None else resolve_dtype(dtype, self.device)
        for module in self.modules():
            module.compute_dtype = None if found == self.dtype else found
        return self

    def activations(self, x: Tensor) -> Tensor:
        """x in the type of activations. A model calls it once, after its embeddings: from there the type flows with
        the data (autograd/bfloat16.py)."""
        return x if self.compute_dtype is None else x.astype(self.compute_dtype)

    @property
    def device(self) -> str:
        """Where the parameters are; the default device for a module without any."""
        return next((parameter.device for parameter in self.parameters()), None) or resolve_device()

    @property
    def dtype(self) -> np.dtype:
        """The type of the parameters; float32 for a module without any."""
        return next((parameter.dtype for parameter in self.parameters()), np.dtype(np.float32))

    def to(self, device: str | None = None, *, dtype: Any = None) -> Self:
        """Move the parameters to a device, convert them to a dtype, or both. Returns self.

        Raises:
            ValueError: a FlatParameters holds them.
            DeviceError: bfloat16, on a device that has none.
        """
        parameters = list(self.parameters())
        if any(parameter._at_home for parameter in parameters):
            raise ValueError(f"{type(self).__name__}.to: FlatParameters holds these parameters; move the model first, "
                             "then build FlatParameters or the optimizer")
        where = None if device is None else resolve_device(device)
        dtype = None if dtype is None else resolve_dtype(dtype, where or self.device)
        for parameter in parameters:
            for name in ("data", "grad"):
                value = getattr(parameter, name)
                if value is not None:
                    value = value if where is None else to_device(value, where)
                    with on_device(device_of(value)):
                        setattr(parameter, name, value if dtype is None else value.astype(dtype, copy=False))
        return self.compute_in(None) if where == "cpu" else self  # the host has no narrow type to compute in

    def __repr__(self) -> str:
        """The tree: each parameter with its shape and size, runs of equal modules told once."""
        return "\n".join([f"{type(self).__name__}  {self.n_parameters:,} parameters", *_tree(self, "  ", set())])


def _nearest(name: str, names: Mapping[str, Any]) -> str:
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.8)
    return f" (there is {found[0]})" if found else ""


def _tree(module: Module, indent: str, seen: set[int]) -> list[str]:
    lines: list[str] = []
    children = list(module._children())
    while children:
        name, child = children.pop(0)
        if isinstance(child, Parameter):
            size = "tied" if id(child) in seen else f"{child.size:,}" + ("" if child.requires_grad else " frozen")
            seen.add(id(child))
            lines.append(f"{indent}{name} {list(child.shape)}  {size}")
            continue
        below = _tree(child, indent + "  ", seen)
        last, in_list = name, name.rpartition(".")[0]
        while children and in_list and children[0][0].rpartition(".")[0] == in_list \
                and type(children[0][1]) is type(child) and _tree(children[0][1], indent + "  ", set(seen)) == below:
            last, twin = children.pop(0)
            seen.update(id(parameter) for parameter in twin.parameters())
        span = name if last == name else f"{name} … {last.rpartition('.')[2]}"
        lines += [f"{indent}{span}: {type(child).__name__}  {child.n_parameters:,}"
                  + ("" if last == name else " each"), *below]
    return lines
