"""A file that appears whole or not at all.

Whatever takes long to make (token ids, downloads) is written beside its place under a temporary name and renamed when
it is complete: a process killed half way leaves the old file, or none, never half a file.

Prerequisites: nothing. Next: pretrained/json_file.py, data/tokens.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file to write and seek in, which takes the name `path` if the block ends without an exception."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # the same folder: a rename stays on one disk
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # a full disk does not say what it could not take
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
