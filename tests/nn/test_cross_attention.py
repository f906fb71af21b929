"""CrossAttention against a loop over heads and positions; its cache reads the memory once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import attention_by_loop, randomized, sight_of, tokens

from tinygpt.autograd import Tensor
from tinygpt.nn import Cache, Causal, CrossAttention, DecoderSight, Positions

few = settings(deadline=None, max_examples=30, derandomize=True)
layouts = st.sampled_from([(1, 1, 4), (2, 2, 2), (2, 1, 6), (4, 2, 2), (6, 3, 4)])  # H, Hkv, D


def layer_of(h, kv, d, seed=0, **options) -> CrossAttention:
    return randomized(CrossAttention(h * d, h, n_kv_head=kv, head_dim=d, **options), seed)


def looking_at(memory, t=1, *, mask=None, cache=None) -> DecoderSight:
    return DecoderSight(Positions(), Causal(), np.arange(t), cache, "cpu", memory, mask)


@given(layouts, st.booleans(), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
@few
def test_it_is_the_loop_and_its_cache_reads_the_memory_once(layout, bias, t, s, seed):
    h, kv, d = layout
    layer = layer_of(h, kv, d, seed, bias=bias)
    x, memory = tokens(2, t, h * d, seed), tokens(2, s, h * d, seed + 1)
    expected = attention_by_loop(layer, x, memory=memory)
    np.testing.assert_allclose(layer(Tensor(x), looking_at(Tensor(memory), t)).data, expected, rtol=1e-8, atol=1e-9)
    cache = Cache(0, 2, kv, 0, d, dtype=np.float64, device="cpu")
    for i in range(t):
        step = layer(Tensor(x[:, i:i + 1]), looking_at(Tensor(memory) if i == 0 else None, cache=cache))
        np.testing.assert_allclose(step.data, expected[:, i:i + 1], rtol=1e-8, atol=1e-9)


def test_the_caches_of_two_layers_are_two():
    layers = [layer_of(2, 2, 2, seed) for seed in (0, 1)]
    x, memory = tokens(1, 1, 4), tokens(1, 3, 4, 5)
    cache = Cache(0, 1, 2, 0, 2, dtype=np.float64, device="cpu")
    for _ in range(2):  # filled in the first round, read in the second
        for layer in layers:
            np.testing.assert_allclose(layer(Tensor(x), looking_at(Tensor(memory), cache=cache)).data,
                                       attention_by_loop(layer, x, memory=memory), rtol=1e-8, atol=1e-9)


@given(st.integers(1, 4), st.integers(1, 5), st.booleans(), st.integers(0, 99))
@few
def test_a_mask_hides_places_of_the_memory(t, s, cached, seed):
    layer, x, memory = layer_of(4, 2, 2, seed), tokens(2, t, 8, seed), tokens(2, s, 8, seed + 1)
    mask = np.random.default_rng(seed).random((2, 1, 1, s)) < 0.5
    cache = Cache(0, 2, 2, 0, 2, dtype=np.float64, device="cpu") if cached else None
    out = layer(Tensor(x), looking_at(Tensor(memory), t, mask=mask, cache=cache))
    expected = attention_by_loop(layer, x, memory=memory, allowed=lambda b, i, j: mask[b, 0, 0, j])
    np.testing.assert_allclose(out.data, expected, rtol=1e-8, atol=1e-9)


def test_without_memory_it_is_an_error():
    with pytest.raises(ValueError, match="cross attention needs the memory"):
        layer_of(1, 1, 2)(Tensor(tokens(1, 2, 2)), sight_of(2))
