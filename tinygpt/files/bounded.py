"""The bytes of a whole file, up to a size: what reads files of others asks for them here.

A name can stand for more than a file: a pipe without a writer lets an opening wait for ever, and /dev/zero never ends.
Only regular files are opened.

Prerequisites: shown.py. Next: atomic_file.py.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import IO, AnyStr

__all__ = ["read_bounded", "read_stream"]

_PART = 1 << 20


def read_bounded(path: str | Path, most: int, what: str = "such a file") -> bytes:
    """All bytes of a regular file.

    Args:
        path: where it is.
        most: more bytes than this are refused, and not read.
        what: what the file is, for the message: "a JSON file of a model".

    Raises:
        FileNotFoundError: there is none.
        ValueError: no regular file, or a larger one.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise ValueError(f"{path} is no regular file; expected {what}")
    with open(path, "rb") as file:
        data = file.read(most + 1)
        if len(data) > most:
            size = Path(path).stat().st_size
            raise ValueError(f"{path} has {size:,} bytes; {what} has at most {most:,}")
    return data


def read_stream(stream: IO[AnyStr], most: int, what: str = "standard input") -> AnyStr:
    """All that a stream holds, such as standard input, which may have no end.

    Raises:
        ValueError: more than `most` bytes, or characters of a stream of text; no more than that is read.
    """
    parts, size = [stream.read(0)], 0
    while part := stream.read(_PART):
        parts.append(part)
        size += len(part)
        if size > most:
            raise ValueError(f"{what} has more than {most:,} {'characters' if isinstance(part, str) else 'bytes'}, "
                             "which is the most; put it into files, and give less at once")
    return parts[0].join(parts)
