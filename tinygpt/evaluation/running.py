"""What every measurement of a model needs: the model in evaluation mode, and somebody who may look on.

Measurements that take long are given `track`, which gets the batches and how many there are and yields them again.
Nobody looks by default; the command line shows a bar.

Prerequisites: confidence.py, nn/module.py. Next: language_modeling.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from ..nn import Module

__all__ = ["Track", "evaluating", "untracked"]

T = TypeVar("T")


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Inside the block the model does not drop anything out (`eval`); afterwards each part is as it was found."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


class Track(Protocol):
    """`track(batches, total)`: yields the batches, and shows progress."""

    def __call__(self, batches: Iterable[T], total: int, /) -> Iterator[T]: ...


def untracked(batches: Iterable[T], total: int, /) -> Iterator[T]:
    """The batches, unseen."""
    yield from batches
