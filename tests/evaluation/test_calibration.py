"""Calibration: by the definition, against known answers, and that a temperature changes no answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.evaluation.calibration import (calibration_error, fit_temperature, reliability, scaled,
                                            selective_accuracy)


def drawn(seed: int, n: int, k: int, sharpness: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * sharpness
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return p, np.array([rng.choice(k, p=row) for row in p])


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(2, 5), st.integers(1, 20))
@settings(derandomize=True, max_examples=30)
def test_the_error_is_the_mean_distance_of_confidence_and_accuracy(seed, n, k, n_bins):
    p, labels = drawn(seed, n, k)
    expected = 0.0
    for number in range(n_bins):
        own = [i for i in range(n) if number / n_bins < p[i].max() <= (number + 1) / n_bins]
        if own:
            expected += len(own) / n * abs(np.mean([p[i].max() for i in own])
                                           - np.mean([p[i].argmax() == labels[i] for i in own]))
    assert calibration_error(p, labels, n_bins) == pytest.approx(expected, abs=1e-9)
    assert sum(found.n for found in reliability(p, labels, n_bins)) == n


@given(st.integers(0, 1000), st.floats(0.2, 5.0))
@settings(derandomize=True, max_examples=5)
def test_a_temperature_that_was_laid_on_is_found_again(seed, temperature):
    """Labels drawn from p are calibrated; p sharpened by 1 / T needs about T, and no answer changes."""
    p, labels = drawn(seed, 2000, 3)
    sharpened = scaled(p, 1 / temperature)
    found = fit_temperature(sharpened, labels)
    assert found == pytest.approx(temperature, rel=0.2)
    mended = scaled(sharpened, found)
    assert (mended.argmax(axis=1) == sharpened.argmax(axis=1)).all()
    np.testing.assert_allclose(scaled(scaled(p, 2.0), 0.5), p, rtol=1e-9)
    assert calibration_error(mended, labels) < 0.06


def test_selective_accuracy_takes_the_surest():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    labels = np.array([0, 1, 1, 0])
    assert [selective_accuracy(p, labels, share) for share in (0.25, 0.5, 0.75, 1.0)] == [1.0, 1.0, 2 / 3, 0.5]


@pytest.mark.parametrize("call", [lambda: calibration_error(np.ones((2, 2)), np.ones(3)),
                                  lambda: reliability(np.ones((0, 2)), np.ones(0)),
                                  lambda: selective_accuracy(np.ones((1, 2)), np.zeros(1, int), 0.0),
                                  lambda: reliability(np.ones((1, 2)), np.zeros(1, int), 0)])
def test_wrong_arguments(call):
    with pytest.raises(ValueError, match="calibration needs|coverage is|n_bins is"):
        call()
