"""Examples as ids on disk: each is two sequences, what is read and what is to be answered.

For a label the second is one number; for an answer it is as long as the first, -100 where nothing is to be learnt. A
file is an ordinary .npy array, so that hashing and remaking it are those of token files:

    n, then for each example the lengths of its two sequences, then all their numbers one after the other

Prerequisites: tokens.py, pairs.py. Next: training/objectives/task.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..files.atomic_file import atomic_write
from .npy_header import read_npy_header
from .pairs import IdPair

__all__ = ["read_example_file", "write_example_file"]

Side = Sequence[int] | np.ndarray


def write_example_file(path: str | Path, examples: Iterable[tuple[Side, Side]]) -> None:
    """Write examples into the .npy file `path`, which appears only when it is complete."""
    sides = [np.asarray(side, np.int32) for example in examples for side in example]
    array = np.concatenate([np.array([len(sides) // 2, *map(len, sides)], np.int32), *sides])
    with atomic_write(path) as file:
        np.save(file, array, allow_pickle=False)


def read_example_file(path: str | Path) -> list[IdPair]:
    """What `write_example_file` wrote, as int32 arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or something else.
    """
    with open(path, "rb") as file:
        try:
            dtype, shape = read_npy_header(file)
        except ValueError as error:
            raise ValueError(f"{path} is no file of examples ({error}); write it again") from None
        array = np.frombuffer(file.read(), np.uint8)
    whole = dtype == np.int32 and len(shape) == 1 and shape[0] and 4 * shape[0] == len(array)
    array = array.view(np.int32) if whole else np.empty(0, np.int32)
    n = int(array[0]) if whole else -1
    lengths = array[1:1 + 2 * n].astype(np.int64)
    if n < 0 or len(lengths) != 2 * n or (lengths < 0).any() or 1 + 2 * n + lengths.sum() != len(array):
        raise ValueError(f"{path} is no file of examples; write it again")
    sides = np.split(array[1 + 2 * n:], np.cumsum(lengths)[:-1]) if n else []
    return list(zip(sides[0::2], sides[1::2]))
