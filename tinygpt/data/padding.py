"""Sequences of unequal length in one batch: filled up at the end, and marked so that the filling counts for nothing.

A name, a sentence or a chat is one example; a batch of them is a rectangle as wide as its longest. `attention_mask`
(B, T) is 1 at tokens and 0 at filling; targets there are -100. Behind a causal mask the filling changes nothing even
without `attention_mask`, for no real token looks to its right.

Prerequisites: sampler.py. Next: texts.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .sampler import IGNORE, EpochSampler, pad

__all__ = ["SequenceSampler", "all_sequences", "next_token_batch"]


def next_token_batch(sequences: Sequence[Sequence[int]], pad_id: int = 0) -> dict[str, np.ndarray]:
    """Sequences as a batch for a causal model: every id but a sequence's first is to be predicted.

    Args:
        sequences: B sequences of at least 2 ids each, with begin and end marks where the task has them.
        pad_id: the id that fills up `ids`; any valid id does, for it counts for nothing.

    Returns:
        {"ids", "targets", "attention_mask"}, each (B, T) int64 with T the longest length less one.
    """
    shortest = min(map(len, sequences), default=0)
    if shortest < 2:
        raise ValueError(f"every sequence needs at least 2 ids (an input and its target), got one of {shortest}")
    ids = pad([sequence[:-1] for sequence in sequences], pad_id)
    targets = pad([sequence[1:] for sequence in sequences], IGNORE)
    attention_mask = pad([[1] * (len(sequence) - 1) for sequence in sequences], 0)
    return {"ids": ids, "targets": targets, "attention_mask": attention_mask}


class SequenceSampler(EpochSampler):
    """Batches of whole sequences, each of at least 2 ids."""

    def batch_of(self, examples: list[Sequence[int]]) -> dict[str, np.ndarray]:
        """As `next_token_batch` makes it."""
        return next_token_batch(examples, self.pad_id)


def all_sequences(sequences: Sequence[Sequence[int]], batch_size: int,
                  pad_id: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Every sequence once, in order, as batches of `next_token_batch`: for validation."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    for start in range(0, len(sequences), batch_size):
        yield next_token_batch(sequences[start:start + batch_size], pad_id)
