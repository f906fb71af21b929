"""The GGUF format: one file with a model's settings, its tokenizer and its weights, read without trust.

The whole format: a magic word and a version, how many tensors and how many settings there are, the settings, the table
of tensors, and, after some padding, the tensors' bytes.

    "GGUF" 3 272 33                                          little-endian: a 32-bit number, then two of 64 bits
    "llama.block_count" uint32 30                            a name, a kind, a value; arrays have a kind and a length
    "blk.0.attn_q.weight" 2 576 576 Q4_1 offset              sizes, the fastest first; a type; where its bytes begin

A hostile file can lie about each of these numbers. So `GGUFFile` believes no count, length or offset before it has
checked it against the length of the file, and reads a bounded number of settings. Tensors are read one by one, and
widened to float32 piece by piece (gguf_quants.py).

Prerequisites: gguf_quants.py. Next: gguf_model.py. Format: github.com/ggml-org/ggml.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .gguf_quants import OTHER_TYPES, TYPES, TensorType

__all__ = ["GGUFFile", "GGUFTensor", "is_gguf"]

MAGIC, VERSIONS = b"GGUF", (2, 3)
MAX_SETTINGS = 1 << 16
MAX_ITEMS = 1 << 21  # elements of arrays; the largest vocabularies have 300,000 tokens and 500,000 merges
MAX_TEXT = 1 << 24  # bytes of one string, and of all of them
MAX_ALL_TEXT = 1 << 28
MAX_TENSORS = 1 << 17
MAX_DIMENSIONS = 4
PIECE = 1 << 18  # elements widened at a time, so that what is in between stays in the processor's cache
STRING, ARRAY = 8, 9
NUMBERS = {0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "|b1", 10: "<u8", 11: "<i8",
           12: "<f8"}


def is_gguf(path: str | Path) -> bool:
    """Whether a file begins as a GGUF file does."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return False


@dataclass(frozen=True)
class GGUFTensor:
    """Where a tensor lies.

    Attributes:
        kind: its type; None for one that is not read, which `dtype` names.
        dtype: the type's name.
        shape: as NumPy has it, the slowest axis first.
        begin, end: its span of bytes in the file.
    """

    kind: TensorType | None
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    WEIGHTS: ClassVar = tuple(kind.name for kind in TYPES.values())

    @property
    def holds_weights(self) -> bool:
        """Whether it can be read."""
        return self.kind is not None


_SIZE = struct.Struct("<Q")


class _Cursor:
    """Reads the head of a file from front to back, and never beyond its end.

    Args:
        data: the bytes of the file.
    """

    def __init__(self, data: Any) -> None:
        self.data, self.at, self.items, self.text = data, 0, 0, 0

    def take(self, n: int) -> bytes:
        """The next n bytes."""
        if n > len(self.data) - self.at:
            raise ValueError(f"it ends inside its head, at byte {len(self.data):,}; is it truncated?")
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, code: str) -> Any:
        """The next number, of a code that NumPy knows."""
        return np.frombuffer(self.take(int(code[2:])), code)[0].item()

    def size(self) -> int:
        """The next number of 64 bits."""
        return _SIZE.unpack(self.take(8))[0]

    def string(self) -> str:
        """The next string, which must be UTF-8."""
        return self.strings(1)[0]

    def strings(self, count: int) -> list[str]:
        """The next so many strings."""
        data, at, end, size_of, found = self.data, self.at, len(self.data), _SIZE.unpack_from, list[str]()
        for _ in range(count):
            if at + 8 > end:
                self.take(end)  # which says that there is no more
            n = size_of(data, at)[0]
            self.text += n
            if n > MAX_TEXT or self.text > MAX_ALL_TEXT:
                raise ValueError(f"it has a string of {n:,} bytes, and {self.text:,} bytes of strings so far; at most "
                                 f"{MAX_TEXT:,} and {MAX_ALL_TEXT:,} are read")
            self.at = at + 8
            at = self.at + n
            found.append(str(data[self.at:at] if at <= end else self.take(n), "utf-8"))
        self.at = at
        return found

    def count(self, n: int) -> int:
        """n, if so many more elements of arrays may be read."""
        self.items += n
        if self.items > MAX_ITEMS:
            raise ValueError(f"it claims {self.items:,} elements of arrays; at most {MAX_ITEMS:,} are read")
        return n

    def value(self, kind: int) -> Any:
        """The next value of a kind: a number, a string, or a list of either."""
        if kind == STRING:
            return self.string()
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind != ARRAY:
            raise ValueError(f"it has a value of kind {kind}, which the format lacks")
        inner, n = self.number("<u4"), self.count(self.size())
        if inner == STRING:
            return self.strings(n)
        if inner not in NUMBERS:
            raise ValueError(f"it has an array of kind {inner}; only arrays of numbers and of strings are read")
        return np.frombuffer(self.take(n * int(NUMBERS[inner][2:])), NUMBERS[inner]).tolist()


class GGUFFile(Mapping[str, np.ndarray]):
    """The settings of a GGUF file, and its tensors by name, each read from disk when it is asked for, as float32.

    Attributes:
        path: the file.
        settings: values by name: numbers, strings, lists.
        tensors: `GGUFTensor` by name.

    Raises:
        ValueError: no GGUF file; a version that is not read; counts, lengths, sizes or offsets that do not fit the
            file; tensors that overlap.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.settings: dict[str, Any] = {}
        self.tensors: dict[str, GGUFTensor] = {}
        try:
            with open(self.path, "rb") as file:
                total = os.fstat(file.fileno()).st_size
                if total < 24:
                    raise ValueError(f"it has {total} bytes")
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    self._read_head(_Cursor(data), total)
        except ValueError as error:
            raise ValueError(f"{path} is not a valid GGUF file: {str(error):.500}") from None

    def _read_head(self, head: _Cursor, total: int) -> None:
        magic, version = head.take(4), head.number("<u4")
        if magic != MAGIC:
            raise ValueError(f"it begins with {magic!r}, expected {MAGIC!r}")
        if version not in VERSIONS:
            raise ValueError(f"it is of version {version}; versions {' and '.join(map(str, VERSIONS))}, little-endian, "
                             "are read")
        n_tensors, n_settings = head.size(), head.size()
        if n_settings > MAX_SETTINGS:
            raise ValueError(f"it claims {n_settings:,} settings; at most {MAX_SETTINGS:,} are read")
        if n_tensors > min(MAX_TENSORS, total // 32):
            raise ValueError(f"it claims {n_tensors:,} tensors in {total:,} bytes (at most {MAX_TENSORS:,} are read)")
        for _ in range(n_settings):
            name, kind = head.string(), head.number("<u4")
            if name in self.settings:
                raise ValueError(f"it gives {name!r:.100} twice")
            self.settings[name] = head.value(kind)
        entries = [self._read_entry(head) for _ in range(n_tensors)]
        alignment = self.settings.get("general.alignment", 32)
        if type(alignment) is not int or not 8 <= alignment <= 1 << 16 or alignment % 8:
            raise ValueError(f"its general.alignment is {alignment!r:.80}, expected a multiple of 8")
        start = -(-head.at // alignment) * alignment
        for name, number, shape, offset in entries:
            if name in self.tensors:
                raise ValueError(f"it has two tensors {name!r:.100}")
            if offset % alignment:
                raise ValueError(f"tensor {name!r:.100} begins at {offset}, which is no multiple of {alignment}")
            self.tensors[name] = self._tensor(name, number, shape, start + offset)
        self._check_spans(start, total)

    @staticmethod
    def _read_entry(head: _Cursor) -> tuple[str, int, tuple[int, ...], int]:
        name, n = head.string(), head.number("<u4")
        if n > MAX_DIMENSIONS:
            raise ValueError(f"tensor {name!r:.100} has {n} axes; there are at most {MAX_DIMENSIONS}")
        shape = tuple(head.size() for _ in range(n))[::-1]
        return name, head.number("<u4"), shape, head.size()

    @staticmethod
    def _tensor(name: str, number: int, shape: tuple[int, ...], begin: int) -> GGUFTensor:
        n = math.prod(shape)
        if not 0 < n < 1 << 48:
            raise ValueError(f"tensor {name!r:.100} has the impossible shape {shape!r:.100}")
        kind = TYPES.get(number)
        if kind is None:
            return GGUFTensor(None, OTHER_TYPES.get(number, f"number {number}"), shape, begin, begin)
        if (shape[-1] if shape else 1) % kind.elements:
            raise ValueError(f"tensor {name!r:.100} is of type {kind.name}, whose blocks have {kind.elements} "
                             f"elements, but its rows have {shape[-1]}")
        return GGUFTensor(kind, kind.name, shape, begin, begin + n // kind.elements * kind.size)

    def _check_spans(self, start: int, total: int) -> None:
        """The tensors lie behind the head and inside the file, and no two share a byte, so that a small file cannot
        give large arrays."""
        at, before = start, "the head"
        for name, tensor in sorted(self.tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
            if tensor.begin < at:
                raise ValueError(f"tensor {name!r:.100} overlaps {before:.100}")
            if tensor.end > total:
                raise ValueError(f"tensor {name!r:.100} ends at byte {tensor.end:,}, but the file has {total:,} bytes; "
                                 "is it truncated?")
            at, before = tensor.end, repr(name)

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = self.tensors[name]
        kind = tensor.kind
        if kind is None:
            raise ValueError(f"{self.path}: tensor {name!r:.100} is of type {tensor.dtype}, which is not read; read "
                             f"are {', '.join(tensor.WEIGHTS)}")
        out = np.empty((math.prod(tensor.shape) // kind.elements, kind.elements), np.float32)
        step = PIECE // kind.elements
        with open(self.path, "rb") as file:
            file.seek(tensor.begin)
            for start in range(0, len(out), step):
                part = out[start:start + step]
                data = file.read(len(part) * kind.size)
                if len(data) != len(part) * kind.size:
                    raise ValueError(f"{self.path} was shortened while it was read: tensor {name!r} is incomplete")
                with np.errstate(all="ignore"):  # a scale may be infinite
                    part[:] = kind.widen(np.frombuffer(data, np.uint8).reshape(len(part), kind.size))
        return out.reshape(tensor.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)
