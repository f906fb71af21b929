"""What modules know of devices and types: where their parameters are, how they get elsewhere, what they compute in.

One table, `MODULE`, as placement.py has one for Tensors. machinery.py hands it to the Module of the book.

Prerequisites: module.py. Next: machinery.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..autograd.tensor import Tensor
from ..backend import device_of, on_device, resolve_device, resolve_dtype, to_device
from .evaluating import TRAINING
from .module import Module, Parameter

__all__ = ["MODULE"]

_load_state_dict = Module.load_state_dict


def _device_of_module(self: Module) -> str:
    """Where the parameters are; the default device for a module without any."""
    return next((parameter.device for parameter in self.parameters()), None) or resolve_device()


def _dtype_of_module(self: Module) -> np.dtype:
    """The type of the parameters; float32 for a module without any."""
    return next((parameter.dtype for parameter in self.parameters()), np.dtype(np.float32))


def _move(self: Module, device: str | None = None, *, dtype: Any = None) -> Module:
    """Move the parameters to a device, convert them to a dtype, or both. Returns self.

    Raises:
        ValueError: a FlatParameters holds them.
        DeviceError: bfloat16, on a device that has none.
    """
    parameters = list(self.parameters())
    if any(getattr(parameter, "at_home", False) for parameter in parameters):
        raise ValueError(f"{type(self).__name__}.to: FlatParameters holds these parameters; move the model first, then "
                         "build FlatParameters or the optimizer")
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


def load_state_dict(self: Module, state: Mapping[str, Any]) -> None:
    with on_device(self.device):
        _load_state_dict(self, {name: to_device(value.data if isinstance(value, Tensor) else value, self.device)
                                if hasattr(value, "dtype") else value for name, value in state.items()})


load_state_dict.__doc__ = _load_state_dict.__doc__


def compute_in(self: Module, dtype: Any) -> Module:
    """Give activations the type `dtype`, "bfloat16" say, here and below; parameters and their gradients keep
    theirs. None: the type of the parameters.

    Raises:
        DeviceError: bfloat16, on a device that has none.
    """
    found = None if dtype is None else resolve_dtype(dtype, self.device)
    for module in self.modules():
        vars(module)["compute_dtype"] = None if found == self.dtype else found
    return self


def activations(self: Module, x: Tensor) -> Tensor:
    """x in the type of activations. A model calls it once, after its embeddings: from there the type flows with
    the data (engine/bfloat16.py)."""
    return x if self.compute_dtype is None else x.astype(self.compute_dtype)


def _module_repr(self: Module) -> str:
    """The tree: each parameter with its shape and size, runs of equal modules told once."""
    return "\n".join([f"{type(self).__name__}  {self.n_parameters:,} parameters", *_tree(self, "  ", set())])


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


MODULE: dict[str, Any] = {
    "device": property(_device_of_module), "dtype": property(_dtype_of_module), "compute_dtype": None, "to": _move,
    "load_state_dict": load_state_dict, "compute_in": compute_in, "activations": activations, "__repr__": _module_repr,
    "training": TRAINING,
}
