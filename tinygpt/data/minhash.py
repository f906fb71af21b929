"""Near duplicates: texts that share most of their runs of characters, found without comparing each with each.

Of all numbers that stand for a text's runs (shingles.py), shuffled in some way, take the smallest. Two texts have the
same one with just the probability of the share of their runs that they have in common. 64 shuffles make the signature
of a text, and the part in which two signatures agree estimates that share, with a deviation of 0.06 at most.

    signature    a b c d | e f g h | …      16 bands of 4
    same band in two signatures  ─>  candidates  ─>  compared in full  ─>  near duplicates, or not

Texts that share 0.8 of their runs have a band in common with probability 0.9998, those that share 0.3 with 0.12. Bands
are compared by sorting, one after another, so that memory needed is some 24 bytes a text.

Prerequisites: shingles.py, tokens.py. Next: quality.py. Sources: Broder (1997); Leskovec, Rajaraman, Ullman, "Mining of
massive datasets", chapter 3 (bands).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .shingles import scrambled, shingles
from .tokens import map_ids

__all__ = ["HASHES", "near_duplicates", "signature"]

BANDS, ROWS = 16, 4
HASHES = BANDS * ROWS
SAMPLE = np.uint64(3)  # one run of four is looked at, chosen by its number: the same ones in every text
_STEP = 1 << 12  # runs that are shuffled together: 64 x 4,096 numbers stay in the cache
_PAIRS = 1 << 14  # candidates that are compared together
_FACTORS = scrambled(np.arange(1, HASHES + 1, dtype=np.uint64)) | np.uint64(1)


def signature(text: str) -> np.ndarray:
    """The signature of a text, (HASHES,) uint32; of a text without characters, the largest number throughout."""
    smallest = np.full(HASHES, 0xFFFFFFFF, np.uint64)
    for block in shingles(text):
        chosen = block[(block & SAMPLE) == 0]
        if not len(chosen):
            chosen = block
        for start in range(0, len(chosen), _STEP):
            shuffled = chosen[start:start + _STEP] * _FACTORS[:, None]  # (HASHES, n), modulo 2^64
            np.minimum(smallest, shuffled.min(axis=1) >> np.uint64(32), out=smallest)
    return smallest.astype(np.uint32)


class _Signatures:
    """The signatures in several files, numbered through; little of them is in memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.bounds = np.cumsum([0, *(len(self._of(path)) for path in paths)])

    @staticmethod
    def _of(path: Path) -> np.ndarray:
        return map_ids(path, np.dtype(np.uint32)).reshape(-1, HASHES)

    def band(self, number: int) -> np.ndarray:
        """A number for that band of each signature, (N,) uint64."""
        keys = np.zeros(self.bounds[-1], np.uint64)
        for path, start, stop in zip(self.paths, self.bounds, self.bounds[1:]):
            rows = self._of(path)[:, number * ROWS:(number + 1) * ROWS]
            for column in rows.T:
                keys[start:stop] = scrambled(keys[start:stop] + column)
        return keys

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Those signatures, (n, HASHES)."""
        found = np.empty((len(numbers), HASHES), np.uint32)
        files = np.searchsorted(self.bounds, numbers, side="right") - 1
        for file in np.unique(files):
            here = files == file
            found[here] = self._of(self.paths[file])[numbers[here] - self.bounds[file]]
        return found


def near_duplicates(paths: Sequence[Path], similarity: float) -> np.ndarray:
    """Which texts repeat an earlier one, (N,) bool.

    Texts that are alike, or alike to a third one, make a group, and the first of each group is no repetition.

    Args:
        paths: files of signatures, HASHES uint32 for each text, in the order of the texts.
        similarity: the part of their signatures in which two texts agree at least, in (0, 1].
    """
    signatures = _Signatures(paths)
    first = np.arange(signatures.bounds[-1])  # of each text, an earlier one in its group, or itself
    for band in range(BANDS):
        keys = signatures.band(band)
        order = np.argsort(keys, kind="stable")  # equal ones in the order of the texts
        same = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        pairs = np.stack([order[same], order[same + 1]], axis=1)  # neighbours: each with the one before it
        pairs = pairs[first[pairs[:, 0]] != first[pairs[:, 1]]]
        for start in range(0, len(pairs), _PAIRS):
            some = pairs[start:start + _PAIRS]
            alike = (signatures.rows(some[:, 0]) == signatures.rows(some[:, 1])).mean(axis=1) >= similarity
            for one, other in some[alike].tolist():
                _join(first, one, other)
    return first != np.arange(len(first))


def _root(first: np.ndarray, text: int) -> int:
    while first[text] != text:
        first[text] = first[first[text]]  # halve the way for those who come later
        text = int(first[text])
    return text


def _join(first: np.ndarray, one: int, other: int) -> None:
    one, other = _root(first, one), _root(first, other)
    first[max(one, other)] = min(one, other)
