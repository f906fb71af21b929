"""Sight: mask and positions become what attention takes; positions turn queries and keys on the way."""

from __future__ import annotations

import numpy as np
from parts import GivenMask

from tinygpt.autograd import Tensor
from tinygpt.nn import Causal, Mask, Positions, RotaryPositions, Sight


class Slopes(Positions):
    """Adds minus the distance to the scores, (H, T, S), twice as much for the second head."""

    def bias(self, n_queries: int, n_keys: int) -> np.ndarray:
        distance = np.abs(np.arange(n_keys - n_queries, n_keys)[:, None] - np.arange(n_keys))
        return -np.float32([1, 2])[:, None, None] * distance.astype(np.float32)


def test_a_mask_alone_is_handed_on():
    where, allowed = np.arange(3), np.tri(3, dtype=bool)[None, None]
    assert Sight(Positions(), Mask(), where).bias is None and not Sight(Positions(), Mask(), where).causal
    assert Sight(Positions(), Causal(), where).bias is None and Sight(Positions(), Causal(), where).causal
    assert Sight(Positions(), GivenMask(allowed), where).bias is allowed


def test_what_positions_add_to_the_scores_is_minus_infinity_where_a_mask_hides():
    allowed = np.array([True, False, True])[None, None, None]  # (1, 1, 1, S)
    sight = Sight(Slopes(), GivenMask(allowed, causal=True), np.arange(3))
    expected = np.broadcast_to(Slopes().bias(3, 3), (1, 2, 3, 3)).copy()
    expected[..., 1] = -np.inf
    np.testing.assert_array_equal(sight.bias, expected)
    assert sight.bias.dtype == np.float32 and sight.causal
    np.testing.assert_array_equal(Sight(Slopes(), Causal(), np.arange(3)).bias, Slopes().bias(3, 3))


def test_queries_are_the_last_of_the_keys():
    sight = Sight(Slopes(), Mask(), np.array([3, 4]), n_keys=5)
    np.testing.assert_array_equal(sight.bias[0], [[-3, -2, -1, 0, -1], [-4, -3, -2, -1, 0]])


def test_positions_in_rows_count_the_queries_by_the_last_axis():
    assert Sight(Slopes(), Mask(), np.zeros((4, 2), int)).bias.shape == (2, 2, 2)


def test_queries_and_keys_are_turned_and_values_are_not():
    q, k, v = (Tensor(np.random.default_rng(seed).standard_normal((1, 2, 3, 4))) for seed in range(3))
    positions, where = RotaryPositions(8, 4), np.array([2, 3, 4])
    sight = Sight(positions, Causal(), where)
    got, expected = sight.of(object(), q, k, v), positions.turn(q, k, where)
    np.testing.assert_array_equal(got[0].data, expected[0].data)
    np.testing.assert_array_equal(got[1].data, expected[1].data)
    assert got[2] is v and (got[0].data != q.data).any()
