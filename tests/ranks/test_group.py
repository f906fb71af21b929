"""What ranks do together, over the seam that moves their bytes."""

from __future__ import annotations

import numpy as np
import pytest
from thread_ranks import in_ranks

from tinygpt.ranks import Group


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_spread_and_assemble(size):
    def work(group: Group):
        weights = np.full((2, 3), group.rank, np.float32)
        group.spread(weights)
        bounds = [0, *range(2, 2 + size)]  # unequal parts
        whole = np.full(bounds[-1], -1.0)
        whole[bounds[group.rank]:bounds[group.rank + 1]] = group.rank
        group.assemble(whole, bounds)
        return weights, whole, group.collect(group.rank * 10), group.broadcast(group.rank + 7)
    for weights, whole, ranks, first in in_ranks(size, work):
        assert not weights.any() and whole.tolist() == [0, 0, *range(1, size)]
        assert ranks == [10 * rank for rank in range(size)] and first == 7


def test_a_process_alone_is_a_group():
    group, array = Group(), np.arange(3.0)
    group.spread(array)
    group.assemble(array, [0, 3])
    assert (group.rank, group.size, group.local) == (0, 1, (0,)) and array.tolist() == [0, 1, 2]
    assert group.collect("a") == ["a"] and group.broadcast("b") == "b"
