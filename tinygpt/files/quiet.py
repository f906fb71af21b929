"""A text stream for words that nothing depends on: progress, notes, warnings.

A reader goes away (`| head -2`), a disk is full, a terminal is closed: a training of three days goes on.

Next: training/progress.py, cli/streams.py.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Quiet"]


class Quiet:
    """A text stream that loses what cannot be written; in all else it is the stream that it is given.

    Args:
        stream: a text stream, or None (`sys.stderr` of a program without a console).
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what the stream takes; characters that it cannot hold are written as backslash and number."""
        if self._stream is not None:
            try:
                self._write(text)
            except (OSError, ValueError):  # a ValueError: it has been closed
                pass
        return len(text)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError as error:
            self._stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))

    def flush(self) -> None:
        """Hand on what was written, if that is possible."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                pass

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
