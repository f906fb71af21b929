"""Batches beyond random windows: every window of a text, to validate on; and every example once an epoch.

As in windows.py, a batch is a pure function of (seed, step), so a resumed run needs no state but the step. Examples of
unequal length share a batch that is as wide as its longest: the others are filled up at the end. Batches drawn at
random are half filling, so examples of similar length share one.

Shapes: B batch, T time. -100 marks a target that does not count.

Prerequisites: windows.py. Next: padding.py (sequences to be predicted).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .windows import require_block, step_generator

__all__ = ["EpochSampler", "IGNORE", "LabelledSampler", "SimilarLengthSampler", "all_windows", "pad"]

IGNORE = -100  # a target that the loss leaves out
POOL = 50  # batches whose examples are sorted by length together


def all_windows(tokens: np.ndarray, block_size: int, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Every window once, side by side: each token but the first is the target of exactly one position.

    A loss summed over these batches and divided by N - 1 is the exact loss of the text, without sampling noise.

    Args:
        tokens: (N,) ids, N >= 2.
        block_size: T. The last window is filled up with id 0 and targets -100.
        batch_size: B; the last batch may have fewer rows.

    Yields:
        {"ids": (B, T) int64, "targets": (B, T) int64}.
    """
    enough = min(block_size, 1)  # one target will do: the last window is filled up
    require_block(len(tokens), enough, "the validation text", batch_size)
    span = batch_size * block_size  # targets in a full batch
    for start in range(0, len(tokens) - 1, span):
        piece = np.asarray(tokens[start:start + span + 1], dtype=np.int64)
        n_rows = -(-(len(piece) - 1) // block_size)
        ids = np.zeros(n_rows * block_size, np.int64)
        targets = np.full(n_rows * block_size, IGNORE, np.int64)
        ids[:len(piece) - 1] = piece[:-1]
        targets[:len(piece) - 1] = piece[1:]
        yield {"ids": ids.reshape(n_rows, block_size), "targets": targets.reshape(n_rows, block_size)}  # (B, T) each


class EpochSampler(ABC):
    """Batches of examples, each once an epoch in a shuffled order; `batch(step)` is a pure function of (seed, step).

    A kind of example is a subclass, which says what a batch of them is.

    Args:
        examples: at least one.
        batch_size: B; the last batch of an epoch may be smaller.
        seed: not negative.
        pad_id: fills up ids.
    """

    def __init__(self, examples: Sequence[Any], batch_size: int, seed: int = 0, pad_id: int = 0) -> None:
        if not len(examples) or batch_size < 1:
            raise ValueError(f"need at least one example and a batch_size of at least 1, got {len(examples)} examples, "
                             f"batch_size {batch_size}")
        self.examples, self.batch_size, self.seed, self.pad_id = examples, batch_size, seed, pad_id
        self._last: tuple[int, list[list[int]]] = (-1, [])  # (epoch, its batches): every step of an epoch shares them

    @abstractmethod
    def batch_of(self, examples: list[Any]) -> dict[str, np.ndarray]:
        """The arrays of some examples."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps that visit every example once."""
        return -(-len(self.examples) // self.batch_size)

    def order(self, rng: np.random.Generator) -> list[list[int]]:
        """The numbers of the examples of each batch of an epoch, drawn from `rng`."""
        order = rng.permutation(len(self.examples)).tolist()
        return [order[start:start + self.batch_size] for start in range(0, len(order), self.batch_size)]

    def indices(self, step: int) -> list[int]:
        """The numbers of the examples of one step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        last_epoch, batches = self._last
        if epoch != last_epoch:
            batches = self.order(step_generator(self.seed, epoch))
            self._last = epoch, batches
        return batches[place]

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """The batch of one step."""
        return self.batch_of([self.examples[index] for index in self.indices(step)])


def pad(sequences: Sequence[Sequence[int] | np.ndarray], value: int) -> np.ndarray:
    """`sequences` as the rows of one array, (B, T) int64, filled up with `value` at the end.

    >>> pad([[1, 2, 3], [4]], value=0).tolist()
    [[1, 2, 3], [4, 0, 0]]
    """
    padded = np.full((len(sequences), max(map(len, sequences), default=0)), value, np.int64)
    for row, sequence in zip(padded, sequences):
        row[:len(sequence)] = sequence
    return padded  # (B, T)


class SimilarLengthSampler(EpochSampler):
    """Batches of examples of similar length.

    An epoch is a random order of the examples, cut into pools of POOL batches. Each pool is sorted by length and cut
    into batches, and the batches of the epoch are shuffled.
    """

    @abstractmethod
    def by_length(self, pool: list[int]) -> list[int]:
        """The numbers of a pool's examples, the short ones first; equals stay in the order given, which is random."""

    def order(self, rng: np.random.Generator) -> list[list[int]]:
        """The numbers of the examples of each batch of an epoch."""
        shuffled, n = rng.permutation(len(self.examples)).tolist(), self.batch_size
        ordered = [index for start in range(0, len(shuffled), POOL * n)
                   for index in self.by_length(shuffled[start:start + POOL * n])]
        batches = [ordered[start:start + n] for start in range(0, len(ordered), n)]
        return [batches[place] for place in rng.permutation(len(batches))]


class LabelledSampler(SimilarLengthSampler):
    """Batches of labelled texts; the examples are ids (T,) and label (1,) of each text.

    Where one class writes longer texts than another, as spam does, texts of one length would be a batch of one class.
    So each class is sorted by itself, and a batch takes the same stretch of each: the shortest tenth, say. Classes of
    less than a batch in a pool are sorted together.
    """

    def by_length(self, pool: list[int]) -> list[int]:
        """Sorted by the share of the class's texts that are shorter."""
        labels = np.array([int(self.examples[index][1][0]) for index in pool])
        lengths = np.array([len(self.examples[index][0]) for index in pool])
        names, sizes = np.unique(labels, return_counts=True)
        labels[np.isin(labels, names[sizes < self.batch_size])] = -1
        share = np.empty(len(pool))
        for label in np.unique(labels):
            places = np.flatnonzero(labels == label)
            share[places[np.argsort(lengths[places], kind="stable")]] = (np.arange(len(places)) + 0.5) / len(places)
        return [pool[place] for place in np.argsort(share, kind="stable").tolist()]

    def batch_of(self, examples: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
        """{"ids": (B, T), "attention_mask": (B, T), "targets": (B,)} int64."""
        ids, labels = zip(*examples)
        return {"ids": pad(ids, self.pad_id), "attention_mask": pad([np.ones_like(row) for row in ids], 0),
                "targets": np.concatenate(labels).astype(np.int64)}
