"""What every measurement of a model needs: the model in evaluation mode, somebody who may look on, and several threads.

Where several processes have the same model, as the ranks of a run do when they validate, they can share the batches:
whatever goes through `side_by_side` inside `shared_among` is measured by one of them each, and all get all results.

Measurements that take long are given `track`, which gets the batches and how many there are and yields them again.
Nobody looks by default; the command line shows a bar.

Prerequisites: confidence.py, nn/evaluating.py. Next: language_modeling.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np

from ..autograd import no_grad
from ..nn import evaluating

__all__ = ["Sharing", "Track", "Unfit", "by_the_first", "evaluating", "shared_among", "side_by_side", "untracked"]

T = TypeVar("T")
R = TypeVar("R")


class Unfit(ValueError):
    """Texts that this model and tokenizer cannot read: too long, or of other characters. The data are not to blame."""


class Track(Protocol):
    """`track(batches, total)`: yields the batches, and shows progress."""

    def __call__(self, batches: Iterable[T], total: int, /) -> Iterator[T]: ...


def untracked(batches: Iterable[T], total: int, /) -> Iterator[T]:
    """The batches, unseen."""
    yield from batches


@dataclass(frozen=True)
class Sharing:
    """Who measures together: this process is number `rank` of `size`, and `collect` gives all of them the value of
    each, in their order."""

    rank: int
    size: int
    collect: Callable[[Any], list[Any]]


ALONE = Sharing(0, 1, lambda value: [value])
_sharing: ContextVar[Sharing] = ContextVar("sharing", default=ALONE)


@contextmanager
def shared_among(sharing: Sharing) -> Iterator[None]:
    """Inside the block several processes measure the same batches together. All of them enter it and do the same."""
    before = _sharing.set(sharing)
    try:
        yield
    finally:
        _sharing.reset(before)


def by_the_first(measure: Callable[[], R]) -> R:
    """What `measure` gives, for that which cannot be shared out: inside `shared_among` the first process alone calls
    it, and the others get its answer."""
    sharing = _sharing.get()
    return sharing.collect(measure() if sharing.rank == 0 else None)[0]


def side_by_side(measure: Callable[[T], R], model: Any, batches: Iterable[T], workers: int) -> Iterator[R]:
    """What `measure` gives for each batch, in their order; several batches at a time, each by a thread of its own.

    Where BLAS is held to one thread, as in training, the results have the same bits for any number of workers, and of
    processes inside `shared_among`.

    Args:
        measure: batch -> a result; it runs without a tape, and the model is in evaluation mode. Among several processes
            results travel: they are small.
        batches: taken as they are needed; in several processes the same ones.
        workers: how many threads; with 1 it is the caller's.
    """
    sharing = _sharing.get()
    if sharing.size > 1:
        yield from _shared_out(sharing, measure, model, iter(batches), workers)
        return
    errors = np.geterr()  # a thread begins with NumPy's own settings

    def quietly(batch: T) -> R:
        with evaluating(model), no_grad(), np.errstate(**errors):
            return measure(batch)
    if workers == 1:
        yield from map(quietly, batches)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="evaluation") as pool:
        waiting: deque[Future[R]] = deque()
        for batch in batches:
            waiting.append(pool.submit(quietly, batch))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _shared_out(sharing: Sharing, measure: Callable[[T], R], model: Any, batches: Iterator[T],
                workers: int) -> Iterator[R]:
    """`side_by_side` among several processes, in rounds of a batch for each worker of each."""
    while some := list(islice(batches, sharing.size * workers)):
        with shared_among(ALONE):
            own = list(side_by_side(measure, model, some[sharing.rank::sharing.size], workers))
        theirs = sharing.collect(own)
        yield from (theirs[place % sharing.size][place // sharing.size] for place in range(len(some)))
