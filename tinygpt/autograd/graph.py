"""The graph: what each operation leaves behind, so that the gradient finds its way back.

A node holds the closure of its operation and the nodes that the inputs came from. It holds arrays, never the Tensors
around them, so there are no reference cycles: a graph is freed the moment its last Tensor goes.

Prerequisites: grad_mode.py. Next: tensor.py.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..backend import Array, array_module, device_of

__all__ = [
    "Backward", "Deferred", "Given", "Gradient", "Node", "Output", "Part", "Rule", "Whole", "as_array", "newest_first",
]

# A rule's closure returns one of these for each input: an array; a function that computes one, called only if somebody
# wants that gradient (worth it where it costs a matrix product), which may be a `Deferred`; or None where there is
# nothing to differentiate.
Gradient = Array | Callable[[], Array] | None
Backward = Callable[[Array], Sequence[Gradient]]
Output = tuple[Any, Backward]  # what a rule returns: an array, or a tuple of arrays, and the closure
Rule = Callable[..., Output]


class Deferred:
    """A gradient that is not computed yet and that knows a short way into a gradient that has its place in memory.

    For a twin that writes large gradients. Calling it computes the gradient as a new array; `add_to` adds it to one
    that is there, by a way that needs no array of its own; `rows` is a part of it, to be added by itself.
    """

    def __call__(self) -> Array:
        """The gradient, as a new array."""
        raise NotImplementedError

    def add_to(self, total: Array, vacant: bool) -> None:
        """Add it to `total` in place. If `vacant`, `total` counts as zero, whatever it holds."""
        raise NotImplementedError

    def rows(self, part: slice) -> Deferred:
        """The gradient of these rows alone."""
        return Given(self()[part])


class Given(Deferred):
    """A gradient that is an array already."""

    def __init__(self, g: Array) -> None:
        self.g = g

    def __call__(self) -> Array:
        return self.g

    def add_to(self, total: Array, vacant: bool) -> None:
        if vacant:
            total[...] = self.g
        else:
            total += self.g


def as_array(x: Any) -> Array:
    """NumPy's reductions and 0-d arithmetic return scalars; everything on the tape is an array."""
    return np.asarray(x) if isinstance(x, np.generic) else x


_clock = itertools.count()


class Node:
    """What one operation left on the tape: its closure, and where its inputs came from.

    `sources` has one entry an input: a Node, a leaf Tensor, or None for an input without a gradient.
    """

    __slots__ = ("name", "backward", "sources", "shape", "dtype", "device", "born")

    def __init__(self, name: str, backward: Backward, sources: list[Any], out: Array) -> None:
        self.name, self.sources, self.shape, self.dtype = name, sources, out.shape, out.dtype
        self.device = "cpu" if type(out) is np.ndarray else device_of(out)
        self.backward: Backward | None = backward
        self.born = next(_clock)

    def gradients(self, g: Array) -> Iterator[tuple[Any, Array]]:
        """(source, gradient) for each source that wants one; each is checked against the input that it belongs to."""
        assert self.backward is not None
        returned = self.backward(g)
        if len(returned) != len(self.sources):
            raise ValueError(f"{self.name}: backward returned {len(returned)} gradients for {len(self.sources)} inputs")
        for position, (source, dx) in enumerate(zip(self.sources, returned)):
            if source is None:
                continue
            if isinstance(dx, Deferred) and source.takes(dx):
                continue
            if callable(dx):
                dx = dx()
            if dx is None:
                continue
            if type(dx) is not np.ndarray or self.device != "cpu":
                dx = as_array(dx)
                if device_of(dx) != source.device:
                    raise ValueError(f"{self.name}: backward returned a gradient on {device_of(dx)} for input "
                                     f"{position} on {source.device}")
            if dx.shape != source.shape or dx.dtype != source.dtype:
                raise ValueError(f"{self.name}: backward returned a gradient of shape {dx.shape} and dtype "
                                 f"{dx.dtype} for input {position} of shape {source.shape} and dtype {source.dtype}")
            yield source, dx

    def takes(self, g: Deferred) -> bool:
        """False: only a parameter's gradient has a place in memory that `g` could be added into."""
        return False

    def free(self) -> None:
        """Let go of the closure, and with it of every array that only this backward step needed."""
        self.backward, self.sources = None, []


class Whole(Node):
    """The node of an operation with several outputs; its closure takes the tuple of their gradients."""

    __slots__ = ("shapes", "zeros")

    def __init__(self, name: str, backward: Backward, sources: list[Any], outs: tuple[Array, ...]) -> None:
        super().__init__(name, backward, sources, outs[0])
        self.shapes = [out.shape for out in outs]
        self.zeros = array_module(*outs).zeros

    def gradients(self, g: Any) -> Iterator[tuple[Any, Array]]:
        """As for a Node; an output that nothing was computed from has the gradient 0."""
        return super().gradients(tuple(
            self.zeros(shape, dtype=self.dtype) if part is None else part for part, shape in zip(g, self.shapes)))


class Part(Node):
    """One output of a `Whole`; its gradient waits for those of the other outputs."""

    __slots__ = ("whole", "position")

    def __init__(self, whole: Whole, position: int, out: Array) -> None:
        super().__init__(f"{whole.name}[{position}]", lambda g: (g,), [whole], out)
        self.whole, self.position = whole, position


def newest_first(root: Node) -> list[Node]:
    """Every node that `root` was computed from, so that a node comes before all that it came from.

    A node is made after its inputs, so sorting by birth is a topological order: when a node's turn comes, every use
    of its output has already added its part of the gradient. Iterative, since a graph may be 100,000 nodes deep.
    """
    found, waiting = {root}, [root]
    while waiting:
        node = waiting.pop()
        if node.backward is None:
            raise ValueError(f"backward: the graph was freed by an earlier backward (at {node.name!r}): compute the "
                             "result again, or add the losses up and call backward once")
        for source in node.sources:
            if isinstance(source, Node) and source not in found:
                found.add(source)
                waiting.append(source)
    return sorted(found, key=operator.attrgetter("born"), reverse=True)
