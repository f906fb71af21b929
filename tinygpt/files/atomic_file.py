"""The one way to write a file: it appears whole or not at all, and never at the other end of a link.

Whatever takes long to make (token ids, downloads, weights) is written beside its place under a temporary name and
renamed when it is complete: a process killed half way leaves the old file, or none, never half a file. A temporary name
begins with a dot and ends in ".tmp", so that what a killed process left can be told and removed.

A folder may come from somebody else, and a name in it may be a symbolic link to a file of ours. Renaming replaces the
link, not what it points to; a folder below that is such a link is refused where it would be written to.

Next: quiet.py.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["append_to", "atomic_write", "refuse_link", "remove_strays", "second_name", "write_text"]

_numbers = itertools.count()  # two threads that write the same file have a temporary file each
_BINARY = getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def refuse_link(folder: str | Path) -> None:
    """Refuse a folder that is a symbolic link: who made it would choose where our files go.

    Raises:
        OSError: it is one.
    """
    if Path(folder).is_symlink():
        raise OSError(f"{folder} is a symbolic link, and nothing is written through it: remove the link")


def _beside(path: Path) -> Path:
    """A temporary name in the same folder, which is on the same disk."""
    return path.with_name(f".{path.name}.{os.getpid()}.{next(_numbers)}.tmp")


@contextmanager
def atomic_write(path: str | Path, keep: str | Path | None = None) -> Iterator[BinaryIO]:
    """A binary file to write and seek in, which takes the name `path` if the block ends without an exception.

    Folders on the way are made. Where `path` is a link, the link is replaced.

    Args:
        path: the file.
        keep: another name in the same folder, under which the file that is replaced stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        temporary.unlink(missing_ok=True)  # of a process that had this number before
        with open(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666), "wb") as file:
            yield file
        if keep is not None:
            second_name(path, keep)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # a full disk does not say what it could not take
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def second_name(path: str | Path, name: str | Path) -> None:
    """Give a file that is there another name as well; where the disk cannot do that, instead of its own.

    Whenever the process is killed, the file has at least one of the two names.
    """
    link = _beside(Path(name))
    try:
        os.link(path, link, follow_symlinks=False)
        os.replace(link, name)
    except (OSError, NotImplementedError):
        os.replace(path, name)
    finally:
        link.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text as UTF-8, line ends as they are, in one step.

    Raises:
        ValueError: half of a surrogate pair, which UTF-8 cannot hold.
    """
    data = text.encode("utf-8")
    with atomic_write(path) as file:
        file.write(data)


def append_to(path: str | Path) -> BinaryIO:
    """A file, opened to write behind its end; OSError where it is a link."""
    return open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _BINARY | _NO_LINK, 0o666), "ab")


def remove_strays(folder: str | Path) -> None:
    """Remove the temporary files that killed processes left in a folder, in which nobody else is writing now."""
    if Path(folder).is_symlink():
        return  # it is somewhere else
    for stray in Path(folder).glob(".*.[0-9]*.tmp"):
        if stray.is_symlink() or stray.is_file():
            stray.unlink(missing_ok=True)
