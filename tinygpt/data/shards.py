"""A folder of tokens that `tinygpt data` has made: files of ids, the shards, and an index that says what they are.

    tokens.json      the index: how many ids each shard has, of which tokenizer; written last, so its folder is complete
    00000.npy …      the shards: ids, with the end-of-text id behind each text, if the tokenizer has one
    tokenizer.json   … and whatever else the tokenizer saves

A folder may come from somebody else: the index is checked number by number, the length of each shard against it, and
ids when they are used. Shards are mapped into memory, so they may be larger than it.

Prerequisites: tokens.py. Next: mixture.py, prepare.py.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import parse_object, read_bounded, shown
from ..tokenizers.base import Tokenizer
from .sources import TOKEN_INDEX
from .tokens import check_ids, map_ids, smallest_id_type

__all__ = ["FORMAT", "Row", "TokenFolder", "tokenizer_fingerprint"]

FORMAT = 1
MOST_SHARDS, MOST_BYTES = 100_000, 64 << 20  # of an index
_HASH = re.compile("[0-9a-f]{64}")
_SHARD = re.compile("[0-9]{5,9}[.]npy")


class Row:
    """Ids in several arrays, one behind the other, read as one: by slices, and by arrays of places.

    Args:
        arrays: (n,) each, of one type.
        n_vocab: ids are below it; those that are read are checked.
        where: what holds them, for messages.
    """

    def __init__(self, arrays: Sequence[np.ndarray], n_vocab: int, where: str) -> None:
        self.arrays = [array for array in arrays if len(array)]
        self.n_vocab, self.where = n_vocab, where
        self.bounds = np.cumsum([0, *map(len, self.arrays)])

    @classmethod
    def joined(cls, rows: Sequence[Row]) -> Row:
        """Several of one vocabulary as one."""
        return cls([array for row in rows for array in row.arrays], rows[0].n_vocab, rows[0].where)

    def __len__(self) -> int:
        return int(self.bounds[-1])

    def part(self, start: int, stop: int) -> Row:
        """The ids from `start` to the one before `stop`, without reading them."""
        return Row(self._cut(start, stop), self.n_vocab, self.where)

    def _cut(self, start: int, stop: int) -> list[np.ndarray]:
        return [array[max(start - first, 0):max(stop - first, 0)]
                for first, array in zip(self.bounds.tolist(), self.arrays)
                if first < stop and start < first + len(array)]

    def __getitem__(self, key: slice | np.ndarray) -> np.ndarray:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            parts = self._cut(start, stop) if step == 1 else [self[np.arange(start, stop, step)]]
            ids = np.concatenate(parts) if parts else np.empty(0, smallest_id_type(self.n_vocab))
        else:
            ids = self._at(key)
        if ids.size:
            check_ids(ids.reshape(-1), self.n_vocab, self.where)
        return ids

    def _at(self, places: np.ndarray) -> np.ndarray:
        if places.size and not 0 <= int(places.min()) <= int(places.max()) < len(self):
            raise IndexError(f"{self.where} has {len(self):,} ids, none at {int(places.max()):,}")
        ids = np.empty(places.shape, smallest_id_type(self.n_vocab))
        arrays = np.searchsorted(self.bounds, places, side="right") - 1
        for number in np.unique(arrays):
            here = arrays == number
            ids[here] = self.arrays[number][places[here] - self.bounds[number]]
        return ids


def tokenizer_fingerprint(tokenizer: Tokenizer) -> str:
    """SHA-256 of the files that a tokenizer saves."""
    found = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(folder)
        for path in sorted(Path(folder).iterdir()):
            found.update(f"{path.name}\n".encode() + path.read_bytes())
    return found.hexdigest()


@dataclass(frozen=True)
class _Shard:
    name: str
    tokens: int
    texts: int
    sha256: str


class TokenFolder:
    """A folder of tokens, opened.

    Args:
        path: the folder.

    Attributes:
        ids: all of them.
        n_vocab: how many ids the tokenizer has.
        tokenizer: the fingerprint of the tokenizer.
        fingerprint: SHA-256 of the index, which has those of the shards.

    Raises:
        FileNotFoundError: no such folder, no index in it, or a shard is missing.
        ValueError: an index that is damaged or made up, or a shard that is not what it says.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        index = self.path / TOKEN_INDEX
        if not index.is_file():
            raise FileNotFoundError(f"{path} holds no tokens: there is no {TOKEN_INDEX} in it; make them with tinygpt "
                                    "data, or let it finish with --resume")
        data = read_bounded(index, MOST_BYTES, "an index of tokens")
        self.fingerprint = hashlib.sha256(data).hexdigest()
        self.index = parse_object(data, str(index))
        try:
            shards = self._check()
        except ValueError as error:
            raise ValueError(f"{index} is no index of tokens ({error}); make the folder again with tinygpt data") \
                from None
        dtype, arrays = smallest_id_type(self.n_vocab), []
        for shard in shards:
            arrays.append(map_ids(self.path / shard.name, dtype))
            if len(arrays[-1]) != shard.tokens:
                raise ValueError(f"{self.path / shard.name} holds {len(arrays[-1]):,} ids, and {TOKEN_INDEX} says "
                                 f"{shard.tokens:,}; make the folder again with tinygpt data")
        self.ids = Row(arrays, self.n_vocab, str(self.path))

    def _check(self) -> list[_Shard]:
        index = self.index
        _whole(index, "format", FORMAT, FORMAT)
        self.n_vocab = _whole(index, "vocab_size", 1, 1 << 24)
        self.tokenizer = _hash(index, "tokenizer")
        tokens, texts = (_whole(index, name, 0, 1 << 50) for name in ("tokens", "texts"))
        found = index.get("shards")
        if not isinstance(found, list) or not 1 <= len(found) <= MOST_SHARDS:
            raise ValueError(f"'shards' is {shown(found)}, expected a list of 1 to {MOST_SHARDS:,}")
        shards = [_shard(one) for one in found]
        if len({shard.name for shard in shards}) < len(shards):
            raise ValueError("it names a shard twice")
        for name, total in ("tokens", tokens), ("texts", texts):
            if (have := sum(getattr(shard, name) for shard in shards)) != total:
                raise ValueError(f"it has {total:,} {name}, and its shards {have:,}")
        return shards


def _shard(value: Any) -> _Shard:
    if not isinstance(value, dict):
        raise ValueError(f"a shard is {shown(value)}, expected an object")
    name = value.get("name")
    if not isinstance(name, str) or not _SHARD.fullmatch(name):
        raise ValueError(f"a shard is called {shown(name)}, expected a name such as 00000.npy")
    return _Shard(name, _whole(value, "tokens", 1, 1 << 50), _whole(value, "texts", 1, 1 << 50),
                  _hash(value, "sha256"))


def _whole(value: Mapping[str, Any], name: str, least: int, most: int) -> int:
    found = value.get(name)
    if type(found) is not int or not least <= found <= most:
        raise ValueError(f"{name!r} is {shown(found)}, expected an integer from {least:,} to {most:,}")
    return found


def _hash(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str) or not _HASH.fullmatch(found):
        raise ValueError(f"{name!r} is {shown(found)}, expected a SHA-256 of 64 digits")
    return found
