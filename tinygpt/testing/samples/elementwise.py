"""Examples of the element-by-element operations.

Prerequisites: registry.py. Next: reduction.py.
"""

from __future__ import annotations

import numpy as np

from ...ops import ACTIVATIONS
from .registry import Sample, broadcast_shapes, draw_shape, draw_values, samples_of

__all__: list[str] = []

Rng = np.random.Generator


def _away_from_zero(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return draw_values(rng, shape, 0.3, 3.0) * rng.choice([-1.0, 1.0], shape)


def _pair(rng: Rng) -> Sample:
    return Sample(tuple(draw_values(rng, shape) for shape in broadcast_shapes(rng, 2)))


def _pair_with_ties(rng: Rng) -> Sample:
    if rng.random() < 0.7:
        return _pair(rng)
    few = rng.uniform(-3, 3, 2)
    return Sample(tuple(few[rng.integers(0, 2, shape)] for shape in broadcast_shapes(rng, 2)))


def _one(rng: Rng) -> Sample:
    return Sample((draw_values(rng, draw_shape(rng)),))


def _one_with_zeros(rng: Rng) -> Sample:
    x = draw_values(rng, draw_shape(rng))
    return Sample((np.where(rng.random(x.shape) < 0.2, 0.0, x) if rng.random() < 0.3 else x,))


def _one_positive(rng: Rng) -> Sample:
    return Sample((draw_values(rng, draw_shape(rng), 0.1, 3.0),))


for _name in ("add", "subtract", "multiply"):
    samples_of(_name)(_pair)
for _name in ("maximum", "minimum"):
    samples_of(_name)(_pair_with_ties)
for _name in ("negative", "exp", "sin", "cos", "tanh", "erf", "sigmoid", "silu", "gelu_tanh"):
    samples_of(_name)(_one)
for _name in ("absolute", "relu", "relu_squared"):
    samples_of(_name)(_one_with_zeros)
for _name in ("log", "sqrt"):
    samples_of(_name)(_one_positive)


@samples_of("divide")
def divide(rng: Rng) -> Sample:
    above, below = broadcast_shapes(rng, 2)
    return Sample((draw_values(rng, above), _away_from_zero(rng, below)))


@samples_of("power")
def power(rng: Rng) -> Sample:
    base, exponent = broadcast_shapes(rng, 2)
    if rng.random() < 0.3:  # a whole exponent takes any base
        return Sample((_away_from_zero(rng, base), int(rng.integers(-2, 4))))
    return Sample((draw_values(rng, base, 0.2, 3.0), draw_values(rng, exponent, -2.0, 3.0)))


@samples_of("where")
def where(rng: Rng) -> Sample:
    condition, x, y = broadcast_shapes(rng, 3)
    return Sample((rng.random(condition) < 0.5, draw_values(rng, x), draw_values(rng, y)))


@samples_of("clip")
def clip(rng: Rng) -> Sample:
    low, high = -int(rng.integers(0, 32)) / 16, int(rng.integers(1, 32)) / 16  # exact in float32 too
    x = draw_values(rng, draw_shape(rng))
    if rng.random() < 0.3:
        x = np.where(rng.random(x.shape) < 0.3, high, x)  # on the bound
    choice = rng.integers(0, 3)
    return Sample((x,), {"low": None if choice == 0 else low, "high": None if choice == 1 else high})


@samples_of("astype")
def astype(rng: Rng) -> Sample:
    return Sample((draw_values(rng, draw_shape(rng)),), {"dtype": np.dtype(rng.choice(["float32", "float64"]))})


@samples_of("to_device")
def to_device(rng: Rng) -> Sample:
    return Sample((draw_values(rng, draw_shape(rng)),), {"device": "cpu"})


@samples_of("gelu")
def gelu(rng: Rng) -> Sample:
    return Sample((draw_values(rng, draw_shape(rng)),), {"approximate": str(rng.choice(["none", "tanh"]))})


@samples_of("gated_activation")
def gated_activation(rng: Rng) -> Sample:
    shapes = broadcast_shapes(rng, 2) if rng.random() < 0.3 else [draw_shape(rng)] * 2
    return Sample(tuple(draw_values(rng, shape) for shape in shapes),
                  {"activation": str(rng.choice(list(ACTIVATIONS)))})


@samples_of("dropout")
def dropout(rng: Rng) -> Sample:
    key = tuple(int(word) for word in rng.integers(0, 1000, int(rng.integers(1, 5))))
    return Sample((draw_values(rng, draw_shape(rng)),), {"p": float(rng.choice([0.0, 0.1, 0.5, 0.9])), "key": key})
