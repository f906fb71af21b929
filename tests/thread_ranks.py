"""Ranks in threads of one process: the seam of tinygpt/ranks without MPI.

    answers = in_ranks(4, function)      # function(group) in four threads; what they return, in the order of ranks
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tinygpt.ranks import Group


class _Place:
    """Where the threads leave for one another what they send."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=60)
        self.left: list[Any] = [None] * size


class InThread(Group):
    """One rank of several in one process."""

    def __init__(self, place: _Place, rank: int, machines: Sequence[str]) -> None:
        self._place, self.rank, self.size = place, rank, len(machines)
        self.local = tuple(p for p, name in enumerate(machines) if name == machines[rank])

    def collect(self, value: Any) -> list[Any]:
        self._place.left[self.rank] = value
        self._place.barrier.wait()
        values = list(self._place.left)
        self._place.barrier.wait()
        return values

    def broadcast(self, value: Any) -> Any:
        return self.collect(value)[0]

    def swap(self, sends: Sequence[np.ndarray], receives: Sequence[np.ndarray]) -> None:
        super().swap(sends, receives)
        for p, theirs in enumerate(self.collect([np.array(array) for array in sends])):
            if p != self.rank:
                assert theirs[self.rank].shape == receives[p].shape and theirs[self.rank].dtype == receives[p].dtype
                assert receives[p].flags.c_contiguous
                receives[p][...] = theirs[self.rank]

    def add(self, sends: Sequence[np.ndarray], out: np.ndarray) -> None:
        """From the last rank to the first: in another order than that of `additions`."""
        sends = [np.array(array) for array in sends]
        summands = [theirs[self.rank] for theirs in self.collect(sends)]
        out[...] = sum(reversed(summands[:-1]), summands[-1])


def in_ranks(size: int, function: Callable[[Group], Any], machines: Sequence[str] = ()) -> list[Any]:
    """What `function` returns in each rank; the first error is raised. `machines` names that of each rank."""
    place = _Place(size)

    def run(rank: int) -> Any:
        try:
            return function(InThread(place, rank, machines or ["here"] * size))
        except BaseException:
            place.barrier.abort()
            raise
    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(run, rank) for rank in range(size)]
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]
