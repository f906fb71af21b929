"""Tensor: an array that remembers how it was made, and the walk backwards.

Prerequisites: recording.py. Next: operation.py.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Array, array_module, as_array, new_array, to_numpy
from .graph import Gradient, Node, newest_first, usable

__all__ = ["Tensor", "wrap"]


class Tensor:
    """An array that remembers how it was made.

    Args:
        data: an array (kept, not copied), a number or nested lists of numbers.
        requires_grad: whether `backward` is to compute a gradient for it; needs a floating-point dtype.
        options: `dtype` converts the data.

    Attributes:
        data: the array.
        grad: an array of the same shape and dtype after `backward`, else None.
        requires_grad: whether a gradient flows to or through it.

    Raises:
        TypeError: data that is no array of numbers, or has a gradient; `requires_grad` with integers or booleans.
    """

    __slots__ = ("data", "grad", "requires_grad", "_node", "__weakref__")
    new_array = staticmethod(new_array)

    def __init__(self, data: Any, requires_grad: bool = False, **options: Any) -> None:
        data = self.new_array(data.data if isinstance(data, Tensor) and not data.requires_grad else data, **options)
        if requires_grad and data.dtype.kind in "biu":
            raise TypeError(f"Tensor: requires_grad needs floating-point data, got {data.dtype}; convert it first")
        self.data: Array = data
        self.grad: Array | None = None
        self.requires_grad: bool = requires_grad
        self._node: Node | None = None  # None for a leaf: what no operation made

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""
        return self.data.dtype

    def numpy(self) -> np.ndarray:
        """The data as an array of NumPy's (shared where it is one already)."""
        return to_numpy(self.data)

    def item(self) -> Any:
        """The one element, as a Python number."""
        return self.data.item()

    def tolist(self) -> Any:
        """The data as a number or nested lists of numbers."""
        return self.numpy().tolist()

    def detach(self) -> Tensor:
        """The same data, cut off the graph."""
        return wrap(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """What NumPy asks for when it makes an array of a Tensor, or of a list that holds some."""
        if self.requires_grad:
            raise TypeError("a Tensor that has a gradient would lose it as an array of NumPy's: join Tensors with "
                            "tinygpt.ops.stack or concatenate, or say .detach() or .numpy() if no gradient is wanted")
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __float__(self) -> float:
        return float(self.data.item())

    def __int__(self) -> int:
        return int(self.data.item())

    def __index__(self) -> int:
        return operator.index(self.data.item())

    def __bool__(self) -> bool:
        return bool(self.data)

    def __format__(self, specification: str) -> str:
        return format(self.item(), specification) if specification else str(self)

    def __len__(self) -> int:
        if not self.data.ndim:
            raise TypeError("len() of a Tensor with no axes")
        return self.data.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    __hash__ = object.__hash__  # by identity, since == compares element by element

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError("a Tensor's items cannot be assigned, since earlier results may depend on them: "
                        "use tinygpt.ops.where, or assign to tensor.data before it is used")

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=100)
        flag = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({values}, shape={self.shape}, dtype={self.dtype}{flag})"

    # -- the walk backwards -------------------------------------------------------------------------------------------

    def backward(self, gradient: Any = None) -> None:
        """Add d(self)/d(leaf) to the `.grad` of every leaf that this Tensor was computed from, and free the graph.

        Args:
            gradient: the gradient of the final result with respect to this Tensor, of its shape; 1 by default, which
                needs a Tensor of one element.

        Raises:
            ValueError: nothing to differentiate, a missing or misshapen `gradient`, or a graph that an earlier
                `backward` has freed.
        """
        if not self.requires_grad:
            raise ValueError("backward: this Tensor does not depend on any Tensor with requires_grad=True")
        g = self._seed(gradient)
        if self._node is None:
            self.receive(g)
            return
        nodes = newest_first(self._node)
        self._node.g = g
        for node in nodes:
            node.send()

    def _seed(self, gradient: Any) -> Array:
        """Where the walk begins: d(self)/d(self) = 1, or what the caller says."""
        xp = array_module(self.data)
        if gradient is None:
            if self.data.size != 1:
                raise ValueError(f"backward: a Tensor of shape {self.shape} needs a gradient of that shape: call "
                                 ".backward(gradient), or reduce it to one number first, with .sum() say")
            return xp.ones_like(self.data)
        gradient = xp.asarray(gradient.data if isinstance(gradient, Tensor) else gradient, dtype=self.data.dtype)
        if gradient.shape != self.shape:
            raise ValueError(f"backward: expected a gradient of shape {self.shape}, got {gradient.shape}")
        return gradient

    def receive(self, dx: Gradient, sender: Any = None, position: int = 0) -> None:
        """A leaf's way to take a part of its gradient, as a node's: the parts add up in `.grad`."""
        g = usable(dx, self, sender, position)
        if g is not None:  # a copy, and then new arrays: `g` and the old gradient may be in other hands
            self.grad = g.copy() if self.grad is None else as_array(self.grad + g)

    if TYPE_CHECKING:  # operators and methods are bound to their rules by ops/operators.py
        def __getattr__(self, name: str) -> Any: ...
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __matmul__ = \
            __rmatmul__ = __pow__ = __rpow__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = \
            lambda self, other: self
        __neg__ = __abs__ = lambda self: self


def wrap(data: Array, node: Node | None = None) -> Tensor:
    """A Tensor around an array that needs no conversion: the constructor without its checks."""
    tensor = _new(Tensor)
    tensor.data = data
    tensor.grad = None
    tensor.requires_grad = node is not None
    tensor._node = node
    return tensor


_new = Tensor.__new__
