"""The safetensors format: named arrays in one file, read without trust and written the same way every time.

The whole format: eight bytes with the length of a header (little-endian), the header, the arrays' bytes.

    {"__metadata__": {"format": "pt"}, "wte.weight": {"dtype": "F32", "shape": [69, 24], "data_offsets": [0, 6624]}, …}

Nothing in it can run code, but a hostile file can lie about sizes. So `SafetensorsFile` believes nothing before it has
checked it against the length of the file: an array is allocated only for bytes that are there. An empty array has no
bytes that could vouch for its other sizes, so these are kept small.
Arrays are read one by one. bfloat16, which NumPy lacks, is the upper half of a float32 and is returned as that.
What is written here has checksums (checksums.py); where a file has them, they are checked.
Prerequisites: checksums.py. Next: shards.py. Format: https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..files import parse_object, shown
from ..files.atomic_file import atomic_write
from ..files.json_file import MAX_JSON_BYTES
from .checksums import KEY, blank, checked_header, checksum, write_with_checksums

__all__ = ["SafetensorsFile", "TensorInfo", "write_safetensors"]

MAX_HEADER_BYTES = MAX_JSON_BYTES  # the reference implementation has 100 MB; one of 100,000 tensors takes 10
MAX_EMPTY = 1 << 20  # the product of an empty array's other sizes
MAX_DIMENSIONS = 16
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",                  # BF16: raw bits, widened on reading
          "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
          "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1"}
OTHER_BITS = {"F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6,
              "F4": 4, "C64": 64}                                                   # types that are not read
NAMES = {np.dtype(code): name for name, code in DTYPES.items() if name != "BF16"}


@dataclass(frozen=True)
class TensorInfo:
    """Where an array lies: its dtype's name in the format, its shape, and its bytes' span in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    WEIGHTS: ClassVar = ("F64", "F32", "F16", "BF16")

    @property
    def holds_weights(self) -> bool:
        """Whether its numbers are those that a model computes with, not quantised ones."""
        return self.dtype in self.WEIGHTS


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _tensor_info(name: str, entry: Any, start: int) -> TensorInfo:
    """One entry of the header, checked by itself."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {shown(name)} must have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in {*DTYPES, *OTHER_BITS}:
        raise ValueError(f"tensor {shown(name)} has dtype {shown(dtype)}, which is not supported; supported: "
                         f"{', '.join(DTYPES)}")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(map(_is_size, shape)):
        raise ValueError(f"tensor {shown(name)} has no proper shape: {shown(shape)}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise ValueError(f"tensor {shown(name)} has no proper data_offsets: {shown(offsets)}")
    if math.prod(max(size, 1) for size in shape) >= (1 << 48 if math.prod(shape) else MAX_EMPTY):
        raise ValueError(f"tensor {shown(name)} is too large: {shown(shape)}")
    bits = OTHER_BITS.get(dtype) or 8 * np.dtype(DTYPES[dtype]).itemsize
    span = -(-math.prod(shape) * bits // 8)
    if offsets[1] - offsets[0] != span:
        raise ValueError(f"tensor {shown(name)}: data_offsets {shown(offsets)} do not span the {span:,} bytes of "
                         f"{dtype} {shown(shape)}")
    return TensorInfo(dtype, tuple(shape), start + offsets[0], start + offsets[1])


class SafetensorsFile(Mapping[str, np.ndarray]):
    """The arrays of a safetensors file by name, each read from disk when it is asked for.

    Attributes:
        path: the file.
        metadata: the header's strings by name, without the checksums.
        tensors: `TensorInfo` by name.
        sums: the checksum of each tensor by name; empty where the file has none.

    Raises:
        ValueError: the header is too large, no JSON or malformed; a dtype is not supported; a span does not fit its
            shape; spans overlap, leave holes, or do not end where the file ends (as in a truncated download).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.sums: dict[str, int] = {}
            self.metadata, self.tensors = self._read_header()
        except ValueError as error:
            raise ValueError(f"{path} is not a valid safetensors file: {str(error):.500}") from None

    def _read_header(self) -> tuple[dict[str, str], dict[str, TensorInfo]]:
        if not self.path.is_file():  # opening a pipe would wait for a writer
            raise FileNotFoundError(f"there is no file {self.path}")
        with open(self.path, "rb") as file:
            total = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if total < 8 or length > min(total - 8, MAX_HEADER_BYTES):
                raise ValueError(f"its header claims {length:,} bytes in a file of {total:,} bytes"
                                 f" (at most {MAX_HEADER_BYTES:,} are allowed)")
            encoded = file.read(length)
        header = parse_object(encoded, "its header")
        metadata = header.pop("__metadata__", None)
        metadata = {} if metadata is None else metadata  # some writers say null where there is none
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("its __metadata__ must map names to strings")
        tensors = {name: _tensor_info(name, entry, 8 + length) for name, entry in header.items()}
        at, before = 8 + length, "the header"
        for name, info in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
            if info.begin != at:                               # the spans tile the data: no overlap and no hole
                raise ValueError(f"tensor {shown(name)} {'overlaps' if info.begin < at else 'leaves a hole after'} "
                                 f"{before}")
            at, before = info.end, shown(name)
        if at != total:
            raise ValueError(f"its arrays end at byte {at:,}, but the file has {total:,} bytes; is it truncated?")
        if (sums := metadata.pop(KEY, None)) is not None:
            in_order = sorted(tensors, key=lambda name: (tensors[name].begin, tensors[name].end))
            self.sums = dict(zip(in_order, checked_header(length.to_bytes(8, "little") + encoded, sums, len(tensors))))
        return metadata, tensors

    def __getitem__(self, name: str) -> np.ndarray:
        info = self.tensors[name]
        if info.dtype in OTHER_BITS:
            raise ValueError(f"{self.path}: tensor {name!r} holds {info.dtype}, which is not read; read are "
                             f"{', '.join(DTYPES)}")
        data = np.empty(info.end - info.begin, np.uint8)
        with open(self.path, "rb") as file:
            file.seek(info.begin)
            if file.readinto(data.data) != data.size:
                raise ValueError(f"{self.path} was shortened while it was read: tensor {name!r} is incomplete")
        if name in self.sums and checksum(data) != self.sums[name]:
            raise ValueError(f"{self.path} is damaged: tensor {name!r} does not have the checksum that the file names")
        if info.dtype == "BOOL" and (data > 1).any():
            raise ValueError(f"{self.path}: tensor {name!r} is of dtype BOOL but holds bytes other than 0 and 1")
        array = data.view(DTYPES[info.dtype]).reshape(info.shape)
        if info.dtype != "BF16":
            return array
        wide = array.astype("<u4")
        wide <<= 16
        return wide.view("<f4")

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def write_safetensors(path: str | Path, tensors: Mapping[str, np.ndarray],
                      metadata: Mapping[str, str] | None = None, keep: str | Path | None = None) -> None:
    """Write arrays as a safetensors file that takes its name only when it is complete and on disk.

    The same arrays and metadata give the same bytes: wide dtypes first (so every array is aligned), then by name.
    Arrays need not be contiguous; one at a time is copied. A file that is replaced stays under the name `keep`.

    Raises:
        ValueError: an array of a dtype that the format lacks (complex numbers, objects, strings).
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted({**(metadata or {}), KEY: blank(len(tensors))}.items()))}
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    at = 0
    for name in order:
        array = tensors[name]
        dtype = NAMES.get(array.dtype.newbyteorder("<"))
        if dtype is None or name == "__metadata__":
            raise ValueError(f"tensor {name!r} of dtype {array.dtype} cannot be written to a safetensors file")
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    encoded += b" " * (-len(encoded) % 8)                      # the arrays begin at a multiple of eight
    with atomic_write(path, keep) as file:
        write_with_checksums(file, len(encoded).to_bytes(8, "little") + encoded,
                             lambda: (_bytes(tensors[name]) for name in order), at)


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
