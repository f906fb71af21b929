"""Modules without initial weights, for a model whose weights are read from a file: nothing is drawn and thrown away.

Drawing the weights of a large model takes longer than reading them, and they need memory beside those that are read.

Prerequisites: linear.py. Next: ../models/base.py, which fills such models.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import arrays

__all__ = ["blank"]

_one_at_a_time = threading.RLock()


class _Blank:
    """Stands in for the generator of initial weights: in one thread, arrays that hold one number; else the generator.

    Args:
        generator: the real one.
    """

    def __init__(self, generator: Any) -> None:
        self.generator, self.thread = generator, threading.get_ident()

    def standard_normal(self, size: Any = None, **options: Any) -> Any:
        """An array of this shape all of whose elements are one zero in memory."""
        if threading.get_ident() != self.thread:
            return self.generator.standard_normal(size, **options)
        zero = np.zeros(1, **options)
        return np.lib.stride_tricks.as_strided(zero, size, [0] * len(size))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.generator, name)


@contextmanager
def blank() -> Iterator[None]:
    """Inside the block, matrices of modules that this thread makes have no memory of their own. Their arrays must be
    replaced, not written into: all elements of one are a single number."""
    with _one_at_a_time:
        generator = arrays.generator()
        arrays._generator = _Blank(generator)  # type: ignore[assignment]
        try:
            yield
        finally:
            arrays._generator = generator
