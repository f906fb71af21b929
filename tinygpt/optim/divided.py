"""Matrices of which several ranks have a part each, and which one of them has to see as a whole.

    parts of the ranks ──bring_together──> the whole, at its maker ──(worked on)──hand_back──> parts of the ranks

A rank's part of the flat arrays ends where 1 / size of the moments end, wherever in a matrix that is: so moments take
the same memory in all. What is done to each element by itself is done where its moment is; what needs the matrix, by
its maker, the rank with most of it. Two ranks share at most one matrix, for their parts are stretches.

Prerequisites: ranks/group.py, flat_optimizer.py. Next: muon.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..backend import Array, array_module
from ..ranks import Group

__all__ = ["Divided"]


class Divided:
    """The matrices that are cut between ranks, as one rank sees them.

    Args:
        group: the ranks.
        parts: name -> what each rank has of the matrix, stretches of the flat arrays in the order of ranks; some may be
            empty.
        empty: an array (0,) of the matrices' dtype and device.

    Attributes:
        parts: as given.
        own: name -> this rank's part, of the matrices of which it has one.
    """

    def __init__(self, group: Group, parts: Mapping[str, Sequence[slice]], empty: Array) -> None:
        self.parts, self._group, self._empty = parts, group, empty
        sizes = {name: [part.stop - part.start for part in of_ranks] for name, of_ranks in parts.items()}
        self.own = {name: parts[name][group.rank] for name in parts if sizes[name][group.rank]}
        self._makers = {name: max(range(group.size), key=sizes[name].__getitem__) for name in self.own}

    def bring_together(self, pieces: Mapping[str, Array]) -> dict[str, Array]:
        """Name -> the whole matrix (rows * columns,), of those that this rank makes. All ranks call this together, each
        with an array (n,) for each part in `own`."""
        rank = self._group.rank
        self._there, self._back = [self._empty] * self._group.size, [self._empty] * self._group.size
        self._views: dict[str, Array] = {}
        wholes: dict[str, Array] = {}
        for name, piece in pieces.items():
            maker, parts = self._makers[name], self.parts[name]
            if maker != rank:
                self._there[maker] = self._views[name] = piece
                continue
            start = parts[0].start
            wholes[name] = array_module(piece).empty_like(piece, shape=(parts[-1].stop - start,))
            views = [wholes[name][part.start - start:part.stop - start] for part in parts]
            self._views[name] = views[rank]
            views[rank][...] = piece
            for other, view in enumerate(views):
                if view.size and other != rank:
                    self._back[other] = view
        if self.parts:
            self._group.swap(self._there, self._back)
        return wholes

    def hand_back(self) -> dict[str, Array]:
        """Name -> this rank's part, of what the makers have put into the arrays that `bring_together` gave them. All
        ranks call this together."""
        if self.parts:
            self._group.swap(self._back, self._there)
        return self._views
