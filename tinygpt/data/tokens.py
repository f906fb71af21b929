"""Token ids on disk: the corpus as one array of the smallest integer type, mapped into memory.

Encoding streams document by document, so neither the text nor the ids need fit in memory. The file is an ordinary
.npy file: `numpy.load(path, mmap_mode="r")` opens it too. Between two documents stands the tokenizer's end-of-text id,
if it has one, so the model learns where texts end.

Prerequisites: split.py, npy_header.py. Next: sampler.py.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from ..files.atomic_file import atomic_write
from ..tokenizers.base import Tokenizer
from .npy_header import read_npy_header

__all__ = ["TextEncoder", "TokenFile", "check_ids", "encode_documents", "growing_file", "map_ids", "smallest_id_type",
           "token_array", "write_tokens"]

SCAN = 1 << 22  # ids looked at together when a file is checked


def smallest_id_type(n_vocab: int) -> np.dtype:
    """The smallest unsigned integer type that holds every id below `n_vocab`: uint8, uint16 or uint32."""
    return np.min_scalar_type(max(n_vocab - 1, 0))


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer as token files are written with it.

    Attributes:
        template: put around each text what the tokenizer puts around texts.
        separate: put the end-of-text id between texts.
    """

    tokenizer: Tokenizer
    template: bool = True
    separate: bool = True

    @property
    def eos_token_id(self) -> int | None:
        """What separates texts."""
        return self.tokenizer.eos_token_id if self.separate else None

    def __len__(self) -> int:
        return len(self.tokenizer)

    def encode_array(self, text: str) -> np.ndarray:
        """The ids of a text."""
        return self.tokenizer.encode_array(text, self.template)


def check_ids(ids: np.ndarray, n_vocab: int, what: str) -> None:
    """Raise ValueError unless all ids, (N,), are below `n_vocab`; `what` holds them."""
    for start in range(0, len(ids), SCAN):
        block = ids[start:start + SCAN]
        if not 0 <= int(block.min()) <= int(block.max()) < n_vocab:
            raise ValueError(f"{what} holds the id {int(block.max())}, but the vocabulary has {n_vocab} ids; "
                             "it was made with another tokenizer")


def encode_documents(documents: Iterable[str], tokenizer: Tokenizer | TextEncoder) -> Iterator[np.ndarray]:
    """The ids of each document, (T,) in the smallest type, with the end-of-text id (if any) between documents."""
    dtype = smallest_id_type(len(tokenizer))
    eos = tokenizer.eos_token_id
    separator = np.array([] if eos is None else [eos], dtype)
    for number, document in enumerate(documents):
        if number and len(separator):
            yield separator
        ids = np.asarray(tokenizer.encode_array(document))
        check_ids(ids, len(tokenizer), "the encoded text")
        yield ids.astype(dtype, copy=False)


def token_array(documents: Iterable[str], tokenizer: Tokenizer | TextEncoder) -> np.ndarray:
    """All ids in memory, (N,), in the smallest unsigned type: the same ids as `write_tokens` writes."""
    parts = list(encode_documents(documents, tokenizer))
    return np.concatenate(parts) if parts else np.empty(0, smallest_id_type(len(tokenizer)))


@contextmanager
def growing_file(path: str | Path, dtype: np.dtype) -> Iterator[Callable[[np.ndarray], None]]:
    """A .npy file of one list, to which arrays of `dtype` are appended; it appears only when it is complete."""
    def header(length: int) -> dict:
        return {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}

    with atomic_write(path) as file:
        np.lib.format.write_array_header_1_0(file, header(0))  # NumPy leaves room to write a larger shape in its place
        start = file.tell()

        def append(array: np.ndarray) -> None:
            file.write(array.tobytes())
        yield append
        length = (file.tell() - start) // dtype.itemsize
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header(length))
        assert file.tell() == start, "the .npy header grew"


def write_tokens(path: str | Path, documents: Iterable[str], tokenizer: Tokenizer | TextEncoder) -> int:
    """Encode `documents` into the .npy file `path`, which appears only when it is complete.

    Returns:
        The number of ids written.
    """
    n_tokens = 0
    with growing_file(path, smallest_id_type(len(tokenizer))) as append:
        for ids in encode_documents(documents, tokenizer):
            append(ids)
            n_tokens += len(ids)
    return n_tokens


def map_ids(path: Path, dtype: np.dtype) -> np.ndarray:
    """The ids of a token file, (N,), mapped into memory. ValueError unless it is a complete list of `dtype`.

    Not a `numpy.memmap`: closing that under an array which still views it crashes the process. An array made by
    `frombuffer` keeps its map alive, and the last view to go closes it.
    """
    with open(path, "rb") as file:
        try:
            stored, shape = read_npy_header(file)
        except ValueError as error:
            raise ValueError(f"{path} is no token file ({error}); write it again") from error
        if stored != dtype or len(shape) != 1:
            raise ValueError(f"{path} holds {stored} of shape {shape}, but ids of this vocabulary are stored as a list "
                             f"of {dtype}; it was made with another tokenizer")
        start, size = file.tell(), os.fstat(file.fileno()).st_size
        if size != start + shape[0] * dtype.itemsize:
            raise ValueError(f"{path} has {size} bytes, expected {start + shape[0] * dtype.itemsize}: it is damaged; "
                             "write it again")
        memory_map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(memory_map, dtype, offset=start)  # (N,)


class TokenFile:
    """The ids of a token file, read from disk as they are used; a context manager.

    Attributes:
        path: the file.
        ids: (N,) read-only array over a memory map; empty once closed.

    Args:
        path: what `write_tokens` wrote.
        n_vocab: size of the vocabulary; every id is checked to be below it (one pass over the file).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a token file, truncated, or made for another vocabulary.
    """

    def __init__(self, path: str | Path, n_vocab: int) -> None:
        self.path = Path(path)
        self.ids = map_ids(self.path, smallest_id_type(n_vocab))
        check_ids(self.ids, n_vocab, str(path))

    def close(self) -> None:
        """Let go of the file, which Windows cannot replace while it is mapped.

        A slice of `ids` that someone else holds stays valid, and keeps the file mapped until it is gone.
        """
        self.ids = np.empty(0, self.ids.dtype)

    def __len__(self) -> int:
        return len(self.ids)

    def __enter__(self) -> TokenFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()
