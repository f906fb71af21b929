"""Switching the tape off: `no_grad`.

A network that is only used, not trained, needs no graph: recording one would keep every intermediate array alive.

Prerequisites: graph.py. Next: tensor.py.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, Self

__all__ = ["is_grad_enabled", "no_grad", "open_blocks"]


class _OpenBlocks(threading.local):
    """The `with no_grad():` blocks that are open in this thread."""

    def __init__(self) -> None:
        self.blocks: list[Any] = []


open_blocks = _OpenBlocks()


def is_grad_enabled() -> bool:
    """False inside `with no_grad():`, in the thread that entered it."""
    for block in open_blocks.blocks:
        if block.counts():
            return False
    return True


class no_grad:
    """Record nothing inside: `with no_grad(): …`, or `@no_grad()` above a function.

    >>> with no_grad():
    ...     print(is_grad_enabled())
    False
    """

    def __enter__(self) -> Self:
        open_blocks.blocks.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        open_blocks.blocks.remove(self)

    def counts(self) -> bool:
        """Whether the block, while it is open, switches the tape off."""
        return True

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)
        return wrapper
