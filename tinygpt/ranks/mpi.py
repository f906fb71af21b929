"""Ranks that an MPI launcher started: mpiexec, srun. mpi4py finds the way between them, shared memory or network.

Waiting is polite: a rank that waits for a slower one leaves the processor to others, its own watch (watch.py) included.

Prerequisites: group.py. Next: nccl.py, watch.py, launch.py.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .group import Group

__all__ = ["OverMPI"]

IMPATIENT = 2000  # questions without a pause, about a millisecond; a pause at once would slow every message down
PAUSE = 0.0002  # seconds


class OverMPI(Group):
    """The ranks of an MPI communicator.

    Args:
        world: mpi4py's communicator; this takes a duplicate of it.
    """

    def __init__(self, world: Any) -> None:
        from mpi4py import MPI

        self._all_done = MPI.Request.Testall
        self._comm = world.Dup()
        self.rank, self.size = world.Get_rank(), world.Get_size()
        machine = world.Split_type(MPI.COMM_TYPE_SHARED)
        self.local = tuple(machine.allgather(self.rank))
        machine.Free()

    def swap(self, sends: Sequence[np.ndarray], receives: Sequence[np.ndarray]) -> None:
        super().swap(sends, receives)
        others = [(self.rank + step) % self.size for step in range(1, self.size)]  # not all to the same one at once
        requests = [self._comm.Irecv(receives[p], source=p) for p in others if receives[p].size]
        requests += [self._comm.Isend(sends[p], dest=p) for p in others if sends[p].size]
        self._wait(requests)

    def add(self, sends: Sequence[np.ndarray], out: np.ndarray) -> None:
        self._wait([self._comm.Ireduce_scatter(np.concatenate(sends), out, [array.size for array in sends])])

    def _wait(self, requests: list[Any]) -> None:
        asked = 0
        while not self._all_done(requests):
            asked += 1
            time.sleep(0 if asked < IMPATIENT else PAUSE)

    def collect(self, value: Any) -> list[Any]:
        self._meet()
        return self._comm.allgather(value)  # pickled, by processes of our own

    def broadcast(self, value: Any) -> Any:
        self._meet()
        return self._comm.bcast(value)

    def _meet(self) -> None:
        """Wait for the others politely; the calls above do not."""
        self._wait([self._comm.Ibarrier()])
