"""The cache: pieces of any size give what one pass gives; room, rows in another order; CachedSight is Sight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import GivenMask, randomized, tokens

from tinygpt.autograd import Tensor
from tinygpt.nn import (Both, Cache, CachedSight, Causal, LayerCache, Mask, MultiHeadAttention, Padding, Positions,
                        RotaryPositions, Sight)

few = settings(deadline=None, max_examples=30, derandomize=True)
layouts = st.sampled_from([(1, 1, 4), (2, 2, 2), (2, 1, 6), (4, 2, 2), (6, 3, 4)])  # H, Hkv, D


def layer_of(h, kv, d, seed=0) -> MultiHeadAttention:
    return randomized(MultiHeadAttention(h * d, h, n_kv_head=kv, head_dim=d), seed)


@given(layouts, st.booleans(), st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(0, 99))
@few
def test_a_cache_filled_in_any_pieces_gives_what_one_pass_gives(layout, rotary, pieces, seed):
    h, kv, d = layout
    layer, t = layer_of(h, kv, d, seed), sum(pieces)
    x = tokens(2, t, h * d, seed)
    positions = RotaryPositions(t, d) if rotary else Positions()

    def run(start, stop, cache=None):
        sight = CachedSight(positions, Causal(), np.arange(start, stop), cache, "cpu")
        return layer(Tensor(x[:, start:stop]), sight).data

    cache = Cache(1, 2, kv, t, d, dtype=np.float64, device="cpu")
    bounds = np.cumsum([0, *pieces])
    out = [run(start, stop, cache) for start, stop in zip(bounds, bounds[1:])]
    assert cache.length == t
    np.testing.assert_allclose(np.concatenate(out, axis=1), run(0, t), rtol=1e-8, atol=1e-9)


def test_each_layer_has_its_own_part_in_the_order_of_the_first_pass():
    first, second = layer_of(2, 2, 2, 0), layer_of(2, 2, 2, 1)
    cache = Cache(2, 1, 2, 4, 2, dtype=np.float64, device="cpu")
    for start in (0, 1):
        for layer in (first, second):
            layer(Tensor(tokens(1, 1, 4)), CachedSight(Positions(), Causal(), np.array([start]), cache, "cpu"))
    assert cache.of(first) is cache.layers[0] and cache.of(second) is cache.layers[1]


def test_a_full_cache_and_another_batch_size_are_refused():
    cache = LayerCache(np, (2, 1, 3, 4), np.float32)
    cache.append(np.ones((2, 1, 2, 4)), np.ones((2, 1, 2, 4)))
    for shape in ((2, 1, 2, 4), (1, 1, 1, 4)):
        with pytest.raises(ValueError, match="room for 2 sequences of 3 tokens, got"):
            cache.append(np.ones(shape), np.ones(shape))
    assert cache.length == 2


@given(st.integers(1, 3), st.integers(1, 4), st.data())
@few
def test_reordering_a_cache_takes_rows_as_they_were(layers, rows, data):
    order = data.draw(st.lists(st.integers(0, rows - 1), min_size=rows, max_size=rows))
    cache = Cache(layers, rows, 2, 5, 3, dtype=np.float64, device="cpu")
    rng = np.random.default_rng(0)
    k, v, m = (rng.standard_normal((rows, 2, 4, 3)) for _ in range(3))
    for i, layer in enumerate(cache.layers):
        layer.append(k, v)
        cache.memories[i] = (m, m + 1)
    cache.reorder(np.array(order))
    for i, layer in enumerate(cache.layers):
        np.testing.assert_array_equal(layer.keys[:, :, :4], k[order])
        np.testing.assert_array_equal(layer.values[:, :, :4], v[order])
        np.testing.assert_array_equal(cache.memories[i][0], m[order])
        np.testing.assert_array_equal(cache.memories[i][1], m[order] + 1)
        k2, _ = layer.append(k[:, :, :1], v[:, :, :1])
        np.testing.assert_array_equal(k2[:, :, 4:], k[:, :, :1])


@given(st.integers(1, 3), st.lists(st.integers(0, 2), min_size=1, max_size=5), st.integers(1, 6))
@few
def test_rows_taken_from_a_cache_are_copies_that_go_on_by_themselves(layers, rows, capacity):
    cache = Cache(layers, 3, 2, 4, 3, dtype=np.float64, device="cpu")
    rng = np.random.default_rng(1)
    k, v, m = (rng.standard_normal((3, 2, 3, 3)) for _ in range(3))
    for i, layer in enumerate(cache.layers):
        layer.append(k, v)
        cache.memories[i] = (m, m + 1)
    found = cache.taken(np.array(rows), capacity)
    assert found.length == cache.length == 3 and found.capacity == max(4, capacity)
    for i, layer in enumerate(found.layers):
        one = np.ones((len(rows), 2, 1, 3))
        keys, values = layer.append(one, one)
        np.testing.assert_array_equal(keys, np.concatenate([k[rows], one], axis=2))
        np.testing.assert_array_equal(values, np.concatenate([v[rows], one], axis=2))
        np.testing.assert_array_equal(found.memories[i][1], m[rows] + 1)
    assert cache.length == 3 and (cache.layers[0].keys[:, :, :3] == k).all()


# -- CachedSight in the place of Sight --------------------------------------------------------------------------------


class Slopes(Positions):
    """Positions that add to the scores: minus the distance."""

    def bias(self, n_queries: int, n_keys: int) -> np.ndarray:
        return -np.abs(np.arange(n_keys - n_queries, n_keys)[:, None] - np.arange(n_keys))[None].astype(float)


POSITIONS = {"none": Positions, "rotary": lambda: RotaryPositions(8, 2), "bias": Slopes}
MASKS = {
    "full": lambda t: Mask(), "causal": lambda t: Causal(),
    "padding": lambda t: Both(Causal(), Padding(np.arange(t) > np.array([[0], [-1]]))),
    "given": lambda t: GivenMask(np.random.default_rng(t).random((2, 1, t, t)) < 0.7),
}


@pytest.mark.parametrize("t", [1, 5])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("positions", POSITIONS)
def test_without_a_cache_it_sees_what_sight_sees(positions, mask, t):
    found = []
    for make in (lambda *of: Sight(*of), lambda *of: CachedSight(*of, None, "cpu")):
        layer, x = layer_of(4, 2, 2), Tensor(tokens(2, t, 8), requires_grad=True)
        sight = make(POSITIONS[positions](), MASKS[mask](t), np.arange(t))
        out = layer(x, sight)
        out.backward(tokens(2, t, 8, 3))
        found.append((sight.bias, out.data, x.grad, layer.qkv.weight.grad))
        assert sight.causal == (mask in ("causal", "padding"))
    for book, ours in zip(*found):
        np.testing.assert_array_equal(book, ours)  # to the bit: it does the same


@pytest.mark.parametrize("positions", POSITIONS)
def test_with_a_cache_the_later_queries_have_the_rows_of_the_whole(positions):
    """What is added to the scores, where the queries are the last of all tokens."""
    whole = CachedSight(POSITIONS[positions](), Mask(), np.arange(6), None, "cpu").bias
    cache = Cache(1, 2, 2, 6, 2, dtype=np.float64, device="cpu")
    cache.layers[0].append(np.zeros((2, 2, 4, 2)), np.zeros((2, 2, 4, 2)))
    later = CachedSight(POSITIONS[positions](), Mask(), np.arange(4, 6), cache, "cpu").bias
    if positions == "bias":
        np.testing.assert_array_equal(later, whole[:, 4:])
    else:
        assert later is None and whole is None
