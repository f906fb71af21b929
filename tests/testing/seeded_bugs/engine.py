"""Bugs in the walk backwards: what a rule cannot see."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygpt import Tensor, ops, placement
from tinygpt.autograd import OPS, graph
from tinygpt.autograd import operation as operation_module
from tinygpt.autograd import tensor as tensor_module
from tinygpt.autograd.graph import Node, newest_first, parts_of, usable
from tinygpt.engine.dispatch import twins_of

from .cases import Bug, FunctionExample, add
from .mutation import mutant


@contextlib.contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute exchanged inside the block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _shape(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(1, 4, int(rng.integers(1, 3))).tolist())


def fan_out(rng: np.random.Generator) -> FunctionExample:
    """A computed value with three uses."""
    x = rng.uniform(-2, 2, _shape(rng))

    def f(x: Tensor) -> Tensor:
        y = x.exp()
        return y * y.sin() + y
    return FunctionExample(f, (x,))


def tied(rng: np.random.Generator) -> FunctionExample:
    """A leaf with two uses."""
    n, m = rng.integers(1, 4, 2)
    return FunctionExample(lambda x, w: (x @ w).tanh() @ w.T, (rng.uniform(-2, 2, (3, n)), rng.uniform(-2, 2, (n, m))))


def chain(rng: np.random.Generator) -> FunctionExample:
    """A straight line of operations, with a bias."""
    shape = _shape(rng)
    x, b = rng.uniform(-2, 2, shape), rng.uniform(-2, 2, shape[-1:])
    return FunctionExample(lambda x, b: (x * 2 + b).tanh().sum(axis=0), (x, b))


def shared(rng: np.random.Generator) -> FunctionExample:
    """A sum, which hands one array to both of its inputs, of which one has another, older use."""
    x = rng.uniform(-2, 2, _shape(rng))

    def f(x: Tensor) -> Tensor:
        a, b = x.exp(), x.sin()
        older = a.tanh()
        return (older + (a + b)) * 1
    return FunctionExample(f, (x,))


def residual(rng: np.random.Generator) -> FunctionExample:
    """Two leaves, added."""
    shape = _shape(rng)
    return FunctionExample(lambda x, y: x + y, (rng.uniform(-2, 2, shape), rng.uniform(-2, 2, shape)))


def skip(rng: np.random.Generator) -> FunctionExample:
    """A residual connection around a branch."""
    shape = (int(rng.integers(1, 3)), int(rng.integers(2, 5)))
    return FunctionExample(lambda x, w: (x + ops.softmax(x * w)) + ops.layer_norm(x + ops.softmax(x * w), w),
                           (rng.uniform(-2, 2, shape), rng.uniform(-2, 2, shape[-1:])))


def several(rng: np.random.Generator) -> FunctionExample:
    """An operation with several outputs, one of them unused."""
    x = rng.uniform(-2, 2, (2, 6))

    def f(x: Tensor) -> Tensor:
        a, _, c = ops.split(x, lengths=(1, 2, 3), axis=1)
        return a * c + c.exp()
    return FunctionExample(f, (x,))


def _received(*edits: tuple[str, str]) -> Any:
    """A computed value takes the gradients of its uses in another way."""
    return lambda: patched(Node, "receive", mutant(Node.receive, *edits))


def _received_by_leaves(*edits: tuple[str, str]) -> Any:
    """A leaf does."""
    return lambda: patched(placement, "_receive", mutant(placement._receive, *edits))


ADDED = "as_array(self.g + dx)"
add(Bug("engine: fan-out overwritten", fan_out, _received((ADDED, "dx"))))
add(Bug("engine: the first use only", fan_out, _received((ADDED, "self.g"))))
add(Bug("engine: added in place to an array that others hold", shared, _received((ADDED, "self.g.__iadd__(dx)"))))
add(Bug("engine: nodes in the order they are found", skip, lambda: patched(
    tensor_module, "newest_first", mutant(
        newest_first, ('return sorted(found, key=operator.attrgetter("born"), reverse=True)', "return order"),
        ("found, waiting = {root}, [root]", "found, waiting, order = {root}, [root], [root]"),
        ("waiting.append(source)", "waiting.append(source)\n                order.append(source)")))))
add(Bug("engine: a tied leaf overwritten", tied, _received_by_leaves(("as_array(self.grad + g)", "g.copy()"))))
add(Bug("engine: a leaf keeps the array that it is handed", residual, _received_by_leaves(("g.copy() if", "g if"))))
add(Bug("engine: the second backward replaces the first", chain, _received_by_leaves((
    "if self.grad is None", "if True"))))
add(Bug("engine: an unused output counts as ones", several, lambda: patched(
    operation_module, "parts_of", mutant(parts_of, ("zeros(shape, dtype=dtype) if",
                                                    "zeros(shape, dtype=dtype) + 1 if")))))
add(Bug("engine: an output's gradient in another's place", several, lambda: patched(
    operation_module, "parts_of", mutant(parts_of, ("gradients[i] = g", "gradients[-1 - i] = g")))))
add(Bug("engine: shapes not checked, broadcast into place", chain, lambda: _unchecked()))


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    """No check of the gradient's shape, and an addition that forgets to undo broadcasting."""
    loose = mutant(usable, (
        "if g is not None and (g.shape != target.shape or g.dtype != target.dtype):", "if False:"))
    rule, twins = mutant(OPS["add"].rule, ("unbroadcast(g, y)", "g")), twins_of(OPS["add"])
    before = list(twins)
    twins.clear()
    try:
        with patched(graph, "usable", loose), patched(tensor_module, "usable", loose), \
                patched(OPS["add"], "rule", rule):
            yield
    finally:
        twins[:] = before
