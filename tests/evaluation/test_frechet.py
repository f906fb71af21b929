"""The Fréchet distance: what it is of normal distributions, by the root of a matrix, and what it does not care for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tinygpt.evaluation import frechet_distance


def root(matrix: np.ndarray) -> np.ndarray:
    """The root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10 ** 6), channels=st.integers(1, 5))
def test_it_is_the_formula_with_roots_of_matrices(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(size=(20, channels)) @ rng.normal(size=(channels, channels)) + rng.normal(size=channels)
            for _ in range(2))
    of_a, of_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    middle = root(root(of_a) @ of_b @ root(of_a))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(of_a + of_b - 2 * middle)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-6, abs=1e-6)
    assert frechet_distance(a, a[rng.permutation(20)]) == pytest.approx(0, abs=1e-5)


def test_one_perfect_thing_over_and_over_is_far_away() -> None:
    rng = np.random.default_rng(0)
    real, mode = rng.normal(size=(500, 4)), np.zeros((500, 4))
    assert frechet_distance(mode, real) > 100 * frechet_distance(rng.normal(size=(500, 4)), real)


@pytest.mark.parametrize("a, b", [((3, 2), (3, 1)), ((1, 2), (3, 2)), ((4,), (4,))])
def test_shapes_that_do_not_fit(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected features"):
        frechet_distance(np.zeros(a), np.zeros(b))
