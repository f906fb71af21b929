"""Bugs in the walk backwards: what a rule cannot see."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygpt import Tensor, ops
from tinygpt.autograd import tensor as tensor_module
from tinygpt.autograd.graph import Node, newest_first
from tinygpt.autograd.tensor import Tensor as TensorClass

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


def _backward(*edits: tuple[str, str]) -> Any:
    return lambda: patched(TensorClass, "backward", mutant(TensorClass.backward, *edits))


ADDED = "pending[source] = _add(pending[source], dx)"
add(Bug("engine: fan-out overwritten", fan_out, _backward((ADDED, "pending[source] = dx"))))
add(Bug("engine: the first use only", fan_out, _backward((ADDED, "pass"))))
add(Bug("engine: added in place to an array that others hold", shared, _backward((ADDED, "pending[source] += dx"))))
add(Bug("engine: nodes in the order they are found", skip, lambda: patched(
    tensor_module, "newest_first", mutant(
        newest_first, ('return sorted(found, key=operator.attrgetter("born"), reverse=True)', "return order"),
        ("found, waiting = {root}, [root]", "found, waiting, order = {root}, [root], [root]"),
        ("waiting.append(source)", "waiting.append(source)\n                order.append(source)")))))
add(Bug("engine: a tied leaf overwritten", tied, lambda: patched(
    TensorClass, "_accumulate", mutant(
        TensorClass._accumulate, ("self.grad = _add(self.grad, g)", "self.grad = g.copy()")))))
add(Bug("engine: a leaf keeps the array that it is handed", residual, lambda: patched(
    TensorClass, "_accumulate", mutant(TensorClass._accumulate, ("self.grad = g.copy()", "self.grad = g")))))
add(Bug("engine: the second backward replaces the first", chain, lambda: patched(
    TensorClass, "_accumulate", mutant(TensorClass._accumulate, ("if self.grad is not None:", "if False:")))))
add(Bug("engine: an unused output counts as ones", several, lambda: patched(
    _whole(), "gradients", mutant(_whole().gradients, ("self.zeros(shape, dtype=self.dtype)",
                                                       "self.zeros(shape, dtype=self.dtype) + 1"),
                                  ("super()", "super(Whole, self)")))))
add(Bug("engine: shapes not checked, broadcast into place", chain, lambda: _unchecked()))


def _whole() -> Any:
    from tinygpt.autograd.graph import Whole
    return Whole


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    """No check of the gradient's shape, and an addition that forgets to undo broadcasting."""
    from tinygpt.autograd import OPS
    loose = mutant(Node.gradients, ("if dx.shape != source.shape or dx.dtype != source.dtype:", "if False:"))
    rule = mutant(OPS["add"].rule, ("unbroadcast(g, y)", "g"))
    twins = OPS["add"].twins
    with patched(Node, "gradients", loose), patched(OPS["add"], "rule", rule), patched(OPS["add"], "twins", []):
        yield
    assert OPS["add"].twins is twins
