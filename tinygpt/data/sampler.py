"""Batches beyond random windows: every window of a text, to validate on; and every example once an epoch.

As in windows.py, a batch is a pure function of (seed, step), so a resumed run needs no state but the step. Examples of
unequal length share a batch that is as wide as its longest: the others are filled up at the end.

Shapes: B batch, T time. -100 marks a target that does not count.

Prerequisites: windows.py. Next: padding.py (sequences to be predicted).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .windows import require_block, step_generator

__all__ = ["EpochSampler", "IGNORE", "LabelledSampler", "all_windows", "pad"]

IGNORE = -100  # a target that the loss leaves out


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


class EpochSampler:
    """Which examples belong to a step when each epoch visits every example once, in an order of its own.

    Args:
        n_examples: how many there are; example numbers are 0 … n_examples - 1.
        batch_size: examples a step; the last step of an epoch takes what is left.
        seed: not negative.
    """

    def __init__(self, n_examples: int, batch_size: int, seed: int = 0) -> None:
        if n_examples < 1 or batch_size < 1:
            raise ValueError(f"need at least one example and a batch_size of at least 1, got {n_examples} examples, "
                             f"batch_size {batch_size}")
        self.n_examples, self.batch_size, self.seed = n_examples, batch_size, seed
        self._last = (-1, np.empty(0, np.int64))  # (epoch, its order): every step of an epoch shares it

    @property
    def steps_per_epoch(self) -> int:
        """Steps that visit every example once."""
        return -(-self.n_examples // self.batch_size)

    def indices(self, step: int) -> np.ndarray:
        """The numbers of the examples of one step: (B,), a pure function of (seed, step)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        last_epoch, order = self._last
        if epoch != last_epoch:
            order = step_generator(self.seed, epoch).permutation(self.n_examples)
            self._last = epoch, order
        return order[place * self.batch_size:(place + 1) * self.batch_size]


def pad(sequences: Sequence[Sequence[int] | np.ndarray], value: int) -> np.ndarray:
    """`sequences` as the rows of one array, (B, T) int64, filled up with `value` at the end.

    >>> pad([[1, 2, 3], [4]], value=0).tolist()
    [[1, 2, 3], [4, 0, 0]]
    """
    padded = np.full((len(sequences), max(map(len, sequences), default=0)), value, np.int64)
    for row, sequence in zip(padded, sequences):
        row[:len(sequence)] = sequence
    return padded  # (B, T)


class LabelledSampler:
    """Batches of labelled texts, each once an epoch in a shuffled order; `batch(step)` is pure in (seed, step).

    Args:
        examples: ids (T,) and label (1,) of each text.
        batch_size: B; the last batch of an epoch may be smaller.
        seed: not negative.
        pad_id: fills up ids.
    """

    def __init__(self, examples: Sequence[tuple[np.ndarray, np.ndarray]], batch_size: int, seed: int = 0,
                 pad_id: int = 0) -> None:
        self.order = EpochSampler(len(examples), batch_size, seed)
        self.examples, self.batch_size, self.pad_id = examples, batch_size, pad_id

    @property
    def steps_per_epoch(self) -> int:
        """Steps that visit every text once."""
        return self.order.steps_per_epoch

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """{"ids": (B, T), "attention_mask": (B, T), "targets": (B,)} int64."""
        ids, labels = zip(*(self.examples[index] for index in self.order.indices(step)))
        return {"ids": pad(ids, self.pad_id), "attention_mask": pad([np.ones_like(row) for row in ids], 0),
                "targets": np.concatenate(labels).astype(np.int64)}
