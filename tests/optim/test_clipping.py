"""Gradient clipping by the book: the norm of a list of gradients, the coefficient, what is not finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.optim.clipping import clip_coefficient, global_norm


def test_the_norm_is_that_of_one_long_vector():
    assert global_norm([np.array([[3.0]]), None, np.array([4.0, 0.0])]) == 5.0
    assert global_norm([None]) == global_norm([]) == 0.0


def test_many_float32_squares_keep_their_digits():
    g = np.random.default_rng(0).standard_normal(3_000_001).astype(np.float32)
    exact = math.sqrt(np.square(g.astype(np.float64)).sum())
    assert global_norm([g]) == pytest.approx(exact, rel=1e-9)  # squares are rounded, up or down, their sum not


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.floats(0, 1e9), st.floats(1e-3, 1e3))
def test_a_clipped_gradient_is_no_longer_than_allowed_and_a_short_one_is_left_alone(norm, max_norm):
    coefficient = clip_coefficient(norm, max_norm)
    assert 0 < coefficient <= 1 and norm * coefficient <= max_norm
    assert coefficient == 1.0 or norm > max_norm - 1e-6
    assert norm < 1.01 * max_norm or norm * coefficient > 0.99 * max_norm  # no shorter than needed


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_is_reported_and_not_scaled(bad):
    norm = global_norm([np.array([1.0, bad])])
    assert not math.isfinite(norm) and clip_coefficient(norm, 1.0) == 1.0


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan])
def test_max_norm_is_checked(max_norm):
    with pytest.raises(ValueError, match="max_norm is"):
        clip_coefficient(1.0, max_norm)
