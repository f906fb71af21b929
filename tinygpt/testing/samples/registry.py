"""`op_db`: for every operation, a function that draws an example of its use.

An example is positional arrays, settings, and the names of floating-point arrays that have no gradient by design. The
structure (shapes, axes, keys, masks) and the numbers are drawn from one NumPy generator, so an operation, a seed and a
count name a set of examples, with or without Hypothesis.

Prerequisites: autograd/. Next: elementwise.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

__all__ = ["OpSamples", "Sample", "broadcast_shapes", "draw_axes", "draw_shape", "draw_values", "large_samples_of",
           "op_db", "samples_of"]


@dataclass(frozen=True)
class Sample:
    """One use of an operation.

    Attributes:
        inputs: the positional arguments, arrays in float64, integers, booleans; or None for an optional one.
        settings: the keyword arguments.
        constants: names of floating-point inputs for which the rule returns no gradient by design.
    """

    inputs: tuple[Any, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    constants: tuple[str, ...] = ()


@dataclass(frozen=True)
class OpSamples:
    """The examples of one operation.

    Attributes:
        name: the operation's.
        draw: draws one example, small enough to be differentiated numerically.
        draw_large: draws the examples for its twins, of sizes around their blocks; None if it has none.
    """

    name: str
    draw: Callable[[np.random.Generator], Sample]
    draw_large: Callable[[np.random.Generator], Iterator[Sample]] | None = None

    def samples(self, n: int = 20, seed: int = 0) -> Iterator[Sample]:
        """The first n examples of a seed."""
        for i in range(n):
            yield self.draw(np.random.default_rng([seed, zlib.crc32(self.name.encode()), i]))

    def large_samples(self, seed: int = 0) -> Iterator[Sample]:
        """The examples for twins."""
        if self.draw_large is not None:
            yield from self.draw_large(np.random.default_rng([seed, zlib.crc32(self.name.encode())]))


op_db: dict[str, OpSamples] = {}


def samples_of(name: str) -> Callable[[Callable[[np.random.Generator], Sample]], Callable]:
    """Enter a function that draws examples of the operation `name`."""
    def enter(draw: Callable[[np.random.Generator], Sample]) -> Callable[[np.random.Generator], Sample]:
        op_db[name] = OpSamples(name, draw)
        return draw
    return enter


def large_samples_of(name: str) -> Callable[[Callable], Callable]:
    """Enter a function that draws all examples for the twins of the operation `name`."""
    def enter(draw: Callable[[np.random.Generator], Iterator[Sample]]) -> Callable:
        op_db[name] = replace(op_db[name], draw_large=draw)
        return draw
    return enter


def draw_values(rng: np.random.Generator, shape: tuple[int, ...], low: float = -3.0, high: float = 3.0,
                ties: bool = False) -> np.ndarray:
    """Numbers between `low` and `high`, float64; with `ties` only a few different ones among them."""
    if not ties:
        return rng.uniform(low, high, shape)
    few = rng.uniform(low, high, 2)
    return few[rng.integers(0, 2, shape)]


def _more_often_many(n: int) -> np.ndarray:
    """Probabilities of n counts, the larger ones likelier: two axes can go wrong in more ways than none."""
    weights = np.arange(1, n + 1) + 0.5
    return weights / weights.sum()


def draw_shape(rng: np.random.Generator, min_dims: int = 0, max_dims: int = 3, min_side: int = 0) -> tuple[int, ...]:
    """Mostly small lengths, sometimes 1 or (where allowed) 0."""
    n = int(rng.choice(range(min_dims, max_dims + 1), p=_more_often_many(max_dims - min_dims + 1)))
    sides = rng.choice([2, 3, 4, 5], n)
    special = rng.random(n)
    sides = np.where(special < 0.15, 1, sides)
    sides = np.where(special > 0.97, min_side, sides)
    return tuple(int(max(side, min_side)) for side in sides)


def broadcast_shapes(rng: np.random.Generator, n: int, **limits: int) -> list[tuple[int, ...]]:
    """n shapes that broadcast together: some axes of length 1, some leading ones left out."""
    whole = draw_shape(rng, **limits)
    shapes = []
    for _ in range(n):
        kept = tuple(1 if rng.random() < 0.25 else side for side in whole)
        shapes.append(kept[int(rng.integers(0, len(kept) + 1)):] if rng.random() < 0.3 else kept)
    return shapes


def draw_axes(rng: np.random.Generator, ndim: int) -> Any:
    """None, one axis or a tuple of axes; negative ones among them."""
    if ndim == 0 or rng.random() < 0.25:
        return None
    if rng.random() < 0.6:
        return int(rng.integers(-ndim, ndim))
    chosen = rng.permutation(ndim)[:int(rng.integers(1, ndim + 1))]
    return tuple(int(axis) - (ndim if rng.random() < 0.3 else 0) for axis in chosen)
