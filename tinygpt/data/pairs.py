"""Sentence pairs: a source and its target, from a table to padded batches.

Three things are easy to get wrong. A sentence has several translations, so held-out pairs are chosen by source: no
source stands on both sides. Batches of sentences as they come are half filling, so pairs of similar length share one;
which they are is still shuffled anew in every epoch, and a pure function of (seed, step). And a pair that is too long
must not go silently: a warning counts those left out.

On disk a list of pairs is one array of ids like any text, each sequence closed by the end-of-text id:

    source </s> target </s> source </s> target </s> …

Shapes: B batch, S source time, T target time.

Prerequisites: records.py, tokens.py, padding.py. Next: training/objectives/seq2seq.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .padding import pad
from .records import located_records
from .sampler import IGNORE, SimilarLengthSampler
from .sources import find_table
from .split import split_by

__all__ = ["IdPair", "Pair", "PairSampler", "all_pairs", "fitting_pairs", "pair_batch", "pairs_from_ids", "read_pairs",
           "split_pairs"]

Pair = tuple[str, str]
IdPair = tuple[np.ndarray, np.ndarray]


# ---------------------------------------------------------------------------------------------------------------------
# Text


def _pairs_of(path: str | Path) -> Iterator[Pair]:
    for where, record in located_records(path, header=False):
        values = list(record.values())[:2]
        if len(values) < 2 or not all(isinstance(value, str) for value in values):
            raise ValueError(f"{where}: expected two columns of text, a source and a target, got "
                             f"{str(list(record.values()))[:60]}")
        yield values[0].strip(), values[1].strip()


def read_pairs(specs: str | Path | Sequence[str | Path]) -> list[Pair]:
    """The pairs of files: the first two columns of each record, source and target, without the space around them.

    Args:
        specs: files of any format that `located_records` reads (a table's first line is a pair like the others), "-"
            for standard input, or a named corpus such as "spa-eng" or "synthetic-phrases".

    Raises:
        FileNotFoundError, IsADirectoryError: no such file or corpus, or a folder.
        ValueError: a record without two texts, or no pairs at all.

    Warns:
        UserWarning: pairs were left out because one side is empty.
    """
    specs = [specs] if isinstance(specs, (str, Path)) else specs
    found = [pair for spec in specs for pair in _pairs_of(find_table(spec))]
    pairs = [pair for pair in found if all(pair)]
    names = ", ".join(map(str, specs))
    if not pairs:
        raise ValueError(f"{names or 'the data'} holds no pairs; expected a source and a target in each line")
    if len(pairs) < len(found):
        warnings.warn(f"{names}: left out {len(found) - len(pairs):,} of {len(found):,} pairs, which have an empty "
                      "side", stacklevel=2)
    return pairs


def split_pairs(pairs: Sequence[Pair], validation: float = 0.1, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """(training pairs, held-out pairs), split by source; arguments and errors as for `split_by`."""
    return split_by(pairs, lambda pair: pair[0], validation, seed, "source")


# ---------------------------------------------------------------------------------------------------------------------
# Ids


def pairs_from_ids(ids: np.ndarray, eos_id: int) -> list[IdPair]:
    """The pairs of a token array, each side with its closing `eos_id`.

    >>> [(s.tolist(), t.tolist()) for s, t in pairs_from_ids(np.array([5, 6, 0, 7, 0]), eos_id=0)]
    [([5, 6, 0], [7, 0])]
    """
    ends = np.flatnonzero(ids == eos_id) + 1
    if len(ends) % 2 or (ends[-1] if len(ends) else 0) != len(ids):
        raise ValueError(f"these {len(ids)} ids are no list of pairs: expected each side to end with the id {eos_id}")
    sides = np.split(np.asarray(ids), ends[:-1]) if len(ends) else []
    return list(zip(sides[0::2], sides[1::2]))


def fitting_pairs(pairs: Sequence[IdPair], block_size: int, what: str = "the data") -> list[IdPair]:
    """The pairs of which neither side is longer than `block_size`.

    Raises:
        ValueError: none is.

    Warns:
        UserWarning: some are; how many.
    """
    fitting = [pair for pair in pairs if max(map(len, pair)) <= block_size]
    if not fitting:
        raise ValueError(f"{what}: none of {len(pairs):,} pairs fits block_size {block_size}; give a larger one")
    if len(fitting) < len(pairs):
        warnings.warn(f"{what}: left out {len(pairs) - len(fitting):,} of {len(pairs):,} pairs, which are longer than "
                      f"block_size {block_size}", stacklevel=2)
    return fitting


def pair_batch(pairs: Sequence[IdPair], pad_id: int) -> dict[str, np.ndarray]:
    """Pairs as a batch for an encoder-decoder: what the decoder reads is made from the targets by the model.

    Returns:
        {"ids": (B, S), "attention_mask": (B, S), "targets": (B, T)} int64; targets are -100 at filling.
    """
    sources, targets = zip(*pairs)
    return {"ids": pad(sources, pad_id), "attention_mask": pad([np.ones_like(source) for source in sources], 0),
            "targets": pad(targets, IGNORE)}


def _lengths(pair: IdPair) -> tuple[int, int]:
    return len(pair[0]), len(pair[1])


class PairSampler(SimilarLengthSampler):
    """Batches of pairs of similar length: of the sources, and where these are equal, of the targets."""

    def by_length(self, pool: list[int]) -> list[int]:
        """Sorted by source and target."""
        return sorted(pool, key=lambda index: _lengths(self.examples[index]))

    def batch_of(self, examples: list[IdPair]) -> dict[str, np.ndarray]:
        """As `pair_batch` makes it."""
        return pair_batch(examples, self.pad_id)


def all_pairs(pairs: Sequence[IdPair], batch_size: int, pad_id: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Every pair once, the short ones first, as batches of `pair_batch`: for validation."""
    ordered = sorted(pairs, key=_lengths)
    for start in range(0, len(ordered), batch_size):
        yield pair_batch(ordered[start:start + batch_size], pad_id)
