"""Dropout as a layer: active while training only, masks named by seed, layer, step and call."""

from __future__ import annotations

import numpy as np
import pytest
from parts import sight_of

from tinygpt import ops
from tinygpt.autograd import Tensor
from tinygpt.backend import manual_seed
from tinygpt.nn import (Block, CrossAttention, CrossBlock, Dropout, FeedForward, LayerNorm, Module, MultiHeadAttention,
                        seed_dropout)

ONES = Tensor(np.ones((64, 64), dtype=np.float32))


class Two(Module):
    def __init__(self) -> None:
        self.parts = [Dropout(0.5), Dropout(0.5)]


def masks(model: Module, seed: int = 1, step: int = 0, first_call: int = 0, calls: int = 2) -> np.ndarray:
    seed_dropout(model, seed, step, first_call)
    return np.array([[part(ONES).data for part in model.parts] for _ in range(calls)])


def test_in_eval_and_at_rate_zero_it_does_nothing():
    layer = Dropout(0.5)
    assert layer.eval()(ONES) is ONES and layer.train()(ONES) is not ONES
    assert Dropout(0.0)(ONES) is ONES


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_it_drops_the_given_part_and_keeps_the_mean(p):
    manual_seed(0)
    layer = Dropout(p)
    out = np.array([layer(ONES).data for _ in range(10)])
    assert abs((out == 0).mean() - p) < 0.01
    np.testing.assert_allclose(out[out != 0], 1 / (1 - p), rtol=1e-5)


@pytest.mark.parametrize("p", [-0.1, 1.01, 2.0, float("nan")])
def test_a_rate_outside_zero_to_one_is_refused(p):
    with pytest.raises(ValueError, match="dropout rate must be at least 0 and at most 1"):
        Dropout(p)


@pytest.mark.parametrize("p", [1, 1.0, 1 - 1e-12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 7, 100_000])
def test_everything_can_be_dropped(p, dtype, n):
    """By the rule and by its twin; and the gradient is 0, not NaN."""
    x = Tensor(np.ones(n, dtype), requires_grad=True)
    out = Dropout(p)(x)
    out.sum().backward()
    assert not out.data.any()
    np.testing.assert_array_equal(x.grad, np.zeros(n))


def test_attention_that_drops_every_weight_gives_zeros():
    q, k, v = (Tensor(np.random.default_rng(i).standard_normal((1, 2, 4, 8)), requires_grad=True) for i in range(3))
    out = ops.scaled_dot_product_attention(q, k, v, dropout=1.0, key=(1,))
    out.sum().backward()
    assert not out.data.any() and not any(x.grad.any() for x in (q, k, v))


def test_the_same_step_drops_the_same_again():
    np.testing.assert_array_equal(masks(Two()), masks(Two()))


def test_seeds_steps_replicas_layers_and_calls_all_differ():
    """Replicas count their calls from numbers far apart."""
    model = Two()
    found = np.concatenate([masks(model, seed, step, replica << 32).reshape(-1, 64 * 64)
                            for seed, step, replica in [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)]]) > 0
    assert len(found) == 16
    agreement = np.array([[(a == b).mean() for b in found] for a in found])
    assert (abs(agreement - 0.5)[~np.eye(16, dtype=bool)] < 0.05).all()  # independent coins agree half the time


def test_the_first_call_is_the_number_that_calls_are_counted_from():
    np.testing.assert_array_equal(masks(Two(), first_call=3, calls=2), masks(Two(), first_call=0, calls=5)[3:])


def test_without_a_seed_manual_seed_decides():
    layer, drawn = Dropout(0.5), []
    for seed in (5, 5, 6):
        manual_seed(seed)
        drawn.append(layer(ONES).data)
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()


def test_attention_weights_are_dropped_in_training_only():
    layer = MultiHeadAttention(8, 2, dropout=0.5, std=1.0)
    x = Tensor(np.random.default_rng(0).standard_normal((2, 5, 8)).astype(np.float32))
    first, second = layer(x, sight_of(5)).data, layer(x, sight_of(5)).data
    assert (first != second).any()
    layer.eval()
    np.testing.assert_array_equal(layer(x, sight_of(5)).data, layer(x, sight_of(5)).data)


def test_a_block_has_one_for_the_weights_and_one_for_what_it_adds():
    block = CrossBlock(MultiHeadAttention(8, 2, dropout=0.25), CrossAttention(8, 2, dropout=0.25), FeedForward(8, 16),
                       lambda: LayerNorm(8), dropout=0.25)
    assert {name: m.p for name, m in block.named_modules() if isinstance(m, Dropout)} == {
        "attention.weights_dropout": 0.25, "cross_attention.weights_dropout": 0.25, "dropout": 0.25}


def test_a_block_drops_from_what_its_layers_add_and_nothing_from_the_stream():
    block = Block(MultiHeadAttention(8, 2), FeedForward(8, 16), lambda: LayerNorm(8), dropout=0.5)
    x = np.random.default_rng(0).standard_normal((2, 5, 8)).astype(np.float32)
    for layer in (block.attention.out, block.feed_forward.down):
        layer.weight.data, layer.bias.data = layer.weight.data * 0, layer.bias.data + 1  # each layer adds 1
    added = block(Tensor(x), sight_of(5)).data - x
    # Dropped twice, once, never: what is kept counts twice.
    assert set(np.round(added, 5).ravel().tolist()) == {0.0, 2.0, 4.0}
