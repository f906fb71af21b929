"""Correct gradients that are no single operation: random expressions, plain functions with a gradient by hand, waves
that turn thousands of times within a step, and models that an optimizer holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygpt import Tensor, ops

from .waves import large

__all__ = ["expression", "plain", "wave"]

UNARY: tuple[Callable[[Tensor], Tensor], ...] = (
    ops.tanh, ops.sigmoid, ops.silu, ops.gelu, ops.softmax, ops.relu, ops.absolute, ops.sin,
    lambda x: ops.layer_norm(x, epsilon=0.1), lambda x: ops.exp(x * 0.3), lambda x: ops.sqrt(x * x + 1),
    lambda x: ops.log(x * x + 1), lambda x: x * x,
    lambda x: x.transpose(1, 0), lambda x: x[::-1], lambda x: x - x.mean(axis=0), lambda x: x[[0, 0, -1]],
    lambda x: ops.clip(x, low=-0.5, high=0.5), lambda x: x.max(axis=1, keepdims=True) + x)
BINARY: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda x, y: x + y.mean(), lambda x, y: x * y.sum(), lambda x, y: x @ ops.tanh(x.transpose(1, 0) @ x),
    lambda x, y: ops.maximum(x, y.mean()), lambda x, y: x / (1 + (y * y).sum()),
    lambda x, y: ops.concatenate([x, x * y.mean()], axis=1))


def expression(rng: np.random.Generator) -> tuple[Callable, tuple[np.ndarray, ...]]:
    """Up to five operations on one or two matrices."""
    shape = tuple(int(n) for n in rng.integers(1, 5, 2))
    steps = [(UNARY[int(rng.integers(0, len(UNARY)))] if rng.random() < 0.7 else
              BINARY[int(rng.integers(0, len(BINARY)))]) for _ in range(int(rng.integers(1, 6)))]
    # Where two kinks meet, automatic differentiation itself may be wrong: ties and zeros are for single operations.
    ties = len(steps) == 1 and rng.random() < 0.5
    inputs = tuple(rng.integers(-1, 2, shape) * 0.7 if ties else rng.uniform(-2, 2, shape)
                   for _ in range(int(rng.integers(1, 3))))

    def function(*xs: Tensor) -> Tensor:
        x, y = xs[0], xs[-1]
        for step in steps:
            x = step(x, y) if step in BINARY else step(x)  # type: ignore[call-arg, arg-type]
        return x
    return function, inputs


def _sort_gradient(w: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    def gradient(x: np.ndarray) -> np.ndarray:
        g = np.empty_like(x)
        g[np.argsort(x)] = w
        return g
    return gradient


W = np.array([0.3, -1.2, 0.7, 2.0, -0.4])
A = np.eye(5) * 2 + np.cos(np.add.outer(np.arange(5), np.arange(5))) / 4
PLAIN: tuple[tuple[str, Callable[..., Any], Callable[..., Any]], ...] = (
    ("norm", lambda x: np.linalg.norm(x), lambda x: x / np.linalg.norm(x)),
    ("variance", lambda x: np.var(x), lambda x: 2 / x.size * (x - x.mean())),
    ("x|x|", lambda x: np.sum(x * np.abs(x)), lambda x: 2 * np.abs(x)),
    ("absolute", lambda x: W @ np.abs(x), lambda x: W * np.sign(x)),
    ("largest", lambda x: np.max(x), lambda x: (x == x.max()) / np.sum(x == x.max())),
    ("quadratic form", lambda x: x @ A @ x, lambda x: (A + A.T) @ x),
    ("sorted", lambda x: W @ np.sort(x), _sort_gradient(W)),
    ("cumulative", lambda x: W @ np.cumsum(x), lambda x: np.cumsum(W[::-1])[::-1].copy()),
    ("huber", lambda x: np.sum(np.where(np.abs(x) < 1, 0.5 * x * x, np.abs(x) - 0.5)), lambda x: np.clip(x, -1, 1)),
    ("soft threshold", lambda x: W @ (np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)), lambda x: W * (np.abs(x) > 0.5)),
    ("log det", lambda x: np.linalg.slogdet(A + np.outer(x, x))[1],
     lambda x: 2 * np.linalg.solve(A + np.outer(x, x), x)),
    ("ratio", lambda x: x[0] / (1 + x @ x), lambda x: np.eye(5)[0] / (1 + x @ x) - 2 * x * x[0] / (1 + x @ x) ** 2),
    ("float32 inside", lambda x: float(np.sum(np.tanh(x.astype(np.float32)).astype(np.float64))),
     lambda x: 1 - np.tanh(x) ** 2),
    ("two inputs", lambda x: np.sum(np.arctan2(x, W)), lambda x: W / (x * x + W * W)))


def plain(rng: np.random.Generator) -> tuple[str, Callable, Callable, tuple[np.ndarray, ...]]:
    """(name, function, gradient, inputs), at any scale of the function."""
    name, function, gradient = PLAIN[int(rng.integers(0, len(PLAIN)))]
    scale = float(10.0 ** rng.integers(-9, 10))
    x = rng.uniform(-2, 2, 5)
    return name, lambda x: function(x) * scale, lambda x: gradient(x) * scale, (x,)


WAVES: tuple[Callable[[Tensor], Tensor], ...] = (
    ops.sin, ops.cos, lambda x: ops.sin(x) * ops.cos(x), lambda x: ops.exp(ops.sin(x)), lambda x: ops.tanh(ops.cos(x)),
    lambda x: ops.sin(x) + x * 1e-6, lambda x: ops.softmax(ops.sin(x)), lambda x: ops.sin(x).sum(),
    lambda x: ops.sin(ops.sqrt(x * x + 1)), lambda x: ops.layer_norm(ops.cos(x), epsilon=0.1))
PLAIN_WAVES: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...] = (
    (np.sin, np.cos), (np.cos, lambda x: -np.sin(x)), (lambda x: np.sin(x) ** 2, lambda x: np.sin(2 * x)),
    (lambda x: np.exp(np.sin(x)), lambda x: np.exp(np.sin(x)) * np.cos(x)),
    (lambda x: np.sin(x) + 1e-6 * x, lambda x: np.cos(x) + 1e-6),
    (lambda x: np.sin(x * x / 1e5), lambda x: np.cos(x * x / 1e5) * 2 * x / 1e5))


def wave(rng: np.random.Generator) -> tuple[Callable, Callable | None, tuple[np.ndarray, ...]]:
    """(function, gradient by hand, inputs) of numbers of 10⁵ … 10⁶; half of Tensors, without that gradient."""
    if rng.random() < 0.5:
        function = WAVES[int(rng.integers(0, len(WAVES)))]
        return function, None, (large(rng, *rng.integers(1, 4, 2).tolist()),)
    function, gradient = PLAIN_WAVES[int(rng.integers(0, len(PLAIN_WAVES)))]
    scale = float(10.0 ** rng.integers(-9, 10))
    return lambda x: np.sum(function(x)) * scale, lambda x: gradient(x) * scale, (large(rng, 3),)
