"""Examples of recurrent networks, convolution and pooling.

Prerequisites: linalg.py. Next: large.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .registry import Sample, draw_values, samples_of

__all__ = ["recurrent"]

Rng = np.random.Generator


def recurrent(rng: Rng, gates: int, states: int, sizes: tuple[int, int, int], time: bool = True) -> Sample:
    """A recurrent operation of so many gates and states, over (B, T, H)."""
    batch, length, hidden = sizes
    x = draw_values(rng, (batch, *(length,) * time, gates * hidden))
    first = (draw_values(rng, (batch, hidden), -1.0, 1.0) for _ in range(states))
    weight = draw_values(rng, (gates * hidden, hidden), -1.0, 1.0)
    bias = draw_values(rng, (gates * hidden,)) if rng.random() < 0.7 else None
    return Sample((x, *first, weight, bias))


def _enter_recurrent(name: str, gates: int, states: int) -> None:
    def draw(time: bool) -> Any:
        return lambda rng: recurrent(
            rng, gates, states, tuple(rng.integers((1, time and rng.random() > 0.1, 1), 4).tolist()), time)
    samples_of(name)(draw(True))
    samples_of(f"{name}_cell")(draw(False))


for _name, _gates, _states in (("rnn", 1, 1), ("lstm", 4, 2), ("gru", 3, 1)):
    _enter_recurrent(_name, _gates, _states)


def _one_or_each(rng: Rng, n: int, low: int, high: int) -> Any:
    """A setting between `low` and `high`: one number for all axes, or one for each."""
    if rng.random() < 0.4:
        return int(rng.integers(low, high + 1))
    return tuple(rng.integers(low, high + 1, n).tolist())


def _spatial(rng: Rng, n: int, kernel: list[int], settings: dict[str, Any]) -> tuple[int, ...]:
    """Sides into which windows of such settings fit."""
    each = [np.broadcast_to(settings.get(name, default), n) for name, default in (("padding", 0), ("dilation", 1))]
    return tuple(max(1, int(d * (k - 1) + 1 - 2 * p + rng.integers(0, 4))) for k, p, d in zip(kernel, *each))


@samples_of("convolution")
def convolution(rng: Rng) -> Sample:
    n, groups, per_group, n_in = (int(side) for side in rng.integers(1, (3, 3, 3, 4)))
    kernel = rng.integers(1, 4 if n == 1 else 3, n).tolist()
    settings: dict[str, Any] = {"groups": groups} if groups > 1 else {}
    for name, low, high in (("stride", 1, 2), ("padding", 0, 2), ("dilation", 1, 2)):
        if rng.random() < 0.5:
            settings[name] = _one_or_each(rng, n, low, high)
    x = draw_values(rng, (int(rng.integers(0 if rng.random() < 0.1 else 1, 3)), groups * n_in,
                          *_spatial(rng, n, kernel, settings)))
    bias = draw_values(rng, (groups * per_group,)) if rng.random() < 0.6 else None
    return Sample((x, draw_values(rng, (groups * per_group, n_in, *kernel)), bias), settings)


def _pool(rng: Rng, dilated: bool) -> Sample:
    n = int(rng.integers(1, 3))
    kernel = rng.integers(1, 4, n).tolist()
    settings: dict[str, Any] = {"kernel_size": tuple(kernel) if len({*kernel}) > 1 else kernel[0]}
    if rng.random() < 0.5:
        settings["stride"] = _one_or_each(rng, n, 1, 3)
    if rng.random() < 0.5:
        settings["padding"] = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    if dilated and rng.random() < 0.3:
        settings["dilation"] = _one_or_each(rng, n, 1, 2)
    shape = (*rng.integers(1, 3, 2).tolist(), *_spatial(rng, n, kernel, settings))
    return Sample((draw_values(rng, shape, ties=rng.random() < 0.2),), settings)


@samples_of("max_pool")
def max_pool(rng: Rng) -> Sample:
    return _pool(rng, dilated=True)


@samples_of("average_pool")
def average_pool(rng: Rng) -> Sample:
    return _pool(rng, dilated=False)
