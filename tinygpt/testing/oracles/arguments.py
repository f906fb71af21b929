"""Which of a function's arguments are checked, what they are called, and how the call is put together again.

Arguments may be nested in tuples, lists and dictionaries. The floating-point arrays and Tensors among them are checked;
integers, masks, strings and the like are passed on as they are. If a Tensor says `requires_grad=True`, the choice has
been made explicitly: then those Tensors are checked, and the others are constants.

Prerequisites: autograd/. Next: problem.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...autograd import Tensor
from ...backend import Array, device_of, to_device, to_numpy

__all__ = ["Arguments", "Path", "function_name", "is_floating", "leaves", "rebuild"]

Path = tuple[Any, ...]


def leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The leaves of nested tuples, lists and dictionaries, each with the keys that lead to it."""
    if isinstance(tree, (tuple, list)):
        for i, branch in enumerate(tree):
            yield from leaves(branch, (*path, i))
    elif isinstance(tree, dict):
        for key, branch in tree.items():
            yield from leaves(branch, (*path, key))
    else:
        yield path, tree


def rebuild(tree: Any, replacements: dict[Path, Any], path: Path = ()) -> Any:
    """A copy of the tree with the leaves at some paths replaced."""
    if isinstance(tree, (tuple, list)):
        branches = [rebuild(branch, replacements, (*path, i)) for i, branch in enumerate(tree)]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    if isinstance(tree, dict):
        return {key: rebuild(branch, replacements, (*path, key)) for key, branch in tree.items()}
    return replacements.get(path, tree)


def function_name(func: Any) -> str:
    """What to call a function in a report; a lambda is found by its place."""
    name = getattr(func, "__name__", None) or type(func).__name__
    code = getattr(func, "__code__", None)
    if name == "<lambda>" and code is not None:
        return f"<lambda> ({code.co_filename}:{code.co_firstlineno})"
    return name


def is_floating(x: Any) -> bool:
    """True for an array or a Tensor of real floating-point numbers."""
    dtype = getattr(x, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind == "f"


class Arguments:
    """The arguments of one call, of which some are checked.

    Attributes:
        values: the checked arguments as float64 arrays on the host, row-major, this object's own.
        names: what they are called: "x", "pair[1]", "mask".
        originals: the checked arguments as they were given.
        notes: what was promoted or left out.
    """

    def __init__(self, func: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
        self.tree = (args, kwargs)
        found = list(leaves(self.tree))
        for path, leaf in found:
            if getattr(getattr(leaf, "dtype", None), "kind", "") == "c":
                raise TypeError(f"gradcheck: argument {self._name(func, path)} is complex; only real arguments have a "
                                "gradient here: pass real and imaginary part as two arguments")
        explicit = [path for path, leaf in found if isinstance(leaf, Tensor) and leaf.requires_grad]
        self.paths = explicit or [path for path, leaf in found if is_floating(leaf)] or [
            path for path, leaf in found if type(leaf) is float]
        if not self.paths:
            given = ", ".join(type(leaf).__name__ for _, leaf in found) or "nothing"
            raise ValueError(f"gradcheck: {function_name(func)} got no argument with a gradient: expected a Tensor or "
                             f"an array of floating-point numbers, got {given}")
        at = dict(found)
        self.originals = [at[path] for path in self.paths]
        self.names = [self._name(func, path) for path in self.paths]
        self.values: list[np.ndarray] = []
        self.devices: list[str] = []
        self.notes: list[str] = []
        for name, leaf in zip(self.names, self.originals):
            array = leaf.data if isinstance(leaf, Tensor) else leaf
            if isinstance(array, (float, np.generic)):
                array = np.asarray(array)
            if array.dtype != np.float64:
                self.notes.append(f"{name} was given as {array.dtype} and promoted to float64")
            self.devices.append(device_of(array))
            self.values.append(np.array(to_numpy(array), dtype=np.float64, order="C"))
        if explicit:
            for path, leaf in found:
                if is_floating(leaf) and path not in explicit:
                    self.notes.append(f"{self._name(func, path)} was taken as a constant (no requires_grad)")

    @staticmethod
    def _name(func: Callable, path: Path) -> str:
        in_kwargs, first, *rest = path
        if in_kwargs:
            name = str(first)
        else:
            try:
                parameters = list(inspect.signature(func).parameters.values())
            except (TypeError, ValueError):
                parameters = []
            positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
            star = next((p for p in parameters if p.kind is p.VAR_POSITIONAL), None)
            name = (positional[first].name if first < len(positional)
                    else f"{star.name}[{first - len(positional)}]" if star else f"input{first}")
        return name + "".join(f"[{key!r}]" for key in rest)

    def call(self, func: Callable, values: list[Any]) -> Any:
        """func with the checked arguments replaced by `values`."""
        args, kwargs = rebuild(self.tree, dict(zip(self.paths, values)))
        return func(*args, **kwargs)

    def placed(self, arrays: list[np.ndarray]) -> list[Array]:
        """Host arrays on the devices that the arguments came from."""
        return [array if device == "cpu" else to_device(array, device) for array, device in zip(arrays, self.devices)]
