"""Examples of the operations that move elements about.

Prerequisites: reduction.py. Next: linalg.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .registry import Sample, draw_shape, draw_values, samples_of

__all__: list[str] = []

Rng = np.random.Generator


@samples_of("reshape")
def reshape(rng: Rng) -> Sample:
    x = draw_values(rng, draw_shape(rng))
    shape: Any = [side for side in rng.permutation(x.shape).astype(int).tolist()]
    if rng.random() < 0.5:
        shape.insert(int(rng.integers(0, len(shape) + 1)), 1)
    if x.size and rng.random() < 0.3:
        shape = -1
    return Sample((x,), {"shape": shape if isinstance(shape, int) else tuple(shape)})


@samples_of("transpose")
def transpose(rng: Rng) -> Sample:
    x = draw_values(rng, draw_shape(rng, max_dims=4))
    axes = tuple(int(a) - (x.ndim if rng.random() < 0.2 else 0) for a in rng.permutation(x.ndim))
    return Sample((x,), {} if rng.random() < 0.2 else {"axes": axes})


@samples_of("swapaxes")
def swapaxes(rng: Rng) -> Sample:
    x = draw_values(rng, draw_shape(rng, min_dims=1))
    one, two = rng.integers(-x.ndim, x.ndim, 2).tolist()
    return Sample((x,), {"axis1": one, "axis2": two})


@samples_of("expand_dims")
def expand_dims(rng: Rng) -> Sample:
    x = draw_values(rng, draw_shape(rng))
    axis = int(rng.integers(-x.ndim - 1, x.ndim + 1))
    return Sample((x,), {"axis": (0, -1) if rng.random() < 0.2 else axis})


@samples_of("squeeze")
def squeeze(rng: Rng) -> Sample:
    shape = list(draw_shape(rng, max_dims=2))
    axis = int(rng.integers(0, len(shape) + 1))
    shape.insert(axis, 1)
    return Sample((draw_values(rng, tuple(shape)),), {} if rng.random() < 0.3 else {"axis": axis})


@samples_of("broadcast_to")
def broadcast_to(rng: Rng) -> Sample:
    whole = draw_shape(rng)
    start = int(rng.integers(0, len(whole) + 1))
    part = tuple(1 if rng.random() < 0.4 else side for side in whole[start:])
    return Sample((draw_values(rng, part),), {"shape": whole})


@samples_of("concatenate")
def concatenate(rng: Rng) -> Sample:
    shape = list(draw_shape(rng, min_dims=1))
    axis = int(rng.integers(0, len(shape)))
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        shape[axis] = int(rng.integers(0, 4))
        parts.append(draw_values(rng, tuple(shape)))
    return Sample(tuple(parts), {} if axis == 0 else {"axis": axis - (len(shape) if rng.random() < 0.3 else 0)})


@samples_of("stack")
def stack(rng: Rng) -> Sample:
    shape = draw_shape(rng, max_dims=2)
    parts = tuple(draw_values(rng, shape) for _ in range(int(rng.integers(1, 4))))
    return Sample(parts, {"axis": int(rng.integers(-len(shape) - 1, len(shape) + 1))})


@samples_of("split")
def split(rng: Rng) -> Sample:
    shape = list(draw_shape(rng, min_dims=1))
    axis = int(rng.integers(0, len(shape)))
    lengths = tuple(int(n) for n in rng.integers(0, 4, int(rng.integers(1, 4))))
    shape[axis] = sum(lengths)
    return Sample((draw_values(rng, tuple(shape)),), {"lengths": lengths, "axis": axis - (
        len(shape) if rng.random() < 0.3 else 0)})


def draw_key(rng: Rng, shape: tuple[int, ...]) -> Any:
    """An index of one of NumPy's kinds; integer arrays repeat themselves."""
    def part(side: int) -> Any:
        kind = rng.integers(0, 3)
        if kind == 0:
            return int(rng.integers(-side, side))
        if kind == 1:
            return slice(None, None, int(rng.choice([-2, -1, 1, 2])))
        start = int(rng.integers(0, side))
        return slice(start, int(rng.integers(start, side + 1)))

    kind = rng.integers(0, 6)
    if not shape or kind == 0:
        return (Ellipsis, None) if rng.random() < 0.5 else (None, Ellipsis)
    if kind == 1:
        return part(shape[0])
    if kind == 2:
        return tuple(part(side) for side in shape[:int(rng.integers(1, len(shape) + 1))])
    if kind == 3:
        return rng.integers(-shape[0], shape[0], tuple(rng.integers(1, 5, int(rng.integers(1, 3)))))  # repeats
    if kind == 4:
        return rng.random(shape) < 0.5
    picked = rng.integers(0, shape[-1], 5)
    return (Ellipsis, picked) if rng.random() < 0.5 else (
        tuple(rng.integers(0, side, 4) for side in shape))


@samples_of("getitem")
def getitem(rng: Rng) -> Sample:
    x = draw_values(rng, draw_shape(rng, min_side=1))
    return Sample((x,), {"key": draw_key(rng, x.shape)})


@samples_of("embedding")
def embedding(rng: Rng) -> Sample:
    n_vocab, width = rng.integers(1, 6, 2)
    ids = rng.integers(0, n_vocab, draw_shape(rng, max_dims=2))
    return Sample((ids, draw_values(rng, (int(n_vocab), int(width)))))
