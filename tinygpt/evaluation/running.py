"""What every measurement of a model needs: the model in evaluation mode, and somebody who may look on.

Measurements that take long are given `track`, which gets the batches and how many there are and yields them again.
Nobody looks by default; the command line shows a bar.

Prerequisites: confidence.py, nn/evaluating.py. Next: language_modeling.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from ..nn import evaluating

__all__ = ["Track", "evaluating", "untracked"]

T = TypeVar("T")


class Track(Protocol):
    """`track(batches, total)`: yields the batches, and shows progress."""

    def __call__(self, batches: Iterable[T], total: int, /) -> Iterator[T]: ...


def untracked(batches: Iterable[T], total: int, /) -> Iterator[T]:
    """The batches, unseen."""
    yield from batches
