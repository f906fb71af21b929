"""Correlations: the formulas' own properties, and SciPy's numbers."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tinygpt.evaluation import pearson, spearman

NUMBERS = st.lists(st.integers(-5, 5), min_size=2, max_size=20)


@given(NUMBERS, st.integers(0, 99))
def test_spearman_depends_on_the_order_alone(values, seed):
    others = np.random.default_rng(seed).normal(size=len(values))
    found = spearman(values, others)
    if len(set(values)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(spearman(np.exp(values), others ** 3)) and abs(found) <= 1 + 1e-12
        assert found == pytest.approx(-spearman(values, -others))
        assert spearman(values, values) == pytest.approx(1)


@pytest.mark.oracle
def test_as_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for n in (2, 3, 10, 200):
        a, b = rng.integers(0, 6, n) + 0.5 * np.arange(n), rng.normal(size=n).round(1)
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b)[0], abs=1e-12)
        assert pearson(a, b) == pytest.approx(stats.pearsonr(a, b)[0], abs=1e-12)


@pytest.mark.parametrize("a, b", [([1], [2]), ([1, 2], [1, 2, 3]), ([[1, 2]], [[1, 2]])])
def test_lists_that_cannot_be_compared_are_refused(a, b):
    with pytest.raises(ValueError, match="two lists of equal length"):
        pearson(a, b)
