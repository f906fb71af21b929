"""Long measurements, watched: a loop over batches that somebody may look at.

The functions here take `track`, which is given the batches and how many there are and yields them again. Nobody looks
by default; the command line shows a bar.

Prerequisites: confidence.py. Next: language_modeling.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

__all__ = ["Track", "untracked"]

T = TypeVar("T")


class Track(Protocol):
    """`track(batches, total)`: yields the batches, and shows how far it is."""

    def __call__(self, batches: Iterable[T], total: int, /) -> Iterator[T]: ...


def untracked(batches: Iterable[T], total: int, /) -> Iterator[T]:
    """The batches, unseen."""
    yield from batches
