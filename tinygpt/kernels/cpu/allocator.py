"""Freed memory kept by the process, instead of given back to the system and asked for again in the next step.

Each training step allocates and frees the same arrays. The C library returns large ones to the operating system at
once; when they come back they are zeroed page by page, at the first touch of each 4 KB. That costs more than the
arithmetic of an elementwise operation.

The names and numbers are those of glibc's `mallopt(3)`; elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8  # malloc.h


def keep_freed_memory() -> bool:
    """Let malloc keep what is freed, for the rest of the process; a process that trains calls this before it starts.

    Returns:
        False where the C library is not glibc, and nothing was changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {
        M_MMAP_MAX: 0,  # large arrays come from the heap too, not from mappings that end when they are freed
        M_TRIM_THRESHOLD: 2**31 - 1,  # the top of the heap is not given back …
        M_TOP_PAD: 64 << 20,  # … and grows by 64 MB at a time
        M_ARENA_MAX: 1,  # threads share one heap: others are cut into pieces of 64 MB
    }
    return all([mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings.items()])
