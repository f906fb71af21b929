"""The three standard streams of a command, whatever the shell made of them.

    2>&1 | head -2      words for people are lost, the work goes on
    >/dev/full          the result cannot be written: exit code 1
    <&-  >&-  2>&-      closed: their numbers are taken, or the next file that is opened would have one of them, and
                        a library's warning would be written into a checkpoint

Next: arguments.py.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from ..files.quiet import Quiet

__all__ = ["print_result", "reader_left", "standard_streams", "written"]

NAMES = {"stdin": "standard input", "stdout": "standard output", "stderr": "standard error"}


class _Closed(io.TextIOBase):
    """Stands in for a standard stream that was closed: using it is an error with a sentence."""

    def __init__(self, name: str) -> None:
        self._name = name

    def read(self, *rest: Any) -> NoReturn:
        """Nothing to read."""
        raise ValueError(f"{self._name} is closed")

    def readline(self, *rest: Any) -> NoReturn:
        """Nothing to read."""
        self.read()

    def write(self, *rest: Any) -> NoReturn:
        """Nowhere to write."""
        raise OSError(errno.EBADF, f"{self._name} is closed")

    @property
    def buffer(self) -> Any:
        """The same for bytes."""
        return self


def _take(number: int) -> None:
    """Open a file descriptor that is closed, on nothing."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Inside the block all three streams are there, and standard error decides over nothing."""
    before = {name: getattr(sys, name) for name in NAMES}
    for number, (name, what) in enumerate(NAMES.items()):
        if before[name] is None:
            _take(number)
            setattr(sys, name, _Closed(what))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a character shows "?"
    sys.stderr = Quiet(before["stderr"])
    try:
        yield
    finally:
        for name, stream in before.items():
            setattr(sys, name, stream)


def print_result(text: str) -> None:
    """Print the result of work that is done and saved.

    Raises:
        OSError: it cannot be written, whether the disk is full or nobody reads it.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        raise OSError(f"standard output cannot be written ({error.strerror or error}); this was to be there: {text}") \
            from None


def written() -> OSError | None:
    """Write out what standard output holds back; the error if that fails. Python would complain about it at its end.

    A BrokenPipeError says that the reader of the output has had enough.
    """
    try:
        sys.stdout.flush()
        return None
    except OSError as error:
        if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:  # what is left goes nowhere
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.__stdout__.fileno())
            os.close(nowhere)
        return error


def reader_left() -> bool:
    """Whether standard output is a pipe that nobody reads any more.

    What it holds back cannot be written then. It holds nothing back where Python was told not to (PYTHONUNBUFFERED),
    and the pipe itself has to be asked.
    """
    if isinstance(written(), BrokenPipeError):
        return True
    try:
        pipe = select.poll()
        pipe.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in pipe.poll(0))
    except (AttributeError, OSError):  # not on Windows; no file
        return False
