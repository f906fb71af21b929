"""Batches of unequal sequences: nothing lost, and filling that counts for nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data import IGNORE, SequenceSampler, all_sequences, next_token_batch, pad

sequences = st.lists(st.lists(st.integers(0, 50), min_size=2, max_size=9), min_size=1, max_size=12)


@given(sequences=sequences, pad_id=st.integers(0, 50))
def test_next_token_batch(sequences: list[list[int]], pad_id: int) -> None:
    batch = next_token_batch(sequences, pad_id)
    width = max(map(len, sequences)) - 1
    assert {key: (array.shape, array.dtype) for key, array in batch.items()} == {
        key: ((len(sequences), width), np.dtype(np.int64)) for key in ("ids", "targets", "attention_mask")}
    for row, sequence in enumerate(sequences):
        n = len(sequence) - 1
        assert batch["ids"][row].tolist() == sequence[:-1] + [pad_id] * (width - n)
        assert batch["targets"][row].tolist() == sequence[1:] + [IGNORE] * (width - n)
        assert batch["attention_mask"][row].tolist() == [1] * n + [0] * (width - n)


@given(sequences=sequences, batch_size=st.integers(1, 5), seed=st.integers(0, 99))
def test_an_epoch_is_every_sequence_and_a_step_is_pure(sequences: list[list[int]], batch_size: int, seed: int) -> None:
    sampler = SequenceSampler(sequences, batch_size, seed, pad_id=3)
    steps = -(-len(sequences) // batch_size)
    seen = []
    for step in range(steps):
        batch = sampler.batch(step)
        again = SequenceSampler(sequences, batch_size, seed, pad_id=3).batch(step)
        assert all((again[key] == batch[key]).all() for key in batch)
        for ids, targets, mask in zip(batch["ids"], batch["targets"], batch["attention_mask"]):
            seen.append([int(ids[0]), *targets[mask == 1].tolist()])
    assert sorted(seen) == sorted(sequences)


def test_all_sequences_in_order() -> None:
    batches = list(all_sequences([[1, 2], [3, 4, 5], [6, 7]], batch_size=2))
    assert [batch["ids"].tolist() for batch in batches] == [[[1, 0], [3, 4]], [[6]]]
    assert [batch["targets"].tolist() for batch in batches] == [[[2, IGNORE], [4, 5]], [[7]]]


def test_pad_of_nothing() -> None:
    assert pad([], 0).shape == (0, 0) and pad([[], [1]], 9).tolist() == [[9], [1]]


@pytest.mark.parametrize(("call", "message"), [
    (lambda: next_token_batch([[1, 2], [3]]), "every sequence needs at least 2 ids .* got one of 1"),
    (lambda: next_token_batch([]), "at least 2 ids"),
    (lambda: SequenceSampler([], 2), "at least one example"),
    (lambda: list(all_sequences([[1, 2]], 0)), "batch_size must be at least 1, got 0"),
])
def test_errors(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
