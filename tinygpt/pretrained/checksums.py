"""Checksums of a safetensors file: a CRC-32 of the header and of each tensor, kept in the header's metadata.

A flipped bit on a disk makes another weight, and nothing else would notice. The format has room for strings of one's
own, which other programs leave alone, and one of them holds eight hexadecimal digits for the header and for each tensor
in the order of the data:

    {"__metadata__": {"crc32": "5a0c11d2" "83ab09ff" …, "format": "pt"}, …}

The header's own is taken with zeros in place of them all. It says that a file is as it was written, not who wrote it:
whoever changes a file on purpose can change the checksum too.

A CRC takes a third of the time that a write takes to copy the same bytes to the system, and NumPy's arrays can be read
by two threads at a time. So it is worked out beside the writing, and costs next to nothing.

Prerequisites: files/json_file.py. Next: safetensors_file.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

__all__ = ["KEY", "blank", "checked_header", "write_with_checksums"]

KEY = "crc32"
DIGITS = 8
TOGETHER = 1 << 20  # bytes that are worth handing to the other thread


def blank(n_tensors: int) -> str:
    """What stands in the metadata, under KEY, until the sums are known."""
    return "0" * (DIGITS * (1 + n_tensors))


def _in_header(value: str) -> bytes:
    return f'"{KEY}":"{value}"'.encode()


def _value(header: bytes, sums: Sequence[int]) -> str:
    """The digits of a header, with zeros in place of them, and of tensors."""
    return "".join(f"{one:08x}" for one in (zlib.crc32(header), *sums))


def write_with_checksums(file: BinaryIO, header: bytes, arrays: Iterator[memoryview], n_bytes: int) -> None:
    """Write the header, which has a `blank`, and the arrays' bytes; then the sums in the header.

    Args:
        file: at its beginning.
        header: with the eight bytes of its length.
        arrays: the bytes of each, in order; at most two groups of them are held at a time.
        n_bytes: how many they are together.
    """
    file.write(header)
    sums: list[int] = []
    if n_bytes < TOGETHER:
        for array in arrays:
            sums.append(zlib.crc32(array))
            file.write(array)
    else:
        with ThreadPoolExecutor(1, thread_name_prefix="checksum") as helper:
            before: Future[list[int]] | None = None
            for group in _grouped(arrays):
                job = helper.submit(_sums, group)
                for array in group:
                    file.write(array)
                sums += [] if before is None else before.result()
                before = job
            sums += [] if before is None else before.result()
    file.seek(0)
    file.write(header.replace(_in_header(blank(len(sums))), _in_header(_value(header, sums)), 1))


def _sums(group: list[memoryview]) -> list[int]:
    return [zlib.crc32(array) for array in group]


def _grouped(arrays: Iterator[memoryview]) -> Iterator[list[memoryview]]:
    group: list[memoryview] = []
    for array in arrays:
        group.append(array)
        if sum(one.nbytes for one in group) >= TOGETHER:
            yield group
            group = []
    if group:
        yield group


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
    return int(digits, 16) if len(digits) == DIGITS and digits.isalnum() and digits.isascii() else -1
