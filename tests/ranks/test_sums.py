"""Sums over replicas: the same bits, whoever has which part."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.ranks import additions


def added(arrays, nodes, whole):
    """The nodes that are left, and their sums."""
    arrays = [array.copy() for array in arrays]
    pairs, left = additions(nodes, whole)
    for i, j in pairs:
        arrays[i] += arrays[j]
    sizes = np.diff([*(nodes[place][0] for place in left), nodes[-1][0] + nodes[-1][1]])
    return [(nodes[place][0], int(size)) for place, size in zip(left, sizes)], [arrays[place] for place in left]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
@settings(deadline=None, max_examples=80, derandomize=True)
def test_a_sum_over_ranks_has_the_bits_of_a_sum_in_one(ranks, leaves, seed):
    rng, n = np.random.default_rng(seed), ranks * leaves
    arrays = [(rng.normal(size=5) * 10.0 ** rng.integers(-4, 4)).astype(np.float32) for _ in range(n)]
    every = [(i, 1) for i in range(n)]
    _, (whole,) = added(arrays, every, True)
    nodes, sums = [], []
    for rank in range(ranks):
        own = slice(rank * leaves, (rank + 1) * leaves)
        some, theirs = added(arrays[own], every[own], False)
        nodes, sums = nodes + some, sums + theirs
    _, (total,) = added(sums, nodes, True)
    assert total.tobytes() == whole.tobytes()
    np.testing.assert_allclose(whole, np.sum(np.float64(arrays), 0), rtol=1e-4, atol=1e-2)


@given(st.integers(0, 20), st.integers(0, 5))
def test_a_power_of_two_of_replicas_in_each_rank_sends_one_array(rank, power):
    leaves = 1 << power
    _, left = additions([(rank * leaves + i, 1) for i in range(leaves)], whole=False)
    assert left == [0]


def test_two_and_three_replicas_are_added_up_from_the_left():
    assert additions([(0, 1), (1, 1)], True) == ([(0, 1)], [0])
    assert additions([(0, 1), (1, 1), (2, 1)], True) == ([(0, 1), (0, 2)], [0])
