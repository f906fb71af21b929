"""Examples of matrix products, attention and losses.

Prerequisites: shape.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ops import ACTIVATIONS
from .registry import Sample, broadcast_shapes, draw_shape, draw_values, samples_of

__all__: list[str] = []

Rng = np.random.Generator


@samples_of("matmul")
def matmul(rng: Rng) -> Sample:
    n, k, m = rng.integers(1, 5, 3).tolist()
    if rng.random() < 0.4:
        n = m = k  # square, where a missing transpose has the right shape
    left, right = broadcast_shapes(rng, 2, max_dims=2)
    x, y = (*left, n, k), (*right, k, m)
    if rng.random() < 0.2:
        x = (k,)
    if rng.random() < 0.2:
        y = (k,)
    return Sample((draw_values(rng, x), draw_values(rng, y)))


@samples_of("linear")
def linear(rng: Rng) -> Sample:
    inside, outside = (int(side) for side in rng.integers(1, 5, 2))
    x = draw_values(rng, (*draw_shape(rng, max_dims=2), inside))
    bias = draw_values(rng, (outside,)) if rng.random() < 0.7 else None
    return Sample((x, draw_values(rng, (outside, inside)), bias))


@samples_of("linear_activation")
def linear_activation(rng: Rng) -> Sample:
    """Before the activation no number is far from 0, where the formulas of a flat tail lose all digits."""
    inside, outside = (int(side) for side in rng.integers(1, 5, 2))
    x = draw_values(rng, (*draw_shape(rng, max_dims=2), inside))
    weight = draw_values(rng, (outside, inside), -1 / inside, 1 / inside)
    bias = draw_values(rng, (outside,), -1.0, 1.0) if rng.random() < 0.7 else None
    return Sample((x, weight, bias), {"activation": str(rng.choice(list(ACTIVATIONS)))})


@samples_of("scaled_dot_product_attention")
def scaled_dot_product_attention(rng: Rng) -> Sample:
    n_kv, repeat, length, n_keys, width = (int(side) for side in rng.integers(1, [3, 4, 5, 6, 5]))
    lead = tuple(int(side) for side in rng.integers(1, 3, int(rng.integers(0, 2))))
    if rng.random() < 0.4:
        n_keys = length
    heads = n_kv * repeat
    q = draw_values(rng, (*lead, heads, length, width))
    k, v = (draw_values(rng, (*lead, n_kv, n_keys, width)) for _ in range(2))
    mask: Any = None
    choice = rng.random()
    if choice < 0.3:
        mask = rng.random((*lead, heads, length, n_keys)) < 0.7  # a query may find that it may look nowhere
    elif choice < 0.35:
        mask = rng.random((n_keys,)) < 0.7
    elif choice < 0.65:
        mask = draw_values(rng, (length, n_keys))
    settings: dict[str, Any] = {}
    if rng.random() < 0.5:
        settings["causal"] = True
    if rng.random() < 0.2:
        settings["scale"] = float(rng.uniform(0.2, 1.5))
    if rng.random() < 0.2:
        settings |= {"dropout": 0.3, "key": (int(rng.integers(0, 1000)), 1)}
    return Sample((q, k, v, mask), settings)


@samples_of("split_heads")
def split_heads(rng: Rng) -> Sample:
    heads = tuple(int(n) for n in rng.integers(1, 4, int(rng.integers(1, 4))))
    batch, length, size = (int(side) for side in rng.integers(1, 4, 3))
    return Sample((draw_values(rng, (batch, length, sum(heads) * size)),), {"heads": heads})


@samples_of("merge_heads")
def merge_heads(rng: Rng) -> Sample:
    return Sample((draw_values(rng, tuple(int(side) for side in rng.integers(1, 4, 4))),), {})


@samples_of("rotary_embedding")
def rotary_embedding(rng: Rng) -> Sample:
    length, half = (int(side) for side in rng.integers(1, 5, 2))
    x = draw_values(rng, (*draw_shape(rng, max_dims=2), length, 2 * half))
    angles = draw_values(rng, (length, half))
    return Sample((x, np.cos(angles), np.sin(angles)), {}, ("cos", "sin"))


def _targets(rng: Rng, shape: tuple[int, ...], n_vocab: int, ignored: int) -> np.ndarray:
    targets = rng.integers(0, n_vocab, shape)
    return np.where(rng.random(shape) < (0.3 if rng.random() < 0.5 else 0.0), ignored, targets)


def _loss_settings(rng: Rng) -> dict[str, Any]:
    settings: dict[str, Any] = {"reduction": str(rng.choice(["mean", "sum", "none"]))} if rng.random() < 0.8 else {}
    return settings | ({"ignore_index": -1} if rng.random() < 0.2 else {})


@samples_of("cross_entropy")
def cross_entropy(rng: Rng) -> Sample:
    shape, n_vocab = draw_shape(rng, max_dims=2), int(rng.integers(1, 6))
    settings = _loss_settings(rng)
    weights = draw_values(rng, shape, 0.0, 2.0) if rng.random() < 0.4 else None
    targets = _targets(rng, shape, n_vocab, settings.get("ignore_index", -100))
    return Sample((draw_values(rng, (*shape, n_vocab)), targets, weights), settings, ("weights",))


@samples_of("linear_cross_entropy")
def linear_cross_entropy(rng: Rng) -> Sample:
    shape, n_vocab, width = draw_shape(rng, max_dims=2), int(rng.integers(1, 6)), int(rng.integers(1, 4))
    settings = _loss_settings(rng)
    weights = draw_values(rng, shape, 0.0, 2.0) if rng.random() < 0.4 else None
    bias = draw_values(rng, (n_vocab,)) if rng.random() < 0.5 else None
    targets = _targets(rng, shape, n_vocab, settings.get("ignore_index", -100))
    return Sample((draw_values(rng, (*shape, width)), draw_values(rng, (n_vocab, width)), bias, targets, weights),
                  settings, ("weights",))
