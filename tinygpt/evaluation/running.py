"""What every measurement of a model needs: the model in evaluation mode, somebody who may look on, and several threads.

Measurements that take long are given `track`, which gets the batches and how many there are and yields them again.
Nobody looks by default; the command line shows a bar.

Prerequisites: confidence.py, nn/evaluating.py. Next: language_modeling.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import numpy as np

from ..autograd import no_grad
from ..nn import evaluating

__all__ = ["Track", "evaluating", "side_by_side", "untracked"]

T = TypeVar("T")
R = TypeVar("R")


class Track(Protocol):
    """`track(batches, total)`: yields the batches, and shows progress."""

    def __call__(self, batches: Iterable[T], total: int, /) -> Iterator[T]: ...


def untracked(batches: Iterable[T], total: int, /) -> Iterator[T]:
    """The batches, unseen."""
    yield from batches


def side_by_side(measure: Callable[[T], R], model: Any, batches: Iterable[T], workers: int) -> Iterator[R]:
    """What `measure` gives for each batch, in their order; several batches at a time, each by a thread of its own.

    Where BLAS is held to one thread, as in training, the results have the same bits for any number of workers.

    Args:
        measure: batch -> a result; it runs without a tape, and the model is in evaluation mode.
        batches: taken as they are needed.
        workers: how many threads; with 1 it is the caller's.
    """
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
