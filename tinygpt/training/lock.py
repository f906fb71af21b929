"""One writer for a folder: a second run that is sent to the same place is turned away before it writes anything.

The lock is the operating system's, on the folder itself. It leaves no file behind, and the system releases it when the
process ends, however it ends: after `kill -9` a run can be resumed at once. Where folders cannot be locked (Windows,
some network drives) there is no lock.

A folder may be moved while a run holds it. Its name then stands for nothing, or for another folder, in which another
run may write; so whoever holds a lock asks before each writing whether the name still stands for what was locked.

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

__all__ = ["FolderLock", "locked"]

PATIENCE = 2.0  # seconds: the processes of a run that was killed may outlive it by a moment


class FolderLock:
    """The lock of a folder, which may have to be made first: `with FolderLock(folder) as lock: … lock.take()`.

    Args:
        folder: the folder; if it is there, entering the block takes the lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._identity: tuple[int, int] | None = None
        self._descriptor: int | None = None

    def __enter__(self) -> FolderLock:
        if self.folder.is_dir():
            self.take()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)  # which releases it
            self._descriptor = None

    def take(self) -> None:
        """Take the lock of the folder, which is there by now; nothing if this has it already.

        Raises:
            FileExistsError: another run holds it.
        """
        if self._identity is not None:
            return self.require()
        self._descriptor = _descriptor(self.folder)
        try:
            if self._descriptor is not None:
                _lock(self._descriptor, self.folder)
            self._identity = _identity(self.folder if self._descriptor is None else self._descriptor)
            self.require()  # it may have been moved while this waited
        except BaseException:
            self.__exit__()
            raise

    def require(self) -> None:
        """Raise OSError if the folder's name no longer stands for the folder that was locked."""
        try:
            there = _identity(self.folder)
        except OSError:
            there = None
        if there != self._identity:
            raise OSError(f"{self.folder} was moved, removed or replaced while this run was writing into it, so it "
                          "ends here; its last checkpoint is in the folder that was moved: go on there with --resume")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that is there.

    Raises:
        FileExistsError: another run holds it.
    """
    with FolderLock(folder) as lock:
        lock.take()
        yield


def _identity(place: Path | int) -> tuple[int, int]:
    found = os.stat(place)
    return found.st_dev, found.st_ino


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
                return None  # this file system has no such locks
        if time.monotonic() > last:
            raise FileExistsError(f"another run is writing into {folder} at this moment: wait for it to end, or "
                                  "choose another --out")
        time.sleep(0.05)
