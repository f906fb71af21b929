"""Derivatives of functions: `grad`, `jacobian`, `hessian_vector`, and with them second and higher derivatives.

A rule is plain NumPy: it works on whatever NumPy's functions take, and those take Tensors. So the derivative of a
derivative needs no further rules. While a function is differentiated here, each node keeps its operation, arrays and
settings. On the way back, the rule is run once more, on Tensors in the place of the arrays, and its closure is given a
Tensor: what it computes is on the tape itself.

    grad(f)(x)                 the gradient, a Tensor; grad(grad(f)) is the second derivative
    jacobian(f, x)             the derivative of each output by each input
    hessian_vector(f, x, v)    the change of the gradient along v

The price is paid here alone: the rules do not know of it. A rule whose closure writes into an array cannot be run on
Tensors; a few have another form here, in OTHER_FORMS, and what has none is refused.

Prerequisites: dispatch.py. Next: ../ops/elementwise.py. Pearlmutter, "Fast exact multiplication by the Hessian" (1994).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..arrays import Array, as_array
from ..autograd.graph import Backward, Node, Output, Source, newest_first
from ..autograd.operation import Engine, Operation, unbroadcast
from ..autograd.recording import is_grad_enabled, open_blocks
from ..autograd.tensor import Tensor, wrap
from .dispatch import DeviceNode

__all__ = ["grad", "hessian_vector", "jacobian"]


# ---------------------------------------------------------------------------------------------------------------------
# Nodes that remember


class _Remembered:
    """The closure of an operation, together with what it came from."""

    __slots__ = ("backward", "operation", "arrays", "settings")

    def __init__(self, backward: Backward, operation: Operation, arrays: Sequence[Any], settings: dict) -> None:
        self.backward, self.operation, self.arrays, self.settings = backward, operation, arrays, settings

    def __call__(self, g: Any) -> Any:
        return self.backward(g)


class _Node(DeviceNode):
    """A node that keeps what it was made with; of an operation with several outputs, its parts know their number."""

    __slots__ = ("memory", "part")

    def __init__(self, name: str, backward: Backward, sources: list[Source], out: Array) -> None:
        super().__init__(name, backward, sources, out)
        self.memory = backward if isinstance(backward, _Remembered) else None
        self.part = None if self.memory is not None else int(name[len(sources[0].name) + 1:-1])


class _Remembering(Engine):
    """The engine that was there before, with nodes that remember."""

    node = _Node

    def __init__(self, before: Engine) -> None:
        self.before = before

    def run(self, operation: Operation, arrays: Sequence[Any], settings: dict[str, Any], recorded: bool) -> Output:
        out, backward = self.before.run(operation, arrays, settings, recorded)
        return out, _Remembered(backward, operation, list(arrays), dict(settings)) if recorded else backward

    def __getattr__(self, name: str) -> Any:  # the switch of the twins, say
        return getattr(self.before, name)


class _Depth(threading.local):
    """How many derivatives are being computed in this thread, and the leaves that stand for their arguments."""

    def __init__(self) -> None:
        self.n = 0
        self.arguments: list[Tensor] = []


_lock, _depth = threading.RLock(), _Depth()
_users = 0  # derivatives that are being computed, in all threads


@contextmanager
def _remembering() -> Iterator[bool]:
    """Inside, everything is recorded, and nodes remember. Yields whether the derivative may be differentiated again:
    inside of another one, but not inside of `no_grad`."""
    global _users
    with _lock:
        if not _users:
            Operation.engine = _Remembering(Operation.engine)
        _users += 1
    inside, blocks = _depth.n > 0 and is_grad_enabled(), open_blocks.blocks
    _depth.n += 1
    open_blocks.blocks = []
    try:
        yield inside
    finally:
        open_blocks.blocks = blocks
        _depth.n -= 1
        if not _depth.n:
            _depth.arguments = []
        with _lock:
            _users -= 1
            if not _users:
                assert isinstance(Operation.engine, _Remembering)
                Operation.engine = Operation.engine.before


# ---------------------------------------------------------------------------------------------------------------------
# The walk, on Tensors


def _of_places(x: Any, places: np.ndarray, g: Any) -> Any:
    """The gradient of an array of which the elements numbered `places` were taken."""
    return np.bincount(places.ravel(), weights=g.reshape(-1), minlength=x.size).reshape(x.shape)


def _getitem(xp: Any, x: Any, *, key: Any) -> Output:
    """`getitem`, with a closure that writes nowhere."""
    return x[key], lambda g: (_of_places(x, np.arange(x.size).reshape(x.shape)[key], g),)


def _embedding(xp: Any, ids: Any, weight: Any) -> Output:
    """`embedding`, with a closure that writes nowhere."""
    return weight[ids], lambda g: (None, _of_places(weight, np.arange(weight.size).reshape(weight.shape)[ids], g))


def _astype(xp: Any, x: Any, *, dtype: Any) -> Output:
    """`astype`, without a look at the device."""
    return x.astype(dtype), lambda g: (g.astype(x.dtype),)


def _cross_entropy(xp: Any, logits: Any, targets: Any, weights: Any = None, *, ignore_index: int = -100,
                   reduction: str = "mean") -> Output:
    """`cross_entropy`, with a closure that writes nowhere."""
    counts = (targets != ignore_index).reshape(-1)  # (N,)
    onehot = np.eye(logits.shape[-1])[np.where(counts, targets.reshape(-1), 0)]  # (N, V)
    w = counts * (1.0 if weights is None else weights.reshape(-1))

    def backward(g: Any) -> Sequence[Any]:
        x = logits.reshape(onehot.shape)
        powers = np.exp(x - x.data.max(axis=-1, keepdims=True))
        share = w * (g.reshape(-1) if reduction == "none" else g / (w.sum() or 1) if reduction == "mean" else g)  # (N,)
        dx = (powers / powers.sum(axis=-1, keepdims=True) - onehot) * share[:, None]
        return dx.reshape(logits.shape).astype(logits.dtype), None, None
    return None, backward


def _power(xp: Any, x: Any, y: Any) -> Output:
    """`power`, whose logarithm is of a Tensor, or of a number."""
    def backward(g: Any) -> Sequence[Any]:
        return (lambda: unbroadcast(g * y * x ** (1 * y - (y != 0)), x),
                lambda: unbroadcast(g * x ** y * np.log(np.where(x > 0, x, 1)), y))
    return None, backward


def _clip(xp: Any, x: Any, *, low: float | None = None, high: float | None = None) -> Output:
    """`clip`, with a closure that writes nowhere."""
    inside = np.clip(x.data, low, high) == x.data
    return None, lambda g: (g * inside,)


OTHER_FORMS: dict[str, Callable[..., Output]] = {
    "astype": _astype, "clip": _clip, "cross_entropy": _cross_entropy, "embedding": _embedding, "getitem": _getitem,
    "power": _power}


def _again(node: _Node, g: Any) -> Sequence[Any]:
    """What a node's rule, run on Tensors, returns for the gradient g of its output."""
    memory = node.memory
    assert memory is not None
    inputs = [x if source is None else source if isinstance(source, Tensor) else wrap(x, source)
              for x, source in zip(memory.arrays, node.sources)]
    rule = OTHER_FORMS.get(memory.operation.name, memory.operation.rule)
    return rule(np, *inputs, **memory.settings)[1](g)


def _first(node: _Node, g: Any) -> Sequence[Any]:
    """What a node's closure returns, for arrays."""
    assert node.memory is not None
    return node.memory.backward(tuple(part.data for part in g) if isinstance(g, tuple) else g.data)


def _gradients(node: _Node, g: Any, again: bool) -> Iterator[tuple[Source, Tensor]]:
    """The sources that a gradient is wanted for, and their parts of it, as Tensors."""
    try:
        for source, dx in zip(node.sources, (_again if again else _first)(node, g)):
            dx = dx() if callable(dx) and source is not None else dx
            if source is not None and dx is not None:
                yield source, dx if isinstance(dx, Tensor) else wrap(as_array(dx))
    except (TypeError, AttributeError, NotImplementedError) as error:
        if not again:
            raise
        raise TypeError(f"{node.name} has no second derivative here, since its rule does not work on Tensors: "
                        f"{error}") from error


def _useful(root: Node, target: Source) -> list[Node]:
    """The nodes between the target and the root, newest first."""
    found = {target}
    between = []
    for node in reversed(newest_first(root)):
        if node is not target and any(source in found for source in node.sources if source is not None):
            found.add(node)
            between.append(node)
    return between[::-1]


def _walk(y: Tensor, x: Tensor, seed: Any, again: bool) -> Tensor:
    """The gradient of Σ seed · y by x, as a Tensor; on the tape if `again`."""
    target = x._node or x
    if y._node is None:
        return seed if y is x else wrap(np.zeros_like(x.data))
    pending: dict[Any, Any] = {y._node: seed}
    for node in _useful(y._node, target):
        g = pending.pop(node, None)
        if g is None:
            continue
        if not isinstance(node, _Node):
            raise ValueError(f"{node.name} was computed before the derivative was asked for: compute it inside of the "
                             "function")
        if node.part is not None:
            whole = node.sources[0]
            pending.setdefault(whole, {})[node.part] = g
            continue
        if isinstance(g, dict):
            g = _all_parts(node, g)
        for source, dx in _gradients(node, g, again):
            pending[source] = pending[source] + dx if source in pending else dx
    found = pending.get(target)
    return wrap(np.zeros_like(x.data)) if found is None else found


def _all_parts(node: _Node, given: dict[int, Any]) -> tuple[Any, ...]:
    """The gradients of all outputs of an operation; those that nothing came from are 0."""
    memory = node.memory
    assert memory is not None
    out = memory.operation.rule(np, *memory.arrays, **memory.settings)[0]
    return tuple(given[i] if i in given else wrap(np.zeros_like(part)) for i, part in enumerate(out))


# ---------------------------------------------------------------------------------------------------------------------
# The functions


def _argument(x: Any) -> Tensor:
    """A Tensor of its own for the argument, so that another use of the same Tensor in the function does not count."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.dtype.kind not in "fc":
        raise TypeError(f"a derivative needs floating-point numbers, got {x.dtype}")
    if x.requires_grad:
        return x * 1
    _depth.arguments.append(leaf := Tensor(x.data, requires_grad=True))
    return leaf


def _off_the_tape(found: Tensor, y: Tensor) -> Tensor:
    """A derivative that is not on the tape; a gradient by what else the function used is refused, not lost."""
    leaves = {source for node in newest_first(y._node) for source in node.sources if isinstance(source, Tensor)
              } if y._node is not None else set()
    others = list(leaves.difference(_depth.arguments))

    def refuse(g: Any) -> Any:
        raise TypeError("a derivative that depends on Tensors beside its argument keeps no gradient by them unless the "
                        "argument is a Tensor with requires_grad=True; give it one, or .detach() what comes out")
    return wrap(found.data, DeviceNode("grad", refuse, others, found.data)) if others else found


def _output(y: Any) -> Tensor:
    if not isinstance(y, Tensor):
        raise TypeError(f"the function returned {type(y).__name__}, expected a Tensor")
    return y


def grad(function: Callable[..., Any], argument: int = 0) -> Callable[..., Tensor]:
    """The gradient of a function of one result, as a function of the same arguments.

    Args:
        function: takes Tensors, and returns a Tensor of one element.
        argument: the position of the argument to differentiate by.

    Returns:
        a function that returns a Tensor of the argument's shape. Inside another `grad`, or of a Tensor that requires a
        gradient, it is on the tape: `grad(grad(f))` is the second derivative. Elsewhere a gradient by Tensors that
        the function used beside its arguments is refused.

    >>> grad(grad(lambda x: x ** 3))(2.0).item()
    12.0
    """
    def gradient(*args: Any) -> Tensor:
        given = list(args)
        enabled = is_grad_enabled()
        wanted = enabled and any(isinstance(x, Tensor) and x.requires_grad for x in args)
        with _remembering() as inside:
            given[argument] = x = _argument(given[argument])
            y = _output(function(*given))
            if y.dtype.kind == "c":
                raise TypeError("grad: the function returned a complex number, expected a real one: its .real, say")
            if y.size != 1:
                raise ValueError(f"grad: the function returned shape {y.shape}, expected one number: use jacobian, or "
                                 "sum it")
            found = _walk(y, x, wrap(np.ones_like(y.data)), inside or wanted)
            return _off_the_tape(found, y) if enabled and not (inside or wanted) else found
    return gradient


def jacobian(function: Callable[[Any], Any], x: Any) -> Tensor:
    """The derivative of each element of function(x) by each element of x: shape (*output, *x)."""
    enabled = is_grad_enabled()
    wanted = enabled and isinstance(x, Tensor) and x.requires_grad
    with _remembering() as inside:
        x = _argument(x)
        y = _output(function(x))
        seeds = np.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
        rows = [_walk(y, x, wrap(seed), inside or wanted) for seed in seeds]
        if not rows:
            return wrap(np.zeros((*y.shape, *x.shape), x.dtype))
        whole: Any = np.stack(rows)
        whole = whole.reshape((*y.shape, *x.shape))
        return _off_the_tape(whole, y) if enabled and not (inside or wanted) else whole


def hessian_vector(function: Callable[[Any], Any], x: Any, v: Any) -> Tensor:
    """The second derivative of a function of one result, times v: how the gradient at x changes along v."""
    v = v if isinstance(v, Tensor) else Tensor(np.asarray(v, dtype=np.result_type(x.dtype if isinstance(x, Tensor)
                                                                                  else np.asarray(x).dtype)))
    if v.shape != np.shape(x):
        raise ValueError(f"hessian_vector: x has shape {np.shape(x)}, and v has {v.shape}")
    gradient = grad(function)
    return grad(lambda z: (gradient(z) * v).sum())(x)
