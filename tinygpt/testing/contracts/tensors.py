"""The contracts of a function of Tensors, one function each.

form            the gradient has its input's shape, dtype and device, and memory of its own
no mutation     inputs, cotangent, outputs and saved arrays are what they were
rerun           the same input gives the same result and gradient, to the bit on a CPU
accumulation    two backward passes add up to twice the gradient
linearity       the gradient is linear in the cotangent, and zero for zero
fan-out         a value used twice, and a Tensor passed as two arguments, get the sum of both gradients
layouts         column-major, strided and reversed arrays mean the same numbers

Prerequisites: base.py. Next: plain.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...autograd import Operation, Tensor
from ...backend import Array, to_numpy
from ..oracles.line import scales
from ..oracles.problem import EPS, TensorProblem, euclidean, gradients_of
from .base import (LAYOUTS, NONDETERMINISTIC, UNLIKE_RECORDED, Broken, Watch, arrays_in, check_form, in_layout, near,
                   overlap, same, size_of)

__all__ = ["check_tensors"]

Gradients = list[np.ndarray | None]
COARSE = 1e-3  # how near is near where the function computes in float32 or less inside
NOISE = 1024.0  # times the outputs' rounding: gradients so small may be nothing but rounding


def _saved_arrays(outputs: Sequence[Tensor]) -> list[tuple[str, Array]]:
    """(operation, array) for the arrays that the closures of a graph hold on to, each once."""
    seen: set[int] = set()
    found: list[tuple[str, Array]] = []
    waiting = [out._node for out in outputs if out._node is not None]
    visited = set(waiting)
    while waiting:
        node = waiting.pop()
        for array in arrays_in(node.backward):
            if id(array) not in seen:
                seen.add(id(array))
                found.append((node.name, array))
        for source in node.sources:
            if source is not None and not isinstance(source, Tensor) and source not in visited:
                visited.add(source)
                waiting.append(source)
    return found


class _Pass:
    """One forward and one backward pass, with everything that must not change watched.

    Args:
        frozen: make inputs and cotangents read-only, so that a write is found even if it is undone.
    """

    def __init__(self, problem: TensorProblem, v: np.ndarray, frozen: bool) -> None:
        self.tensors = problem.tensors(problem.copies())
        watch = Watch()
        watch.add_inputs(problem.names, [t.data for t in self.tensors])
        if frozen:
            _freeze([t.data for t in self.tensors])
        self.outputs = problem.call(self.tensors)
        watch.check("the function")

        self.cotangents = problem.split(self.outputs, problem.spread(v))
        saved = _saved_arrays(self.outputs)
        self.saved = [array for _, array in saved]
        for name, array in saved:
            watch.add(f"saved arrays of {name}",
                      "an array that it had saved: whoever else holds that array sees other numbers", array)
        for out in self.outputs:
            watch.add("output", "the output of the forward pass", out.data)
        for g in self.cotangents:
            watch.add("cotangent", "the gradient that it was given, which others may hold too", g)
        if frozen:
            _freeze(self.cotangents)
        problem.start_backward(self.outputs, self.cotangents)
        watch.check("backward")


def _freeze(arrays: Sequence[Array]) -> None:
    for x in arrays:
        if isinstance(x, np.ndarray):
            x.flags.writeable = False


def _first_pass(problem: TensorProblem, v: np.ndarray) -> _Pass:
    """A first pass on read-only arrays; if something objects, one on writable arrays finds out what was written to."""
    with np.errstate(all="ignore"):
        try:
            return _Pass(problem, v, frozen=True)
        except Broken:
            raise
        except Exception:
            try:
                return _Pass(problem, v, frozen=False)
            except Broken:
                raise
            except Exception as error:
                raise Broken("backward runs", f"{type(error).__name__}: {error}") from error


class _Contracts:
    """The contracts, and what they share: the first gradient g, how large numbers are, and how near is near."""

    def __init__(self, problem: TensorProblem, v: np.ndarray, first: _Pass) -> None:
        self.problem, self.v, self.first = problem, v, first
        self.gradient = gradients_of(first.tensors)
        inside = [*first.saved, *(out.data for out in first.outputs)]
        problem.saw_sizes(map(size_of, inside))
        coarse = any(x.dtype.kind == "f" and x.dtype.itemsize < 8 for x in inside)
        self.close = COARSE if coarse else 1e-9
        eps = float(np.finfo(np.float32).eps)
        rounding = problem.rounding_of(problem.shaken(eps), eps) if coarse else problem.rounding
        rounding = np.where(rounding == 0, eps * problem.magnitude if coarse else EPS * problem.magnitude, rounding)
        # What `near` is to take for the size of things: so large that what is left where all cancels is near to zero.
        self.output_size = NOISE * float(rounding.max(initial=0)) / self.close
        slope = NOISE * euclidean(v * rounding) / self.close
        self.sizes = [slope / float(np.median(scales(x))) if x.size else 0.0 for x in problem.inputs]

    def leaves(self) -> list[Tensor]:
        return self.problem.tensors(self.problem.copies())

    def agree(self, contract: str, message: str, expected: Sequence[Any], got: Sequence[Any],
              sizes: Sequence[float] | None = None, equal: Callable[[Any, Any], bool] | None = None) -> None:
        """Broken unless two gradients are the same, by `equal` or to rounding relative to `sizes`."""
        for i, (name, a, b) in enumerate(zip(self.problem.names, expected, got)):
            if a is None and b is None:
                continue
            a, b = (np.zeros(self.problem.inputs[i].shape) if g is None else to_numpy(g) for g in (a, b))
            scale = self.sizes[i] if sizes is None else sizes[i]
            if not (near(a, b, scale, self.close) if equal is None else equal(a, b)):
                with np.errstate(all="ignore"):
                    gap = float(np.abs(a - b).max(initial=0)) if a.shape == b.shape else np.inf
                raise Broken(contract, f"{message.format(name=name)}: off by up to {gap:.3g}", name)

    def form(self) -> None:
        held = [("input " + name, t.data) for name, t in zip(self.problem.names, self.first.tensors)]
        held += [("cotangent", g) for g in self.first.cotangents]
        for name, t in zip(self.problem.names, self.first.tensors):
            if t.grad is None:
                continue
            check_form(name, t.grad, t.data)
            for owner, array in held:
                if overlap(t.grad, array):
                    raise Broken("memory", f"the gradient of {name} shares memory with the {owner}: adding to it in "
                                 "place would change both", name)
            held.append((f"gradient of {name}", t.grad))

    def rerun_and_accumulation(self) -> None:
        problem, g = self.problem, self.gradient
        exact = all(device == "cpu" for device in problem.arguments.devices)
        equal = same if exact else None  # a GPU may add up in another order
        leaves = self.leaves()
        results = problem.pull(leaves, self.v)
        for out, again in zip(self.first.outputs, results):
            if not (same if exact else near)(out.data, again.data):
                raise Broken("rerun", NONDETERMINISTIC, undecided=True)
        self.agree("rerun", "the gradient of {name} differs from one run to the next on the same input", g,
                   [t.grad for t in leaves], equal=equal)
        recorded = problem.joined([out.data for out in self.first.outputs])
        if not near(problem.base, recorded, self.output_size, self.close):
            raise Broken("no_grad", UNLIKE_RECORDED, undecided=True)
        problem.pull(leaves, self.v)
        self.agree("accumulation", "two backward passes add up to something else than twice the gradient of {name}",
                   _times(2, g), [t.grad for t in leaves])

    def linearity(self, rng: np.random.Generator) -> None:
        g, n = self.gradient, self.v.size
        w, s, t = rng.standard_normal(n), *rng.uniform(0.5, 2.0, 2)
        g_w, g_mix, g_zero = (self.problem.vjp(self.problem.copies(), c) for c in (w, s * self.v + t * w, np.zeros(n)))
        sizes = [size + sum(size_of(dx) for dx in pair if dx is not None) for size, *pair in zip(self.sizes, g, g_w)]
        expected = [None if a is None or b is None else s * a + t * b for a, b in zip(g, g_w)]
        self.agree("linear in the cotangent", "the gradient of {name} is not linear in the cotangent", expected, g_mix,
                   sizes)
        self.agree("zero cotangent", "the gradient of {name} for a cotangent of zeros is not zero", _times(0, g),
                   g_zero, [0.0] * len(g))

    def fan_out(self) -> None:
        """f(m) + f(m) for a computed m: both uses count."""
        problem, leaves = self.problem, self.leaves()
        middle = [_identity([t], {}) for t in leaves]
        with np.errstate(all="ignore"):
            outputs = problem.call(middle) + problem.call(middle)
            half = problem.split(outputs[:len(outputs) // 2], problem.spread(self.v))
            problem.start_backward(outputs, half + half)
        self.agree("fan-out", "a value that is used twice does not get the sum of both gradients ({name})",
                   _times(2, self.gradient), [t.grad for t in leaves])

    def tied(self) -> None:
        """One Tensor passed as two arguments gets the sum of the two gradients."""
        problem, shapes = self.problem, [x.shape for x in self.problem.inputs]
        pair = next(((i, j) for j in range(len(shapes)) for i in range(j) if shapes[i] == shapes[j]), None)
        if pair is None:
            return
        i, j = pair
        arrays = problem.copies()
        arrays[j] = arrays[i].copy()
        try:
            apart = problem.vjp(arrays, self.v)
        except Exception:  # the two may not be given the same values: out of the domain of one
            return
        leaves = problem.tensors(arrays)
        leaves[j] = leaves[i]
        problem.pull(leaves, self.v)
        one, other, got = apart[i], apart[j], leaves[i].grad
        if one is None or other is None or not np.isfinite(one).all() or not np.isfinite(other).all():
            return
        if got is None or not near(one + other, got, self.sizes[i] + size_of(one) + size_of(other), self.close):
            raise Broken("tied arguments", f"one Tensor passed as both {problem.names[i]} and {problem.names[j]} does "
                         "not get the sum of their gradients", problem.names[i])

    def layouts(self, rng: np.random.Generator) -> None:
        results = [out.data for out in self.first.outputs]
        for layout in LAYOUTS[1:]:
            try:
                self._layout(layout, self.problem.inputs, results, self.gradient)
            except Broken:  # at a kink, rounding may have chosen another side: a real mistake is one nearby as well
                nearby = [x + 1e-4 * (np.abs(x) + 0.1) * rng.uniform(-1, 1, x.shape) for x in self.problem.inputs]
                leaves = self.problem.tensors(nearby)
                again = self.problem.pull(leaves, self.v)
                self._layout(layout, nearby, [out.data for out in again], [t.grad for t in leaves])

    def _layout(self, layout: str, inputs: Sequence[np.ndarray], results: Sequence[Array],
                gradient: Sequence[Any]) -> None:
        problem = self.problem
        leaves = problem.tensors([in_layout(x, layout) for x in inputs])
        with np.errstate(all="ignore"):
            outputs = problem.call(leaves)
            for out, expected in zip(outputs, results):
                if not near(expected, out.data, self.output_size, self.close):
                    raise Broken("layouts", f"the result changes when the inputs are laid out in memory as {layout}")
            cotangents = problem.split(outputs, problem.spread(self.v))
            problem.start_backward(outputs, [in_layout(g, layout) for g in cotangents])
        self.agree("layouts", "the gradient of {name} changes when inputs and cotangent are laid out in memory as "
                   + layout, gradient, [t.grad for t in leaves])

    def broadcast_cotangent(self) -> None:
        """What a sum hands back: one number seen as an array, all strides 0."""
        problem, leaves = self.problem, self.leaves()
        ones = problem.vjp(problem.copies(), np.ones(self.v.size))
        with np.errstate(all="ignore"):
            outputs = problem.call(leaves)
            if problem.finite is not None or any(out.device != "cpu" for out in outputs):
                return
            try:
                problem.start_backward(outputs, [np.broadcast_to(np.ones((), out.dtype), out.shape) for out in outputs])
            except ValueError as error:  # all its elements are one: there is nothing to write to
                raise Broken("cotangent unchanged", f"backward does not take a broadcast cotangent: {error}") from error
        self.agree("layouts", "the gradient of {name} is wrong for a broadcast cotangent (one number seen as an array)",
                   ones, [t.grad for t in leaves])


_identity = Operation("identity", lambda xp, x: (x, lambda g: (g,)))


def _times(factor: float, gradient: Gradients) -> Gradients:
    return [None if g is None else factor * g for g in gradient]


def check_tensors(problem: TensorProblem, v: np.ndarray, rng: np.random.Generator) -> Gradients:
    """All contracts of a function of Tensors at `problem.inputs`, with the cotangent v.

    Returns:
        the gradient for v.

    Raises:
        Broken: the first contract that does not hold.
    """
    contracts = _Contracts(problem, v, _first_pass(problem, v))
    contracts.form()
    contracts.rerun_and_accumulation()
    if all(g is None or np.isfinite(g).all() for g in contracts.gradient):
        contracts.linearity(rng)
        contracts.fan_out()
        contracts.tied()
        contracts.layouts(rng)
        contracts.broadcast_cotangent()
    return contracts.gradient
