"""One gradient that several replicas add to in turn, so that a large model needs no second one.

A gradient array for each replica costs as much memory as the model, and a pass over all of them to add them up. Instead
the replicas add to the same array, a piece of a few megabytes at a time: replica 0 writes a piece, replica 1 adds its
part right behind, while replica 0 is at the next. The order at each piece is fixed, 0, 1, … n − 1 and again from 0 if a
parameter is used twice, so that sums are rounded alike every time.

Prerequisites: nn/module.py. Next: parallel.py.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Hashable, Iterator
from typing import Any

from ..autograd.graph import Gradient, usable
from ..engine.deferred import Deferred, Given
from ..optim.flat_parameter import FlatParameter

__all__ = ["PIECE", "SharedParameter", "Turns"]

PIECE = 1 << 20  # elements: what a product adds to it is in the cache when it is added


class Turns:
    """Whose turn it is at each place, for n replicas."""

    def __init__(self, n: int) -> None:
        self._changed = threading.Condition()
        self._n = n
        self.begin()

    def begin(self) -> None:
        """Start a step: nobody has been anywhere."""
        self._counts: dict[Hashable, list[int]] = {}  # how often each replica has been at a place
        self._running = set(range(self._n))
        self._waiting: dict[int, Hashable] = {}  # replica -> the place that it waits for
        self._taken: set[Hashable] = set()

    def finish(self, i: int) -> None:
        """Replica i goes nowhere any more in this step; nobody waits for it."""
        with self._changed:
            self._running.discard(i)
            self._changed.notify_all()

    def visited(self, place: Hashable) -> bool:
        """Whether anybody has been there in this step."""
        return place in self._counts

    @contextlib.contextmanager
    def turn(self, i: int, place: Hashable) -> Iterator[bool]:
        """Wait until it is replica i's turn at a place; gives whether it is the first one there."""
        with self._changed:
            counts = self._counts.setdefault(place, [0] * self._n)
            self._waiting[i] = place
            if not self._may_enter(i):
                self._changed.notify_all()  # those who wait already may have to see that all do
                self._changed.wait_for(lambda: self._may_enter(i))
            del self._waiting[i]
            self._taken.add(place)
            first = not any(counts)
        try:
            yield first
        finally:
            with self._changed:
                counts[i] += 1
                self._taken.discard(place)
                self._changed.notify_all()

    def _has_turn(self, i: int) -> bool:
        counts = self._counts[self._waiting[i]]
        return all((counts[i], i) <= (counts[j], j) for j in self._running)

    def _may_enter(self, i: int) -> bool:
        if self._waiting[i] in self._taken:
            return False
        # Replicas that go to places in different orders may all wait for one another. Then the first of them goes on,
        # and that too is the same every time.
        return self._has_turn(i) or (
            self._running == self._waiting.keys() and i == min(self._waiting)
            and not any(self._has_turn(j) for j in self._waiting))


class SharedParameter(FlatParameter):
    """A replica's parameter whose weights and gradient are those of another one, with turns at the gradient."""

    _turns: Turns
    _name: str
    _replica: int

    @staticmethod
    def of(name: str, parameter: FlatParameter, turns: Turns, replica: int) -> SharedParameter:
        """The parameter of replica number `replica`."""
        shared = parameter._another(SharedParameter, parameter.grad)
        shared.__dict__.update(_turns=turns, _name=name, _replica=replica)
        return shared

    def _pieces(self) -> list[slice]:
        """The rows in pieces of about PIECE elements; one, of everything, where that is small."""
        if self.size <= PIECE:
            return [slice(None)]
        step = max(1, PIECE * self.shape[0] // self.size)
        return [slice(start, start + step) for start in range(0, self.shape[0], step)]

    def receive(self, dx: Gradient, sender: Any = None, position: int = 0) -> None:
        """Add a gradient, in turn."""
        g = dx if isinstance(dx, Deferred) else usable(dx, self, sender, position)
        if g is not None:
            self.take(g if isinstance(g, Deferred) else Given(g))

    def take(self, g: Deferred) -> None:
        """Add it piece by piece, each when it is this replica's turn there."""
        pieces, total = self._pieces(), self._grad
        for i, rows in enumerate(pieces):
            part, place = (g, total) if len(pieces) == 1 else (g.rows(rows), total[rows])
            with self._turns.turn(self._replica, (self._name, i)) as first:
                part.add_to(place, first)

    def vacate(self) -> None:
        """Nothing: `Turns` knows who comes first."""

    def settle(self) -> None:
        """Nothing, while replicas are at work: see `settle_after`."""

    def settle_after(self) -> None:
        """After a step, write the zeros of a gradient that no replica had a part of."""
        if not self._turns.visited((self._name, 0)):
            self._grad[...] = 0
