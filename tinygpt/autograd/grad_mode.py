"""Switching the tape off: `no_grad`.

A network that is only used, not trained, needs no graph: recording one would keep every intermediate array alive.

Prerequisites: backend.py. Next: graph.py.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["is_grad_enabled", "no_grad"]


class _OpenBlocks(threading.local):
    """The `with no_grad():` blocks open in this thread: the no_grad, and the generator frame it stands in, or None."""

    def __init__(self) -> None:
        self.blocks: list[tuple[no_grad, FrameType | None]] = []


_open = _OpenBlocks()
_GENERATOR_CODE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def is_grad_enabled() -> bool:
    """False inside `with no_grad():`, in the thread that entered it."""
    for _, frame in _open.blocks:
        # A generator that has yielded inside its block stands outside the call stack: its block does not count.
        if frame is None or frame.f_back is not None:
            return False
    return True


class no_grad:
    """Record nothing inside: `with no_grad(): …`, or `@no_grad()` above a function or generator function.

    The switch is the thread's own, and it does not leak out of a generator that yields inside the block:

    >>> from tinygpt import Tensor
    >>> def stream(x):
    ...     with no_grad():
    ...         yield x * 2
    >>> x = Tensor([1.0], requires_grad=True)
    >>> for y in stream(x):
    ...     print(y.requires_grad, (x * 2).requires_grad)
    False True
    """

    def __enter__(self) -> no_grad:
        _open.blocks.append((self, _generator_around(sys._getframe(1))))
        return self

    def __exit__(self, *exception: object) -> None:
        mine = [block for block in _open.blocks if block[0] is self]
        block = (self, _generator_around(sys._getframe(1)))  # of several, since blocks of generators may interleave
        if mine:
            _open.blocks.remove(block if block in mine else mine[-1])

    def __call__(self, function: Callable) -> Callable:
        if inspect.isgeneratorfunction(function):
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with no_grad():
                    return (yield from function(*args, **kwargs))
        else:
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with no_grad():
                    return function(*args, **kwargs)
        return wrapper


def _generator_around(frame: FrameType | None) -> FrameType | None:
    """The frame that `with` was written in if it is a generator's, else None.

    The frames of contextlib, and the bodies of `@contextmanager` functions that it runs, are passed over: they yield to
    a `with` block further up.
    """
    while frame is not None and any(f is not None and f.f_globals.get("__name__") == "contextlib"
                                    for f in (frame, frame.f_back)):
        frame = frame.f_back
    return frame if frame is not None and frame.f_code.co_flags & _GENERATOR_CODE else None
