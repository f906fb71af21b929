"""Text out of files, in pieces small enough for any memory, and never silently wrong.

A corpus found in the wild may be compressed with gzip, have a byte-order mark, Windows line ends, a few broken bytes,
or be no text at all. Here all of that is settled once: UTF-8 without its mark, "\\n" line ends as Python's text mode
gives them, each invalid byte replaced by U+FFFD and counted in one warning per file, and refusal by name of what is no
text. Packed files are streamed as plain ones are, and one that unpacks to far more than any text would is refused.

Next: records.py (tables of examples) and sources.py (what a user may name as data).
"""

from __future__ import annotations

import gzip
import io
import re
import sys
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from ..files import read_stream

__all__ = ["MAX_LINE", "STDIN", "Span", "is_packed", "read_chunks", "read_lines", "refusal"]

STDIN = "-"
HEAD = 8192  # bytes looked at to tell text from what is not
MAX_LINE = 1 << 25  # characters of one line
MAX_RATIO = 100  # text packs to a third or a tenth of its size, a line that repeats itself to a fiftieth
MOST_PIPED = 1 << 32  # bytes of standard input, which are held as long as they are read
FREE = 64 << 20  # bytes that may be unpacked before anybody counts
SIGNATURES = {
    b"%PDF-": "a PDF; extract its text first (pdftotext FILE)",
    b"PK\x03\x04": "a zip archive or an office document; unpack it, or save it as plain text",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
}


Span = tuple[int, int]  # the first byte of a stretch of a file, and the one behind it


class _Stretch(io.RawIOBase):
    """The bytes of a file from `start` to `stop`."""

    def __init__(self, file: io.RawIOBase, start: int, stop: int) -> None:
        self.file, self.left = file, stop - start
        file.seek(start)

    def readable(self) -> bool:
        """It can be read, and nothing else."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        data = self.file.read(min(len(buffer), self.left)) or b""
        buffer[:len(data)] = data
        self.left -= len(data)
        return len(data)

    def close(self) -> None:
        """Close the file too."""
        self.file.close()
        super().close()


class _Unpacked(io.RawIOBase):
    """What a packed file holds, as long as it is in proportion to the file."""

    def __init__(self, unpacked: gzip.GzipFile, packed: io.RawIOBase, name: str) -> None:
        self.unpacked, self.packed, self.name, self.total = unpacked, packed, name, 0

    def readable(self) -> bool:
        """It can be read, and nothing else."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        n = self.unpacked.readinto(buffer)
        self.total += n
        if self.total > max(FREE, MAX_RATIO * self.packed.tell()):
            raise ValueError(f"{self.name} unpacks to more than {MAX_RATIO} times its size, which no text does; unpack "
                             "it yourself if it is meant to")
        return n


@contextmanager
def _open_binary(path: str | Path, span: Span | None = None) -> Iterator[io.BufferedReader[Any]]:
    """The bytes of a file, or of standard input for "-", unpacked if they are gzip (told by content, not by name)."""
    with ExitStack() as stack:
        raw: Any = io.BytesIO(_standard_input()) if path == STDIN else open(path, "rb", buffering=0)
        if span is not None:
            raw = _Stretch(raw, *span)
        file = stack.enter_context(io.BufferedReader(raw, HEAD))  # closes `raw` too
        if span is not None or not is_packed(file.peek(2)):
            yield file
            return
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield io.BufferedReader(_Unpacked(unpacked, raw, _name(path)), HEAD)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{_name(path)} is a broken gzip file ({error}); fetch or pack it again") from error


def is_packed(head: bytes) -> bool:
    """Whether a file that begins with these bytes is gzip."""
    return head[:2] == b"\x1f\x8b"


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise ValueError("standard input is closed; give a file instead")
    return read_stream(sys.stdin.buffer, MOST_PIPED)


def _name(path: str | Path) -> str:
    return "standard input" if path == STDIN else str(path)


def _refusal(head: bytes) -> str | None:
    """Why a file that begins with these bytes cannot be read as text, or None."""
    for signature, what in SIGNATURES.items():
        if head.startswith(signature):
            return what
    return "binary, not text" if b"\x00" in head else None


def refusal(path: str | Path) -> str | None:
    """Why the file at `path` serves as no text ("empty", "a PDF; …", "binary, not text"), or None if it does."""
    with _open_binary(path) as file:
        head = file.peek(HEAD)
    return _refusal(head) if head else "empty"


@contextmanager
def _open_text(path: str | Path, span: Span | None = None) -> Iterator[IO[str]]:
    """The text of a file with each invalid byte 0x80…0xFF escaped as the lone surrogate U+DC80…U+DCFF.

    Valid UTF-8 holds no surrogates, so an escape is never mistaken for text.
    """
    with _open_binary(path, span) as file:
        problem = _refusal(file.peek(HEAD)[:HEAD])
        if problem is not None:
            raise ValueError(f"{_name(path)} is {problem}")
        with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=None) as text:
            yield text


def _repaired(path: str | Path, parts: Iterable[str]) -> Iterator[str]:
    """`parts` with escaped bytes replaced by U+FFFD; one warning says how many there were, and where."""
    replaced, empty, line = 0, True, 1  # the line is counted up to the first of them
    for part in parts:
        first = re.search("[\udc80-\udcff]", part) if not replaced else None
        if not replaced:
            line += part.count("\n", 0, first.start() if first else len(part))
        part, count = re.subn("[\udc80-\udcff]", "\ufffd", part)
        replaced += count
        empty = False
        yield part
    if empty:
        raise ValueError(f"{_name(path)} is empty; expected UTF-8 text")
    if replaced:
        warnings.warn(f"{_name(path)}: {replaced} bytes are not valid UTF-8 and were replaced by U+FFFD (the first is "
                      f"in line {line})", stacklevel=2)


def read_chunks(path: str | Path, size: int = 1 << 20, span: Span | None = None) -> Iterator[str]:
    """The text of a file in order, `size` characters at a time; "-" is standard input.

    Args:
        path: the file.
        size: characters.
        span: read these bytes of a file that is not packed, from the first to the one before the second.

    Raises:
        ValueError: the file is empty, no text, or broken gzip.
        FileNotFoundError: there is none.
    """
    with _open_text(path, span) as file:
        yield from _repaired(_place(path, span), iter(partial(file.read, size), ""))


def _place(path: str | Path, span: Span | None) -> str | Path:
    return f"{path}, from byte {span[0]:,} on" if span is not None and span[0] else path


def read_lines(path: str | Path, span: Span | None = None) -> Iterator[str]:
    """The lines of a file, or of some of its bytes, each with its final "\\n" (which the last may lack).

    Raises:
        ValueError, FileNotFoundError: as for `read_chunks`, and for a line of more than MAX_LINE characters.
    """
    with _open_text(path, span) as file:
        yield from _repaired(_place(path, span), _lines(_place(path, span), file))


def _lines(path: str | Path, file: IO[str]) -> Iterator[str]:
    for number, line in enumerate(iter(partial(file.readline, MAX_LINE + 1), ""), 1):
        if len(line) > MAX_LINE:
            raise ValueError(f"{_name(path)}, line {number}: longer than {MAX_LINE:,} characters; cut it")
        yield line
