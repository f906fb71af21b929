"""FlatParameter: a Parameter that has a home in one long array of weights and one of gradients.

Its `.data` and `.grad` are views of these arrays, for good: assigning copies into them, and `backward` adds into the
gradient in place, which an ordinary Tensor never does. FlatParameters (flat.py) turns Parameters into it.

Prerequisites: nn/module.py, engine/deferred.py. Next: flat.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..autograd.graph import Gradient, usable
from ..backend import Array, array_module, device_of, on_device
from ..engine.deferred import Deferred
from ..nn.module import Parameter

__all__ = ["FlatParameter"]


class FlatParameter(Parameter):
    """A Parameter with a home; made from one by `move_in`."""

    at_home = True
    _data: Array
    _grad: Array
    _trainable: bool
    _vacant: bool

    @staticmethod
    def move_in(parameter: Parameter, data: Array, grad: Array) -> None:
        """Give a parameter its home, arrays of its shape: `data` takes its values, `grad` its gradient. The object
        stays the same, and becomes a FlatParameter."""
        data[...] = parameter.data
        grad[...] = 0 if parameter.grad is None else parameter.grad
        trainable = parameter.requires_grad
        if not isinstance(parameter, FlatParameter):
            del parameter.data, parameter.grad, parameter.requires_grad  # or the Tensor's slots keep the old arrays
            parameter.__class__ = FlatParameter
        parameter.__dict__.update(_data=data, _grad=grad, _trainable=trainable, _vacant=False)

    @property
    def data(self) -> Array:
        """The array; assigning copies into it."""
        return self._data

    @data.setter
    def data(self, value: Array) -> None:
        self._copy_into(self._data, value)

    @property
    def grad(self) -> Array:
        """The gradient; assigning copies into it, and None means zeros."""
        self.settle()
        return self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        if value is None:
            self._grad[...] = 0
        else:
            self._copy_into(self._grad, value)
        self._vacant = False

    @property
    def requires_grad(self) -> bool:
        """Whether it is trained; freeze it (False) before it is given a home."""
        return self._trainable

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value != self._trainable:
            raise ValueError("a parameter cannot be frozen or unfrozen once FlatParameters holds it: "
                             "set requires_grad first, then build FlatParameters or the optimizer")

    def _copy_into(self, home: Any, value: Array) -> None:
        if value is home:
            return
        if value.shape != home.shape:
            raise ValueError(f"a parameter of shape {home.shape} cannot take an array of shape {value.shape}")
        array_module(home, value)  # raises if they are on two devices
        with on_device(device_of(home)):
            home[...] = value

    def share(self, grad: Array) -> FlatParameter:
        """Another one on the same weights, with a gradient array of its own: what a replica trains with."""
        return self._another(FlatParameter, grad)

    def _another(self, kind: type, grad: Array) -> Any:
        another: Any = object.__new__(kind)
        another._node = None
        another.__dict__.update(_data=self._data, _grad=grad, _trainable=self._trainable, _vacant=False)
        return another

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Inside the block an ordinary Parameter with a copy of the weights and no gradient, which may change its type;
        afterwards at home again, where nothing has changed."""
        kind = type(self)
        self.__class__ = Parameter  # type: ignore[assignment]  # what it needs at home stays in its __dict__
        self.data, self.grad, self.requires_grad = self.__dict__["_data"].copy(), None, self.__dict__["_trainable"]
        try:
            yield
        finally:
            del self.data, self.grad, self.requires_grad
            self.__class__ = kind

    def vacate(self) -> None:
        """Let the gradient count as zero. Nothing is written: the next gradient goes over what is there."""
        self._vacant = True

    def settle(self) -> None:
        """Write the zeros of a gradient that was vacated, if nothing has gone over it."""
        if self._vacant:
            self._grad[...] = 0
            self._vacant = False

    def receive(self, dx: Gradient, sender: Any = None, position: int = 0) -> None:
        """Add a gradient where it belongs: a deferred one by its own short way."""
        if isinstance(dx, Deferred):
            self.take(dx)
            return
        g = usable(dx, self, sender, position)
        if g is not None:
            with on_device(device_of(self._grad)):
                if self._vacant:
                    self._grad[...] = g
                else:
                    self._grad += g
            self._vacant = False

    def take(self, g: Deferred) -> None:
        """Write a deferred gradient into its place, or add it to what is there."""
        g.add_to(self._grad, self._vacant)
        self._vacant = False

    def __reduce_ex__(self, protocol: Any) -> tuple:
        """A copy has no home. It is an ordinary Parameter, until a FlatParameters that is copied too takes it in."""
        return _copied, (self._data, self._trainable, self.grad)


def _copied(data: Array, trainable: bool, grad: Array) -> Parameter:
    parameter = Parameter(data, trainable)
    parameter.grad = grad
    return parameter
