"""Examples of the operations that reduce over axes, or normalise along one.

Prerequisites: elementwise.py. Next: shape.py.
"""

from __future__ import annotations

import numpy as np

from .registry import Sample, draw_axes, draw_shape, draw_values, samples_of

__all__: list[str] = []

Rng = np.random.Generator


def _settings(rng: Rng, ndim: int) -> dict:
    settings = {"axis": draw_axes(rng, ndim), "keepdims": bool(rng.random() < 0.5)}
    return {key: value for key, value in settings.items() if rng.random() < 0.9}  # the defaults are settings too


@samples_of("sum")
def sum(rng: Rng) -> Sample:
    x = draw_values(rng, draw_shape(rng))
    return Sample((x,), _settings(rng, x.ndim))


def _not_empty(rng: Rng) -> Sample:
    x = draw_values(rng, draw_shape(rng, min_side=1), ties=bool(rng.random() < 0.3))
    return Sample((x,), _settings(rng, x.ndim))


for _name in ("mean", "var", "max", "min", "logsumexp"):
    samples_of(_name)(_not_empty)


def _along_one(rng: Rng) -> Sample:
    x = draw_values(rng, draw_shape(rng, min_dims=1, min_side=1), ties=bool(rng.random() < 0.1))
    return Sample((x,), {} if rng.random() < 0.4 else {"axis": int(rng.integers(-x.ndim, x.ndim))})


for _name in ("softmax", "log_softmax"):
    samples_of(_name)(_along_one)


@samples_of("layer_norm")
def layer_norm(rng: Rng) -> Sample:
    x = draw_values(rng, (*draw_shape(rng, max_dims=2), int(rng.integers(1, 7))))
    weight, bias = (draw_values(rng, x.shape[-1:]) if rng.random() < 0.8 else None for _ in range(2))
    return Sample((x, weight, bias), {} if rng.random() < 0.5 else {"epsilon": float(rng.uniform(1e-6, 0.5))})


@samples_of("rms_norm")
def rms_norm(rng: Rng) -> Sample:
    x = draw_values(rng, (*draw_shape(rng, max_dims=2), int(rng.integers(1, 7))))
    weight = draw_values(rng, x.shape[-1:]) if rng.random() < 0.8 else None
    return Sample((x, weight), {} if rng.random() < 0.5 else {"epsilon": float(rng.uniform(1e-6, 0.5))})
