"""Rotary positions: products depend on distances, lengths stay; the frequencies and their scalings; tables by dtype."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.autograd import Tensor
from tinygpt.nn import RotaryPositions
from tinygpt.nn.rotary import rotary_frequencies

few = settings(deadline=None, max_examples=40, derandomize=True)
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}


def turned(positions: RotaryPositions, x: np.ndarray, where: np.ndarray) -> np.ndarray:
    """x as a query, which must be what it is as a key."""
    q, k = positions.turn(Tensor(x), Tensor(x), where)
    np.testing.assert_array_equal(q.data, k.data)
    return q.data


@given(st.sampled_from([2, 4, 8]), st.integers(0, 40), st.integers(0, 40), st.integers(0, 60), st.integers(0, 99))
@few
def test_after_turning_a_product_depends_on_the_distance_only(d, i, j, shift, seed):
    positions = RotaryPositions(128, d)
    q, k = np.random.default_rng(seed).standard_normal((2, 1, 1, 1, d))

    def product(i, j):
        return float((turned(positions, q, np.array([i])) * turned(positions, k, np.array([j]))).sum())

    assert product(i, j) == pytest.approx(product(i + shift, j + shift), abs=1e-9)
    assert product(i, i) == pytest.approx(float((q * k).sum()), abs=1e-9)


@given(st.sampled_from([2, 6]), st.integers(0, 99))
@few
def test_turning_keeps_lengths_and_position_zero_turns_nothing(d, seed):
    positions = RotaryPositions(16, d)
    x = np.random.default_rng(seed).standard_normal((2, 3, 5, d))
    rows = np.random.default_rng(seed).integers(16, size=(2, 5))
    found = turned(positions, x, rows)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), np.linalg.norm(x, axis=-1))
    np.testing.assert_array_equal(turned(positions, x, np.zeros(5, int)), x)
    for b in range(2):  # positions (B, T) are those of each row
        np.testing.assert_array_equal(found[b:b + 1], turned(positions, x[b:b + 1], rows[b]))


def test_queries_and_keys_may_have_other_numbers_of_heads_and_nothing_is_added_at_the_entrance():
    positions = RotaryPositions(8, 4)
    q, k = (np.random.default_rng(heads).standard_normal((2, heads, 3, 4)) for heads in (6, 2))
    both = positions.turn(Tensor(q), Tensor(k), np.arange(3))
    for out, x in zip(both, (q, k)):
        np.testing.assert_array_equal(out.data, turned(positions, x, np.arange(3)))
    x = Tensor(q)
    assert positions.add(x, np.arange(3)) is x and positions.bias(3, 3) is None and not positions.state_dict()


def test_angles_that_are_kept_are_not_given_for_other_positions_or_types():
    """Every layer of a pass asks with the same array; the next pass asks with another, or in another dtype."""
    positions = RotaryPositions(8, 4)
    x = np.random.default_rng(0).standard_normal((1, 1, 2, 4))
    first, second = np.array([0, 1]), np.array([5, 6])
    expected = {id(where): turned(RotaryPositions(8, 4), x, where) for where in (first, second)}
    for where in (first, first, second, first):
        np.testing.assert_array_equal(turned(positions, x, where), expected[id(where)])
    single = positions.turn(Tensor(x.astype(np.float32)), Tensor(x.astype(np.float32)), first)[0]
    assert single.dtype == np.float32
    np.testing.assert_allclose(single.data, expected[id(first)], rtol=1e-6, atol=1e-6)  # of float32
    np.testing.assert_array_equal(turned(positions, x, first), expected[id(first)])


def test_frequencies_and_their_scalings():
    plain = rotary_frequencies(8, theta=100.0)
    np.testing.assert_allclose(plain, [1, 100 ** -0.25, 100 ** -0.5, 100 ** -0.75])
    np.testing.assert_array_equal(rotary_frequencies(8, 100.0, {"rope_type": "default"}), plain)
    np.testing.assert_allclose(rotary_frequencies(8, 100.0, {"rope_type": "linear", "factor": 4.0}), plain / 4)
    with pytest.raises(ValueError, match="unknown rope_type 'yarn'"):
        rotary_frequencies(8, scaling={"rope_type": "yarn"})


def test_llama3_scaling_leaves_fast_pairs_slows_slow_ones_and_is_monotone_between():
    plain, scaled = rotary_frequencies(64), rotary_frequencies(64, scaling=LLAMA3)
    turns = 64 * plain / (2 * math.pi)  # in the 64 positions of the original context
    np.testing.assert_allclose(scaled[turns > 4], plain[turns > 4])
    np.testing.assert_allclose(scaled[turns < 1], plain[turns < 1] / 8)
    assert ((scaled >= plain / 8 - 1e-12) & (scaled <= plain + 1e-12)).all() and (np.diff(scaled) < 0).all()


@pytest.mark.oracle
@pytest.mark.parametrize("scaling", [LLAMA3, {"rope_type": "linear", "factor": 3.0}])
def test_scalings_are_those_of_transformers(scaling):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = transformers.LlamaConfig(hidden_size=64, num_attention_heads=2, max_position_embeddings=512,
                                      rope_parameters={**scaling, "rope_theta": 500.0})
    expected, _ = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](config, "cpu")
    np.testing.assert_allclose(rotary_frequencies(32, 500.0, scaling), expected.numpy(), rtol=1e-6)


def test_a_table_is_made_once_for_each_dtype():
    positions = RotaryPositions(8, 4)
    single, double = Tensor(np.zeros(1, np.float32)), Tensor(np.zeros(1))
    assert positions.tables(single) is positions.tables(single)
    assert positions.tables(single)[0].dtype == np.float32 and positions.tables(double)[0].dtype == np.float64
