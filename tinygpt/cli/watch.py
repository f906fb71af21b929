"""How far a measurement is: a bar on a terminal; anywhere else a line now and then, if it takes long.

Prerequisites: evaluation/tracking.py. Next: evaluate.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..training.progress import duration

__all__ = ["watch"]

EVERY = 15.0  # seconds between two lines
T = TypeVar("T")


def watch(batches: Iterable[T], total: int, /) -> Iterator[T]:
    """The batches; how many are done goes to standard error."""
    if sys.stderr.isatty():
        from tqdm import tqdm
        yield from tqdm(batches, total=total, unit="batch", dynamic_ncols=True, leave=False, delay=0.5)
        return
    start = said = time.perf_counter()
    for done, batch in enumerate(batches):
        now = time.perf_counter()
        if done and now - said >= EVERY:
            said = now
            left = (now - start) / done * (total - done)
            print(f"{done:,} of {total:,} batches  {duration(left)} left", file=sys.stderr, flush=True)
        yield batch
