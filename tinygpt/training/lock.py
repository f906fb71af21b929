"""One writer for a folder: a second run that is sent to the same place is turned away before it writes anything.

The lock is the operating system's, on the folder itself. It leaves no file behind, and the system releases it when the
process ends, however it ends: after `kill -9` a run can be resumed at once. Where folders cannot be locked (Windows,
some network drives) there is no lock.

Prerequisites: checkpoint.py. Next: run.py.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["locked"]

PATIENCE = 2.0  # seconds: the processes of a run that was killed may outlive it by a moment


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that is there.

    Raises:
        FileExistsError: another run holds it.
    """
    descriptor = _descriptor(folder)
    try:
        if descriptor is not None:
            _lock(descriptor, folder)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)                               # which releases it


def _descriptor(folder: Path) -> int | None:
    """The folder, opened; None where folders are not opened or not locked."""
    if importlib.util.find_spec("fcntl") is None:
        return None
    with contextlib.suppress(OSError):
        return os.open(folder, os.O_RDONLY)
    return None


def _lock(descriptor: int, folder: Path) -> None:
    import fcntl

    last = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return None                                    # this file system has no such locks
        if time.monotonic() > last:
            raise FileExistsError(f"another run is writing into {folder} at this moment: wait for it to end, or "
                                  "choose another --out")
        time.sleep(0.05)
