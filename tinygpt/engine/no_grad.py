"""`no_grad` for generators: a block inside a generator counts only while the generator runs.

A generator that yields inside `with no_grad():` would leave its caller without gradients until it goes on: a stream of
tokens, say, while the caller trains. This `no_grad` takes the place of the book's in the whole program.

Prerequisites: autograd/recording.py. Next: deferred.py.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple, Self

from ..autograd import recording

__all__ = ["no_grad"]

_GENERATOR_CODE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class no_grad(recording.no_grad):
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

    def __enter__(self) -> Self:
        recording.open_blocks.blocks.append(_Block(self, _generator_around(sys._getframe(1))))
        return self

    def __exit__(self, *exception: object) -> None:
        blocks = recording.open_blocks.blocks
        mine = [block for block in blocks if block.owner is self]
        block = _Block(self, _generator_around(sys._getframe(1)))  # of several, since blocks of generators interleave
        if mine:
            blocks.remove(block if block in mine else mine[-1])

    def __call__(self, function: Callable) -> Callable:
        if not inspect.isgeneratorfunction(function):
            return super().__call__(function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with no_grad():
                return (yield from function(*args, **kwargs))
        return wrapper


class _Block(NamedTuple):
    """An open block: whose it is, and the generator frame that it stands in, or None."""

    owner: no_grad
    frame: FrameType | None

    def counts(self) -> bool:
        """A generator that has yielded inside its block stands outside the call stack: its block does not count."""
        return self.frame is None or self.frame.f_back is not None


def _generator_around(frame: FrameType | None) -> FrameType | None:
    """The frame that `with` was written in if it is a generator's, else None.

    The frames of contextlib, and the bodies of `@contextmanager` functions that it runs, are passed over: they yield to
    a `with` block further up.
    """
    while frame is not None and any(f is not None and f.f_globals.get("__name__") == "contextlib"
                                    for f in (frame, frame.f_back)):
        frame = frame.f_back
    return frame if frame is not None and frame.f_code.co_flags & _GENERATOR_CODE else None
