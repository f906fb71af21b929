"""Samplers: pure in (seed, step), in bounds, targets the ids shifted by one, validation without noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data import IGNORE, EpochSampler, LabelledSampler, WindowSampler, all_windows, step_generator

sizes = st.integers(1, 9)


@given(n_tokens=st.integers(2, 80), block_size=sizes, batch_size=sizes, seed=st.integers(0, 2**40),
       step=st.integers(0, 2**40))
def test_windows(n_tokens: int, block_size: int, batch_size: int, seed: int, step: int) -> None:
    block_size = min(block_size, n_tokens - 1)
    tokens = np.arange(n_tokens, dtype=np.uint8)
    sampler = WindowSampler(tokens, block_size, batch_size, seed)
    batch = sampler.batch(step)
    ids, targets = batch["ids"], batch["targets"]
    assert ids.shape == targets.shape == (batch_size, block_size)
    assert ids.dtype == targets.dtype == np.int64
    assert (ids == ids[:, :1] + np.arange(block_size)).all()  # windows, not scattered tokens
    assert (targets == ids + 1).all() and ids.min() >= 0 and targets.max() < n_tokens
    sampler.batch(step + 1)  # what else was drawn changes nothing
    again = WindowSampler(tokens, block_size, batch_size, seed).batch(step)
    assert (again["ids"] == ids).all()


def test_every_start_is_drawn_equally_often() -> None:
    tokens = np.arange(12)
    starts = np.concatenate([WindowSampler(tokens, 4, 8, seed=3).batch(step)["ids"][:, 0] for step in range(1000)])
    counts = np.bincount(starts, minlength=8)
    assert len(counts) == 8  # 0 … N - T - 1: the last target is the last token
    assert abs(counts - 1000).max() < 150  # five standard deviations


def test_seeds_and_steps_differ() -> None:
    tokens = np.arange(10_000)
    batches = {tuple(WindowSampler(tokens, 1, 4, seed).batch(step)["ids"][:, 0])
               for seed in range(20) for step in range(20)}
    assert len(batches) == 400


@given(n_tokens=st.integers(2, 120), block_size=sizes, batch_size=sizes)
def test_all_windows_predict_each_token_but_the_first_once(n_tokens: int, block_size: int, batch_size: int) -> None:
    tokens = (np.arange(n_tokens) * 7 % 251).astype(np.uint8)
    batches = list(all_windows(tokens, block_size, batch_size))
    targets = np.concatenate([batch["targets"].ravel() for batch in batches])
    ids = np.concatenate([batch["ids"].ravel() for batch in batches])
    assert targets.dtype == ids.dtype == np.int64
    counted = targets != IGNORE
    assert (targets[counted] == tokens[1:]).all() and (ids[counted] == tokens[:-1]).all()
    assert counted.sum() == n_tokens - 1 and counted[:n_tokens - 1].all()
    assert all(batch["ids"].shape == batch["targets"].shape for batch in batches)
    assert all(len(batch["ids"]) == batch_size for batch in batches[:-1])
    assert all(batch["ids"].shape[1] == block_size for batch in batches)


class Numbers(EpochSampler):
    """Examples that are numbers."""

    def batch_of(self, examples: list[int]) -> dict[str, np.ndarray]:
        return {"ids": np.array(examples)}


@given(n_examples=st.integers(1, 50), batch_size=sizes, seed=st.integers(0, 99), epoch=st.integers(0, 5))
def test_an_epoch_visits_every_example_once(n_examples: int, batch_size: int, seed: int, epoch: int) -> None:
    sampler = Numbers(range(n_examples), batch_size, seed)
    steps = range(epoch * sampler.steps_per_epoch, (epoch + 1) * sampler.steps_per_epoch)
    visited = [sampler.indices(step) for step in steps]
    assert sorted(np.concatenate(visited)) == list(range(n_examples))
    for step in reversed(steps):  # in any order, from any instance
        assert Numbers(range(n_examples), batch_size, seed).indices(step) == visited[step - steps[0]]


def test_epochs_have_orders_of_their_own() -> None:
    sampler = Numbers(range(100), 100, seed=1)
    assert sampler.indices(0) != sampler.indices(1)


def test_labelled_texts_are_filled_up_and_keep_their_labels() -> None:
    examples = [(np.arange(n, dtype=np.uint8) + 1, np.array([n % 3], np.uint8)) for n in (4, 1, 3, 2, 5)]
    sampler = LabelledSampler(examples, 2, seed=5, pad_id=9)
    assert sampler.steps_per_epoch == 3
    seen = []
    for batch in map(sampler.batch, range(3)):
        assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}
        lengths = batch["attention_mask"].sum(axis=1)
        width = lengths.max()
        assert (batch["attention_mask"] == (np.arange(width) < lengths[:, None])).all()
        assert (batch["ids"] == np.where(np.arange(width) < lengths[:, None], np.arange(width) + 1, 9)).all()
        assert (batch["targets"] == lengths % 3).all()
        seen += lengths.tolist()
    assert sorted(seen) == [1, 2, 3, 4, 5]


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=80), n_labels=st.integers(1, 5), batch_size=sizes,
       seed=st.integers(0, 1000), epoch=st.integers(0, 3))
def test_batches_of_labelled_texts_have_every_text_once_an_epoch(lengths, n_labels, batch_size, seed, epoch) -> None:
    examples = [(np.arange(n), np.array([n % n_labels])) for n in lengths]
    sampler = LabelledSampler(examples, batch_size, seed)
    steps = range(epoch * sampler.steps_per_epoch, (epoch + 1) * sampler.steps_per_epoch)
    assert sorted(index for step in steps for index in sampler.indices(step)) == list(range(len(lengths)))


def test_labelled_texts_of_similar_length_share_a_batch_and_every_class_is_in_it() -> None:
    """Spam is long, ham is short: batches of one length would be batches of one class."""
    rng = np.random.default_rng(0)
    examples = [(np.zeros(n, int), np.array([label])) for label, low in ((0, 5), (1, 40))
                for n in rng.integers(low, low + 40, size=400)]
    sampler = LabelledSampler(examples, 16, seed=1)
    filled = classes = 0.0
    for step in range(sampler.steps_per_epoch):
        batch = sampler.batch(step)
        filled += batch["attention_mask"].sum() / sampler.steps_per_epoch / batch["ids"].size
        classes += np.mean(batch["targets"]) / sampler.steps_per_epoch
        assert 7 <= batch["targets"].sum() <= 9
    shuffled = np.mean([np.mean(ns) / max(ns) for ns in np.array_split(
        rng.permutation([len(ids) for ids, _ in examples]), 50)])
    assert classes == pytest.approx(0.5) and filled > shuffled + 0.1
    assert sampler.indices(0) != LabelledSampler(examples, 16, seed=2).indices(0)


def test_small_classes_are_sorted_together() -> None:
    examples = [(np.zeros(n, int), np.array([n % 50])) for n in range(1, 101)]
    widths = [LabelledSampler(examples, 10).batch(step)["attention_mask"].sum(axis=1) for step in range(10)]
    assert all(ns.max() - ns.min() == 9 for ns in widths)


def test_pinned_draws() -> None:
    """Resuming years later, on another machine, must draw the same: these numbers never change."""
    assert step_generator(1337, 7).integers(1_000_000, size=4).tolist() == [575109, 104615, 406603, 727193]
    windows = WindowSampler(np.arange(1000), 2, 3, seed=7)
    assert windows.batch(11)["ids"].tolist() == [[799, 800], [666, 667], [206, 207]]


@pytest.mark.parametrize(("call", "message"), [
    (lambda: WindowSampler(np.arange(8), 8, 2), "the training text has 8 tokens, but block_size 8 needs at least 9"),
    (lambda: WindowSampler(np.arange(8), 0, 2), "block_size and batch_size must be at least 1, got 0 and 2"),
    (lambda: WindowSampler(np.arange(8), 2, 0), "block_size and batch_size must be at least 1, got 2 and 0"),
    (lambda: WindowSampler(np.arange(8), 2, 2, seed=-1).batch(0), "must not be negative, got seed -1, step 0"),
    (lambda: WindowSampler(np.arange(8), 2, 2).batch(-1), "must not be negative, got seed 0, step -1"),
    (lambda: list(all_windows(np.arange(1), 4, 2)), "the validation text has 1 tokens"),
    (lambda: Numbers([], 2), "at least one example"),
])
def test_errors(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
