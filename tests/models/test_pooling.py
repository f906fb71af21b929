"""Pooling: what each kind makes of features, padding left out, and its gradient."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tinygpt import Tensor
from tinygpt.models.pooling import POOLINGS, pool
from tinygpt.testing import gradcheck

BY_HAND = {
    "mean": lambda rows: rows.mean(axis=0), "first": lambda rows: rows[0], "last": lambda rows: rows[-1],
    "max": lambda rows: rows.max(axis=0), "mean_sqrt": lambda rows: rows.sum(axis=0) / np.sqrt(len(rows)),
    "weighted_mean": lambda rows: np.average(rows, axis=0, weights=np.arange(1, len(rows) + 1))}


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 99))
@pytest.mark.parametrize("kind", POOLINGS)
def test_a_text_is_pooled_as_if_it_stood_alone(kind, lengths, seed):
    x = np.random.default_rng(seed).normal(size=(len(lengths), max(lengths), 3))
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    expected = [BY_HAND[kind](row[:n]) for row, n in zip(x, lengths)]
    np.testing.assert_allclose(pool(Tensor(x), mask.astype(int), kind).data, expected, atol=1e-12)
    if mask.all():
        np.testing.assert_allclose(pool(Tensor(x), None, kind).data, expected, atol=1e-12)


@pytest.mark.parametrize("kind", POOLINGS)
def test_gradients(kind):
    x = Tensor(np.random.default_rng(0).normal(size=(2, 3, 2)), requires_grad=True)
    assert gradcheck(lambda x: pool(x, [[1, 1, 0], [1, 1, 1]], kind), x)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="pooling must be one of 'mean', 'first', .*, got 'median'"):
        pool(Tensor(np.ones((1, 1, 1))), None, "median")
