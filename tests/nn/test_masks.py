"""Masks: full, causal, padding, and two at once, each as the table of which query may look where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import GivenMask, attention_by_loop, randomized, sight_of, tokens

from tinygpt.autograd import Tensor
from tinygpt.nn import Both, Causal, Mask, MultiHeadAttention, Padding

few = settings(deadline=None, max_examples=30, derandomize=True)


def table(mask: Mask, b: int, t: int, s: int) -> np.ndarray:
    """(B, T, S) booleans: all that a mask says, `causal` too."""
    allowed = mask.allowed(t, s)
    found = np.ones((b, 1, t, s), bool) if allowed is None else np.broadcast_to(allowed, (b, 1, t, s))
    return (found & np.tri(t, s, s - t, dtype=bool) if mask.causal else found)[:, 0]


def test_full_and_causal():
    assert Mask().allowed(2, 3) is None and not Mask().causal
    assert Causal().allowed(2, 3) is None and Causal().causal
    np.testing.assert_array_equal(table(Causal(), 1, 2, 3)[0], [[1, 1, 0], [1, 1, 1]])


@given(st.integers(1, 3), st.integers(1, 6), st.data())
@few
def test_padding_hides_what_fills_rows_up_of_the_last_columns(b, s, data):
    real = np.random.default_rng(data.draw(st.integers(0, 99))).random((b, s + 2)) < 0.5
    t = data.draw(st.integers(1, s))
    np.testing.assert_array_equal(table(Padding(real), b, t, s), np.repeat(real[:, None, 2:], t, axis=1))
    assert not Padding(real).causal


@given(st.integers(1, 6), st.booleans(), st.booleans(), st.integers(0, 99))
@few
def test_both_is_the_conjunction(t, causal, swapped, seed):
    rng = np.random.default_rng(seed)
    real, given_table = rng.random((2, t)) < 0.6, rng.random((2, 1, t, t)) < 0.6
    masks = [Padding(real), GivenMask(given_table, causal)]
    both = Both(*masks[::-1] if swapped else masks)
    np.testing.assert_array_equal(table(both, 2, t, t), table(masks[0], 2, t, t) & table(masks[1], 2, t, t))
    assert both.causal == causal


@pytest.mark.parametrize("first, second", [(Causal(), Mask()), (Mask(), Causal()), (Causal(), Causal()),
                                           (Mask(), Mask())])
def test_two_that_say_nothing_more_say_nothing(first, second):
    both = Both(first, second)
    assert both.allowed(3, 3) is None and both.causal == (first.causal or second.causal)
    padded = Both(first, Padding(np.array([[True, False]])))
    np.testing.assert_array_equal(padded.allowed(2, 2), [[[[True, False]]]])


@given(st.integers(1, 5), st.integers(0, 99))
@few
def test_attention_with_causal_and_padding_is_the_loop(t, seed):
    layer = randomized(MultiHeadAttention(8, 4, n_kv_head=2), seed)
    x, real = tokens(2, t, 8, seed), np.random.default_rng(seed).random((2, t)) < 0.6
    expected = attention_by_loop(layer, x, allowed=lambda b, i, s: s <= i and real[b, s])
    np.testing.assert_allclose(layer(Tensor(x), sight_of(t, mask=Both(Causal(), Padding(real)))).data, expected,
                               rtol=1e-8, atol=1e-9)
