"""The sines of Vaswani et al.: the table, added by position, in the dtype of the embeddings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.autograd import Tensor
from tinygpt.nn import SinusoidalPositions
from tinygpt.nn.sinusoidal import sinusoidal_table


@given(st.integers(1, 20), st.integers(1, 9))
@settings(deadline=None, max_examples=40, derandomize=True)
def test_the_table_of_sines(n, c):
    table = sinusoidal_table(n, c)
    half = (c + 1) // 2
    for t in range(n):
        for i in range(c):
            angle = t / 10000 ** (2 * (i % half) / c)
            assert table[t, i] == pytest.approx(math.sin(angle) if i < half else math.cos(angle), abs=1e-6)


def test_sinusoidal_positions_are_added_by_position():
    layer = SinusoidalPositions(10, 4)
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    table = sinusoidal_table(10, 4)
    np.testing.assert_allclose(layer.add(Tensor(x), np.array([4, 5, 6])).data, x + table[4:7])
    rows = np.array([[0, 0, 1], [7, 8, 9]])
    np.testing.assert_allclose(layer.add(Tensor(x), rows).data, x + table[rows])
    assert layer.add(Tensor(x.astype(np.float32)), np.arange(3)).dtype == np.float32
    assert not layer.state_dict()  # computed, not learned


def test_a_table_is_made_once_for_each_dtype():
    positions = SinusoidalPositions(8, 4)
    single, double = Tensor(np.zeros(1, np.float32)), Tensor(np.zeros(1))
    assert positions.tables(single) is positions.tables(single)
    assert positions.tables(single)[0].dtype == np.float32 and positions.tables(double)[0].dtype == np.float64
