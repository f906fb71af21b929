"""Examples for the fast twins: sizes around their blocks, where a twin that works block by block goes wrong first.

They are compared with the rule, never differentiated numerically: they are too large for that, and need not be.

Prerequisites: linalg.py. Sizes are those of kernels/cpu/.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...kernels.cpu.attention import ROWS
from ...kernels.cpu.blocks import BLOCK
from ...ops import ACTIVATIONS
from .networks import recurrent
from .registry import Sample, draw_values, large_samples_of

__all__: list[str] = []

Rng = np.random.Generator
SIZES = (1023, 1024, 1025, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3)


def _vectors(rng: Rng) -> Iterator[Sample]:
    for n in SIZES:
        yield Sample((draw_values(rng, (n,)),))


@large_samples_of("gelu")
def gelu(rng: Rng) -> Iterator[Sample]:
    for sample in _vectors(rng):
        yield Sample(sample.inputs, {"approximate": "tanh"})
        yield sample


for _name in ("gelu_tanh", "silu", "relu"):
    large_samples_of(_name)(_vectors)


@large_samples_of("gated_activation")
def gated_activation(rng: Rng) -> Iterator[Sample]:
    for n, activation in zip(SIZES, itertools.cycle(ACTIVATIONS)):
        for name in {"silu", activation}:
            yield Sample((draw_values(rng, (n,)), draw_values(rng, (n,))), {"activation": name})


@large_samples_of("dropout")
def dropout(rng: Rng) -> Iterator[Sample]:
    for sample in _vectors(rng):
        yield Sample(sample.inputs, {"p": 0.3, "key": (int(rng.integers(0, 99)), 1, 2, 3)})


@large_samples_of("add")
def add(rng: Rng) -> Iterator[Sample]:
    yield Sample((draw_values(rng, (64, 65)), draw_values(rng, (64, 65))))


@large_samples_of("split")
def split(rng: Rng) -> Iterator[Sample]:
    yield Sample((draw_values(rng, (3, 40, 12, 8)),), {"lengths": (8, 2, 2), "axis": 2})


@large_samples_of("split_heads")
def split_heads(rng: Rng) -> Iterator[Sample]:
    for length in (1, 40):  # a token alone has a way of its own
        yield Sample((draw_values(rng, (3, length, 96)),), {"heads": (8, 2, 2)})


@large_samples_of("merge_heads")
def merge_heads(rng: Rng) -> Iterator[Sample]:
    for length in (1, 40):
        yield Sample((draw_values(rng, (3, 8, length, 8)),))


def _rows(rng: Rng, width: int) -> Iterator[np.ndarray]:
    step = BLOCK // width
    for n in (step - 1, step, step + 1, 2 * step + 3):
        yield draw_values(rng, (n, width))


@large_samples_of("layer_norm")
def layer_norm(rng: Rng) -> Iterator[Sample]:
    for x in (*_rows(rng, 1000), draw_values(rng, (1, 768)), draw_values(rng, (2, 3, 1025))):
        yield Sample((x, draw_values(rng, x.shape[-1:]), draw_values(rng, x.shape[-1:])))
        yield Sample((x, None, None))


@large_samples_of("rms_norm")
def rms_norm(rng: Rng) -> Iterator[Sample]:
    for x in (*_rows(rng, 1000), draw_values(rng, (1, 768)), draw_values(rng, (2, 3, 1025))):
        yield Sample((x, draw_values(rng, x.shape[-1:])))
        yield Sample((x, None))


@large_samples_of("linear")
def linear(rng: Rng) -> Iterator[Sample]:
    for bias in (None, draw_values(rng, (65,))):
        for shape in ((3, 33), (1, 1)):
            yield Sample((draw_values(rng, (*shape, 130)), draw_values(rng, (65, 130)), bias))


@large_samples_of("linear_activation")
def linear_activation(rng: Rng) -> Iterator[Sample]:
    step = BLOCK // 1000
    for activation in ACTIVATIONS:
        for n in (1, 3, step, step + 1):  # 3 rows: enough for a formula, less than a block
            weight = draw_values(rng, (1000, 3))
            yield Sample((draw_values(rng, (n, 3)), weight, draw_values(rng, (1000,))), {"activation": activation})
            if n == 3:
                yield Sample((draw_values(rng, (n, 3)), weight, None), {"activation": activation})


@large_samples_of("embedding")
def embedding(rng: Rng) -> Iterator[Sample]:
    for n_ids, n_vocab in ((1, 1000), (4000, 10), (1024, 5000)):
        yield Sample((rng.integers(0, n_vocab, n_ids), draw_values(rng, (n_vocab, 17))))


@large_samples_of("scaled_dot_product_attention")
def scaled_dot_product_attention(rng: Rng) -> Iterator[Sample]:
    shapes = [(t, t) for t in (1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 5)]
    shapes += [(1, 2 * ROWS), (ROWS + 1, 2 * ROWS + 1), (5, ROWS + 3)]
    for length, n_keys in shapes:
        for heads, n_kv, batch in ((4, 2, 1), (2, 2, 3)):
            q = draw_values(rng, (batch, heads, length, 8))
            k, v = (draw_values(rng, (batch, n_kv, n_keys, 8)) for _ in range(2))
            mask: Any = rng.random((batch, 1, 1, n_keys)) < 0.8
            mask[0] = False  # a text that is nothing but padding
            yield Sample((q, k, v), {"causal": True})
            yield Sample((q, k, v, mask), {"causal": bool(rng.random() < 0.5)})


@large_samples_of("linear_cross_entropy")
def linear_cross_entropy(rng: Rng) -> Iterator[Sample]:
    n_vocab = 5003
    step = BLOCK // n_vocab
    for n in (1, step - 1, step, step + 1, 3 * step + 2):
        x, weight = draw_values(rng, (n, 6)), draw_values(rng, (n_vocab, 6))
        targets = np.where(rng.random(n) < 0.2, -100, rng.integers(0, n_vocab, n))
        bias = draw_values(rng, (n_vocab,)) if rng.random() < 0.5 else None
        weights = draw_values(rng, (n,), 0.0, 2.0) if rng.random() < 0.5 else None
        yield Sample((x, weight, bias, targets, weights), {"reduction": str(rng.choice(["mean", "sum"]))}, ("weights",))


def _enter_recurrent(name: str, gates: int, states: int) -> None:
    @large_samples_of(name)
    def draw(rng: Rng) -> Iterator[Sample]:
        for sizes in ((3, 1, 17), (2, 9, 5), (70, 8, 60)):  # the last is more than a block
            yield recurrent(rng, gates, states, sizes)


for _name, _gates, _states in (("rnn", 1, 1), ("lstm", 4, 2), ("gru", 3, 1)):
    _enter_recurrent(_name, _gates, _states)
