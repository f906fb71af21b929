"""Checksums of a safetensors file: of the header and of each tensor, kept in the header's metadata.

A flipped bit on a disk makes another weight, and nothing else would notice. The format has room for strings of one's
own, which other programs leave alone, and one of them holds eight hexadecimal digits for the header and for each tensor
in the order of the data:

    {"__metadata__": {"checksums": "5a0c11d2" "83ab09ff" …, "format": "pt"}, …}

The header's is its CRC-32, with zeros in place of all these digits. A CRC-32 of all the tensors would take a third as
long as writing them. So their pages of 4,096 bytes are added up first, each as 512 integers of 64 bits, which NumPy
does several times as fast; the CRC-32 is of these sums, and of what is left behind the last page. A flipped bit changes
the sum of its page for certain, and pages that are lost, zeroed or exchanged change the row of sums.

A second thread adds up while the first one waits for the disk, which leaves it a processor to run on. The header, which
is written again when the sums are known, is all that the disk has left to do then.

This says that a file is as it was written, not who wrote it: whoever changes a file on purpose can change it too.

Prerequisites: files/json_file.py. Next: safetensors_file.py.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

import numpy as np

__all__ = ["KEY", "blank", "checked_header", "checksum", "write_with_checksums"]

KEY = "checksums"
DIGITS = 8
PAGE = 4096
BLOCK = 1 << 22  # bytes that are added up at once
TOGETHER = 1 << 20  # bytes that are worth a thread of their own


def blank(n_tensors: int) -> str:
    """What stands in the metadata, under KEY, until the sums are known."""
    return "0" * (DIGITS * (1 + n_tensors))


def checksum(data: np.ndarray) -> int:
    """The checksum of bytes (N,)."""
    sums, pages = 0, data.size - data.size % PAGE
    for start in range(0, pages, BLOCK):
        block = data[start:min(start + BLOCK, pages)].view("<u8").reshape(-1, PAGE // 8)
        sums = zlib.crc32(np.add.reduce(block, axis=1).astype("<u8").data, sums)
    return zlib.crc32(data[pages:].data, sums)


def _in_header(value: str) -> bytes:
    return f'"{KEY}":"{value}"'.encode()


def _value(header: bytes, sums: Sequence[int]) -> str:
    """The digits of a header, with zeros in place of them, and of tensors."""
    return "".join(f"{one:08x}" for one in (zlib.crc32(header), *sums))


def write_with_checksums(file: BinaryIO, header: bytes, arrays: Callable[[], Iterable[np.ndarray]],
                         n_bytes: int) -> None:
    """Write the header, which has a `blank`, and the arrays; then the sums in the header; all of it to the disk.

    Args:
        file: at its beginning.
        header: with the eight bytes of its length.
        arrays: gives the bytes of each, (N,), in order, one at a time; it is called twice.
        n_bytes: how many they are together.
    """
    file.write(header)
    for array in arrays():
        file.write(array.data)
    if n_bytes < TOGETHER:
        sums = _sums(arrays())
    else:
        file.flush()
        with ThreadPoolExecutor(1, thread_name_prefix="checksums") as helper:
            job = helper.submit(_sums, arrays())
            os.fsync(file.fileno())
        sums = job.result()
    file.seek(0)
    file.write(header.replace(_in_header(blank(len(sums))), _in_header(_value(header, sums)), 1))
    file.flush()
    os.fsync(file.fileno())


def _sums(arrays: Iterable[np.ndarray]) -> list[int]:
    return [checksum(array) for array in arrays]


def checked_header(header: bytes, value: str, n_tensors: int) -> list[int]:
    """The sums of the tensors, in the order of the data.

    Args:
        header: as it stands in the file, with the eight bytes of its length.
        value: what its metadata hold under KEY.
        n_tensors: how many tensors the header describes.

    Raises:
        ValueError: the header is not as it was written.
    """
    zeros = header.replace(_in_header(value), _in_header(blank(n_tensors)), 1)
    if len(zeros) != len(header) or zlib.crc32(zeros) != _number(value[:DIGITS]):
        raise ValueError("its header does not have the checksum that it names: it is damaged, or another program "
                         "rewrote it and kept the old checksum")
    return [_number(value[at:at + DIGITS]) for at in range(DIGITS, len(value), DIGITS)]


def _number(digits: str) -> int:
    try:
        return int(digits, 16)
    except ValueError:
        return -1
