"""The manners of a gradient, which no comparison of numbers sees; looked at before any number is.

A projection Σ g·u broadcasts, so a gradient of the wrong shape can have the right projection; a rule that writes into
its cotangent is right until somebody else needs that array. Each contract is one function here: it raises `Broken`
with a sentence that says what was found.

Read before: problem.py. Read next: gradcheck.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..autograd import Operation, Tensor
from ..backend import Array, device_of, to_numpy
from .problem import PlainProblem, Problem, TensorProblem, host_array, join
from .values import LAYOUTS, in_layout

__all__ = ["Broken", "arrays_in", "check_form", "check_plain", "check_tensors", "near", "overlap", "same", "saved_arrays"]

CLOSE = 1e-9  # of the largest entry: sums in another order, far from any mistake


class Broken(Exception):
    """A contract does not hold.

    Attributes:
        contract: its name.
        argument: the argument concerned, or "".
        undecided: whether this makes a judgement impossible, rather than the gradient wrong.
    """

    def __init__(self, contract: str, message: str, argument: str = "", undecided: bool = False) -> None:
        super().__init__(message)
        self.contract, self.argument, self.undecided = contract, argument, undecided


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, NaN included."""
    a, b = to_numpy(a), to_numpy(b)
    return a.shape == b.shape and a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=True))


def near(a: Any, b: Any, scale: float = 0.0, close: float = CLOSE) -> bool:
    """Equal to rounding: to `close` times the largest entry, or times `scale`."""
    a, b = to_numpy(a), to_numpy(b)
    if a.shape != b.shape:
        return False
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    size = max(float(np.abs(a[finite]).max(initial=0)), float(np.abs(b[finite]).max(initial=0)), scale)
    return bool((np.abs(a[finite] - b[finite]) <= close * size).all())


def arrays_in(x: Any, depth: int = 0) -> Iterator[Array]:
    if type(x) is float:
        yield np.asarray(x)
    elif isinstance(getattr(x, "dtype", None), np.dtype) and not isinstance(x, (np.generic, Tensor)):
        yield x
    elif isinstance(x, (tuple, list)) and depth < 5:
        for part in x:
            yield from arrays_in(part, depth + 1)
    elif hasattr(x, "__closure__") and depth < 5:
        for cell in x.__closure__ or ():
            try:
                yield from arrays_in(cell.cell_contents, depth + 1)
            except ValueError:  # a cell that is still empty
                pass


def saved_arrays(outputs: Sequence[Tensor]) -> list[tuple[str, Array]]:
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


# ---------------------------------------------------------------------------------------------------------------------
# A function of Tensors


def _size(x: Array) -> float:
    """The largest finite magnitude among floating-point numbers."""
    x = to_numpy(x)
    return float(np.abs(x[np.isfinite(x)]).max(initial=0)) if x.dtype.kind == "f" else 0.0


class _Pass:
    """One forward and one backward pass, with everything that must not change watched."""

    def __init__(self, problem: TensorProblem, arrays: Sequence[np.ndarray], v: np.ndarray, frozen: bool) -> None:
        self.problem = problem
        self.tensors = problem.tensors(arrays)
        before = [to_numpy(t.data).copy() for t in self.tensors]
        if frozen:
            for t in self.tensors:
                _freeze(t.data)
        self.outputs = problem.call(self.tensors)
        self._unchanged("the function", before)
        self.cotangents = problem.split(self.outputs, problem.spread(v))
        kept = [g.copy() for g in self.cotangents]
        results = [out.data.copy() for out in self.outputs]
        saved = [(name, array, array.copy()) for name, array in saved_arrays(self.outputs)]
        self.magnitude = max((_size(array) for _, array in saved_arrays(self.outputs)), default=1.0)
        if frozen:
            for g in self.cotangents:
                _freeze(g)
        pairs = [(out, g) for out, g in zip(self.outputs, self.cotangents) if out.requires_grad]
        if pairs:
            join(*zip(*pairs))()
        self._unchanged("backward", before)
        for g, old in zip(self.cotangents, kept):
            if not same(g, old):
                raise Broken("cotangent unchanged", "backward changed the gradient that it was given, which others may "
                             "hold too")
        for out, old in zip(self.outputs, results):
            if not same(out.data, old):
                raise Broken("output unchanged", "backward changed the output of the forward pass")
        for name, array, old in saved:
            if not same(array, old):
                raise Broken("saved arrays unchanged", f"backward of {name} changed an array that it had saved: a second "
                             "look at the same closure, or another holder of that array, would see other numbers")

    def _unchanged(self, who: str, before: list[np.ndarray]) -> None:
        for name, t, old in zip(self.problem.names, self.tensors, before):
            if not same(t.data, old):
                raise Broken("inputs unchanged", f"{who} changed its input {name} in place", name)

    @property
    def gradients(self) -> list[Array | None]:
        return [t.grad for t in self.tensors]


def _freeze(x: Array) -> None:
    if isinstance(x, np.ndarray):
        x.flags.writeable = False


def _watched(problem: TensorProblem, v: np.ndarray) -> _Pass:
    """A first pass on read-only arrays; if something objects, one on writable arrays finds out what was written to."""
    def copies() -> list[np.ndarray]:
        return [x.copy() for x in problem.inputs]
    with np.errstate(all="ignore"):
        try:
            return _Pass(problem, copies(), v, frozen=True)
        except Broken:
            raise
        except Exception:
            try:
                return _Pass(problem, copies(), v, frozen=False)
            except Broken:
                raise
            except Exception as error:
                raise Broken("backward runs", f"{type(error).__name__}: {error}") from error


def _manners(problem: TensorProblem, first: _Pass) -> None:
    """Shape, dtype, device, and nobody else's memory."""
    arrays = [("input " + name, t.data) for name, t in zip(problem.names, first.tensors)]
    arrays += [("cotangent", g) for g in first.cotangents]
    for name, t in zip(problem.names, first.tensors):
        if t.grad is None:
            continue
        check_form(name, t.grad, t.data)
        for owner, array in arrays:
            if overlap(t.grad, array):
                raise Broken("memory", f"the gradient of {name} shares memory with the {owner}: adding to it in place "
                             "would change both", name)
        arrays.append((f"gradient of {name}", t.grad))


def overlap(a: Array, b: Array) -> bool:
    return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.size > 0 and np.may_share_memory(a, b) and \
        np.shares_memory(a, b)


def check_form(name: str, g: Any, x: Array) -> None:
    if not hasattr(g, "shape") or not hasattr(g, "dtype"):
        raise Broken("form", f"the gradient of {name} is a {type(g).__name__}, expected an array", name)
    if g.shape != x.shape:
        raise Broken("shape", f"the gradient of {name} has shape {g.shape}, but {name} has shape {x.shape}", name)
    if g.dtype != x.dtype:
        raise Broken("dtype", f"the gradient of {name} is {g.dtype}, but {name} is {x.dtype}", name)
    if device_of(g) != device_of(x):
        raise Broken("device", f"the gradient of {name} is on {device_of(g)}, but {name} is on {device_of(x)}", name)


def check_tensors(problem: TensorProblem, v: np.ndarray, rng: np.random.Generator) -> list[np.ndarray | None]:
    """All contracts of a function of Tensors at `problem.inputs`, with the cotangent v.

    Returns:
        the gradient.

    Raises:
        Broken: the first contract that does not hold.
    """
    first = _watched(problem, v)
    _manners(problem, first)
    problem.magnitude = max(problem.magnitude, first.magnitude)
    gradient = [None if g is None else to_numpy(g) for g in first.gradients]
    exact = all(device == "cpu" for device in problem.arguments.devices)

    second = problem.tensors([x.copy() for x in problem.inputs])
    values = problem.everything([x.copy() for x in problem.inputs])
    equal = same if exact else near  # a GPU may add up in another order
    again = np.concatenate([to_numpy(out.data).reshape(-1) for out in first.outputs])
    if again.shape != values.shape or not equal(again, values):
        raise Broken("rerun", "the function gives other results when it is called again with the same input: seed its "
                     "randomness, or keep its state out of it", undecided=True)
    problem.pull(second, v)
    _agree(problem, "rerun", gradient, [t.grad for t in second],
           "the gradient of {name} differs from one run to the next on the same input, by up to {gap:.3g}", equal)

    problem.pull(second, v)  # a second backward pass into the same leaves
    _agree(problem, "accumulation", [None if g is None else 2 * g for g in gradient], [t.grad for t in second],
           "two backward passes add up to something else than twice the gradient of {name}: off by up to {gap:.3g}")

    w, s, t = rng.standard_normal(v.size), *rng.uniform(0.5, 2.0, 2)
    inputs = [x.copy() for x in problem.inputs]
    g_w, g_mix, g_zero = (problem.vjp(inputs, c) for c in (w, s * v + t * w, np.zeros(v.size)))
    sizes = [_rounding(problem) + (0.0 if a is None or b is None else _size(a) + _size(b))
             for a, b in zip(gradient, g_w)]
    _agree(problem, "linear in the cotangent",
           [None if a is None or b is None else s * a + t * b for a, b in zip(gradient, g_w)], g_mix,
           "the gradient of {name} is not linear in the cotangent: off by up to {gap:.3g}", sizes=sizes)
    if all(g is None or np.isfinite(g).all() for g in gradient):
        _agree(problem, "zero cotangent", [None if g is None else np.zeros_like(g) for g in gradient], g_zero,
               "the gradient of {name} for a cotangent of zeros is not zero: up to {gap:.3g}", sizes=[0.0] * len(sizes))

    _fan_out(problem, v, gradient)
    _tied(problem, v)
    _layouts(problem, v, values, gradient, sizes)
    return gradient


def _rounding(problem: Problem) -> float:
    """The scale below which differences are what is left where everything cancels."""
    return 1e-4 * problem.magnitude


def _agree(problem: Problem, contract: str, expected: Sequence[Any], got: Sequence[Any],
           message: str, equal: Callable[..., bool] = near, sizes: Sequence[float] | None = None) -> None:
    for i, (name, a, b) in enumerate(zip(problem.names, expected, got)):
        if a is None and b is None:
            continue
        x = problem.inputs[i]
        a, b = (np.zeros(x.shape) if g is None else to_numpy(g) for g in (a, b))
        if a.shape != b.shape:
            raise Broken(contract, f"the gradient of {name} changes its shape, {a.shape} to {b.shape}", name)
        if not (same(a, b) if equal is same else near(a, b, _rounding(problem) if sizes is None else sizes[i])):
            with np.errstate(all="ignore"):
                gap = float(np.abs(a - b).max(initial=0))
            raise Broken(contract, message.format(name=name, gap=gap), name)


_identity = Operation("identity", lambda xp, x: (x, lambda g: (g,)))


def _fan_out(problem: TensorProblem, v: np.ndarray, gradient: Sequence[Any]) -> None:
    """f(m) + f(m) for a computed m: both uses count."""
    tensors = problem.tensors([x.copy() for x in problem.inputs])
    middle = [_identity([t], {}) for t in tensors]
    with np.errstate(all="ignore"):
        outputs = problem.call(middle) + problem.call(middle)
        half = problem.split(outputs[:len(outputs) // 2], problem.spread(v))
        pairs = [(out, g) for out, g in zip(outputs, half + half) if out.requires_grad]
        if pairs:
            join(*zip(*pairs))()
    _agree(problem, "fan-out", [None if g is None else 2 * g for g in gradient], [t.grad for t in tensors],
           "a value that is used twice does not get the sum of both gradients ({name}: off by up to {gap:.3g})")


def _tied(problem: TensorProblem, v: np.ndarray) -> None:
    """One Tensor in two places gets the sum of the two gradients."""
    shapes = [x.shape for x in problem.inputs]
    pair = next(((i, j) for j in range(len(shapes)) for i in range(j) if shapes[i] == shapes[j]), None)
    if pair is None:
        return
    i, j = pair
    arrays = [x.copy() for x in problem.inputs]
    arrays[j] = arrays[i].copy()
    if problem.everything([x.copy() for x in arrays]).shape != (problem.spread(v)).shape:
        return
    apart = problem.vjp(arrays, v)
    tensors = problem.tensors(arrays)
    tensors[j] = tensors[i]
    problem.pull(tensors, v)
    if apart[i] is None or apart[j] is None or not np.isfinite(apart[i]).all() or not np.isfinite(apart[j]).all():
        return
    size = float(np.abs(apart[i]).max(initial=0) + np.abs(apart[j]).max(initial=0))
    got = tensors[i].grad
    if got is None or not near(apart[i] + apart[j], got, size + _rounding(problem)):
        raise Broken("tied arguments", f"one Tensor passed as both {problem.names[i]} and {problem.names[j]} does not get "
                     "the sum of their gradients", problem.names[i])


def _layouts(problem: TensorProblem, v: np.ndarray, values: np.ndarray, gradient: Sequence[Any],
             sizes: Sequence[float]) -> None:
    """Column-major, strided and reversed arrays mean the same numbers; so do cotangents without memory of their own."""
    for layout in LAYOUTS[1:]:
        tensors = problem.tensors([in_layout(x, layout) for x in problem.inputs])
        with np.errstate(all="ignore"):
            outputs = problem.call(tensors)
            got = np.concatenate([to_numpy(out.data).reshape(-1) for out in outputs])
            if not near(values, got, _rounding(problem)):
                raise Broken("layouts", f"the result changes when the inputs are laid out in memory as {layout}")
            cotangents = [in_layout(g, layout) for g in problem.split(outputs, problem.spread(v))]
            pairs = [(out, g) for out, g in zip(outputs, cotangents) if out.requires_grad]
            if pairs:
                join(*zip(*pairs))()
        _agree(problem, "layouts", gradient, [t.grad for t in tensors],
               f"the gradient of {{name}} changes when inputs and cotangent are laid out in memory as {layout}: "
               "off by up to {gap:.3g}", sizes=sizes)

    constant = problem.vjp([x.copy() for x in problem.inputs], np.ones(v.size))
    tensors = problem.tensors([x.copy() for x in problem.inputs])
    with np.errstate(all="ignore"):
        outputs = problem.call(tensors)
        if problem.finite is not None or not all(out.requires_grad and out.device == "cpu" for out in outputs):
            return
        join(outputs, [np.broadcast_to(np.ones((), dtype=out.dtype), out.shape) for out in outputs])()
    _agree(problem, "layouts", constant, [t.grad for t in tensors],
           "the gradient of {name} is wrong for a broadcast cotangent (one number seen as an array): "
           "off by up to {gap:.3g}", sizes=sizes)


# ---------------------------------------------------------------------------------------------------------------------
# A function of arrays, with a gradient of its own


def check_plain(problem: PlainProblem) -> tuple[list[np.ndarray | None], list[str]]:
    """The contracts that make sense for plain functions: form, no mutation, the same again.

    Returns:
        the gradient, and notes.

    Raises:
        Broken: the first contract that does not hold.
    """
    notes: list[str] = []
    runs: list[tuple[np.ndarray, list[np.ndarray | None]]] = []
    for _ in range(2):
        placed = problem.arguments.placed([x.copy() for x in problem.inputs])
        with np.errstate(all="ignore"):
            value = problem.value(placed)
        _plain_unchanged(problem, placed, problem.name)
        with np.errstate(all="ignore"):
            found = problem.gradients(placed)
        _plain_unchanged(problem, placed, "grad")
        gradient: list[np.ndarray | None] = []
        for name, dx, x in zip(problem.names, found, placed):
            if dx is None:
                gradient.append(None)
                continue
            array = host_array(dx)
            if array.shape != x.shape:
                raise Broken("shape", f"the gradient of {name} has shape {array.shape}, but {name} has shape {x.shape}", name)
            if array.dtype != np.float64:
                notes.append(f"the gradient of {name} came as {array.dtype}")
            if overlap(array, x):
                notes.append(f"grad returned memory of its input {name}: adding to the one would change the other")
            gradient.append(array.astype(np.float64))
        runs.append((value.copy(), gradient))
    if not same(runs[0][0], runs[1][0]):
        raise Broken("rerun", "the function gives other results when it is called again with the same input: seed its "
                     "randomness, or keep its state out of it", undecided=True)
    _agree(problem, "rerun", runs[0][1], runs[1][1],
           "the gradient of {name} differs from one run to the next on the same input, by up to {gap:.3g}", same)
    return runs[0][1], list(dict.fromkeys(notes))


def _plain_unchanged(problem: PlainProblem, placed: Sequence[Array], who: str) -> None:
    for name, x, old in zip(problem.names, placed, problem.inputs):
        if not same(x, old):
            raise Broken("inputs unchanged", f"{who} changed its input {name} in place", name)
