"""A generator of random numbers for one thread, so that two runs in two threads do not draw from the same.

Prerequisites: arrays.py. Next: training/run.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..arrays import own

__all__ = ["own_generator"]


@contextmanager
def own_generator(seed: int) -> Iterator[None]:
    """Inside the block this thread draws initial weights, and dropout that nobody seeds, from a generator of its own,
    which is seeded with `seed`; that of `manual_seed` stays as it is, and other threads notice nothing.

    >>> from tinygpt.backend import generator, manual_seed
    >>> manual_seed(1)
    >>> with own_generator(1):
    ...     inside = generator().random()
    >>> inside == generator().random()
    True
    """
    before, own.generator = own.generator, np.random.default_rng(seed)
    try:
        yield
    finally:
        own.generator = before
