"""Group: what ranks can do together, and the group of one process alone.

A rank is a process with a model of its own; all ranks of a group take the same steps. Everything that they do together
is made of three calls, which every rank makes in the same order:

    swap(sends, receives)   arrays: rank r's sends[p] is copied into rank p's receives[r]
    collect(value)          a small value of each rank, in a list that every rank gets
    broadcast(value)        the first rank's value, for every rank

These only move bytes. What is added up is added up in Python, in one order (sums.py), so that neither the number of
ranks nor the way between them can change a bit of the result. A new way between ranks is one subclass.

Who does not need that order can leave the sum to what is below: `add(sends, out)`.

Next: sums.py, mpi.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arrays import Array

__all__ = ["Group"]


class Group:
    """One process alone, and the base of the other kinds.

    Attributes:
        rank: the number of this process, from 0; the first one writes and speaks.
        size: how many there are.
        local: the ranks on this machine, in their order.
        device: where the arrays of `swap` and `add` may be, beside the host.
    """

    rank: int = 0
    size: int = 1
    local: tuple[int, ...] = (0,)
    device: str = "cpu"

    def swap(self, sends: Sequence[Array], receives: Sequence[Array]) -> None:
        """Send sends[p] to each rank p, and fill receives[p] with what it sends here.

        Args:
            sends, receives: a contiguous array for each rank, this one included; empty where nothing is sent. What
                rank r sends to rank p has the size and the dtype of what p expects from r.
        """
        receives[self.rank][...] = sends[self.rank]

    def add(self, sends: Sequence[Array], out: Array) -> None:
        """Send sends[p] to each rank p, and put the sum of what all ranks send here into `out`, in whatever order.

        Args:
            sends: a contiguous array for each rank, this one included; all ranks' sends[p] have one size and dtype.
            out: contiguous, like sends[rank].
        """
        out[...] = sends[self.rank]

    def collect(self, value: Any) -> list[Any]:
        """The value of each rank, in the order of ranks; small ones, such as numbers and texts."""
        return [value]

    def broadcast(self, value: Any) -> Any:
        """The first rank's value; what the others hand in does not matter."""
        return value

    def spread(self, array: Array) -> None:
        """Fill a contiguous array of every rank with the first one's."""
        empty = array.reshape(-1)[:0]
        sends = [array if self.rank == 0 and p else empty for p in range(self.size)]
        self.swap(sends, [array if self.rank and p == 0 else empty for p in range(self.size)])

    def assemble(self, whole: Array, bounds: Sequence[int]) -> None:
        """Fill `whole` (N,) on every rank: rank p has the elements from bounds[p] to bounds[p + 1]."""
        stretches = [whole[start:stop] for start, stop in zip(bounds, bounds[1:])]
        own, empty = stretches[self.rank], whole[:0]
        self.swap([empty if p == self.rank else own for p in range(self.size)],
                  [empty if p == self.rank else stretch for p, stretch in enumerate(stretches)])
