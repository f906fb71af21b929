"""The graph: what each operation leaves behind, so that the gradient finds its way back.

Take y = f(x) and z = g(y). The chain rule says dz/dx = dz/dy · dy/dx: if z's node knows how to turn the gradient of its
output into that of its input y, and y's node the same for x, then all that is left is to visit the nodes in the right
order. A node holds the closure that does this and the nodes that the inputs came from. It holds arrays, never the
Tensors around them, so there are no reference cycles: a graph is freed the moment its last Tensor goes.

Prerequisites: arrays.py. Next: recording.py. The method is that of Linnainmaa (1970); Baydin et al., "Automatic
differentiation in machine learning: a survey" (JMLR 2018), is a good introduction.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from ..arrays import Array, array_module, as_array

__all__ = ["Backward", "Gradient", "Node", "Output", "Rule", "Source", "newest_first", "parts_of", "usable"]

# A rule's closure returns one of these for each input: an array; a function that computes one, called only if somebody
# wants that gradient (worth it where it costs a matrix product); or None where there is nothing to differentiate.
Gradient = Array | Callable[[], Array] | None
Backward = Callable[[Array], Sequence[Gradient]]
Output = tuple[Any, Backward]  # what a rule returns: an array, or a tuple of arrays, and the closure
Rule = Callable[..., Output]
Source = Any  # what an input came from: a Node, a leaf Tensor, or None where it has no gradient

_clock = itertools.count()


class Node:
    """What one operation left on the tape: its closure, and where its inputs came from.

    Attributes:
        name: of the operation.
        backward: the gradient of the output -> those of the inputs; None once the node is freed.
        sources: where each input came from.
        shape, dtype: of the output.
        g: the gradient of the output, as far as it has come in.
        born: the number of the node, in the order in which they are made.
    """

    __slots__ = ("name", "backward", "sources", "shape", "dtype", "g", "born")

    def __init__(self, name: str, backward: Backward, sources: list[Source], out: Array) -> None:
        self.name, self.sources, self.shape, self.dtype = name, sources, out.shape, out.dtype
        self.backward: Backward | None = backward
        self.g: Any = None
        self.born = next(_clock)

    def receive(self, dx: Gradient, sender: Node, position: int) -> None:
        """Take a part of the gradient of the output. Every use of the output sends one, and they add up."""
        dx = usable(dx, self, sender, position)
        if dx is not None:  # a new array, never in place: others may hold either of the two
            self.g = dx if self.g is None else as_array(self.g + dx)

    def send(self) -> None:
        """Turn the gradient of the output into those of the inputs, and send each to its source."""
        g, self.g = self.g, None
        if g is not None:  # None: no consumer sent a gradient
            assert self.backward is not None
            gradients = self.backward(g)
            if len(gradients) != len(self.sources):
                raise ValueError(f"{self.name}: backward returned {len(gradients)} gradients for {len(self.sources)} "
                                 "inputs")
            for position, (source, dx) in enumerate(zip(self.sources, gradients)):
                if source is not None:
                    source.receive(dx, self, position)
        self.free()

    def free(self) -> None:
        """Let go of the closure, and with it of every array that only this step needed."""
        self.backward, self.sources = None, []


def usable(dx: Gradient, target: Any, sender: Node, position: int) -> Array | None:
    """A gradient as an array, checked against the `target` that it belongs to; None where there is none."""
    g: Array = as_array(dx() if callable(dx) else dx)
    if g is not None and (g.shape != target.shape or g.dtype != target.dtype):
        raise ValueError(f"{sender.name}: backward returned a gradient of shape {g.shape} and dtype {g.dtype} for "
                         f"input {position} of shape {target.shape} and dtype {target.dtype}")
    return g


def parts_of(whole: Node, outs: tuple[Array, ...], new_node: type[Node] = Node) -> list[Node]:
    """A node for each output of an operation that has several; `whole` is the node of the operation itself.

    A part's closure puts its gradient in its place at the whole and sends nothing. The parts are younger than the
    whole, so when the whole's turn comes, all of them have been there.
    """
    together, zeros = whole.backward, array_module(*outs).zeros
    kinds = [(out.shape, out.dtype) for out in outs]  # not the outputs themselves, which may be large
    gradients: list[Array | None] = [None] * len(outs)
    whole.g = gradients

    def backward(gs: list[Array | None]) -> Sequence[Gradient]:  # an output that nothing came from has the gradient 0
        assert together is not None
        return together(tuple(zeros(shape, dtype=dtype) if g is None else g
                              for g, (shape, dtype) in zip(gs, kinds)))

    def put(i: int) -> Backward:
        def backward(g: Array) -> Sequence[Gradient]:
            gradients[i] = g
            return (None,)
        return backward
    whole.backward = backward
    return [new_node(f"{whole.name}[{i}]", put(i), [whole], out) for i, out in enumerate(outs)]


def newest_first(root: Node) -> list[Node]:
    """Every node that `root` was computed from, so that a node comes before all that it came from.

    A node is made after its inputs, so sorting by age is a topological order: when a node's turn comes, every use of
    its output has already sent its part of the gradient. A loop, not a recursion: a graph may be 100,000 nodes deep.
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
