"""Masked batches: how many tokens are hidden, what replaces them, and that it depends on (seed, step) alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data import IGNORE, step_generator
from tinygpt.data.masking import MaskedSampler, Masking, all_masked_windows

SPECIAL = (0, 1, 2, 3, 4)
PAD, MASK = 1, 4
MASKING = Masking(n_vocab=60, mask_id=MASK, pad_id=PAD, special_ids=SPECIAL, prefix_ids=(0,), suffix_ids=(2,))


@given(rows=st.integers(1, 6), width=st.integers(1, 40), seed=st.integers(0, 2**40), share=st.floats(0.01, 1.0),
       part_special=st.floats(0, 0.9))
def test_hide(rows: int, width: int, seed: int, share: float, part_special: float) -> None:
    rng = np.random.default_rng(seed)
    ids = np.where(rng.random((rows, width)) < part_special, rng.choice(SPECIAL, (rows, width)),
                   rng.integers(5, 60, (rows, width)))
    before = ids.copy()
    masking = replace(MASKING, share=share)
    shown, targets = masking.hide(ids, step_generator(seed, 0))
    assert (ids == before).all() and shown.shape == targets.shape == ids.shape
    chosen = targets != IGNORE
    ordinary = ~np.isin(ids, SPECIAL)
    n = int(ordinary.sum())
    assert chosen.sum() == (max(1, round(share * n)) if n else 0)
    assert (targets[chosen] == ids[chosen]).all() and ordinary[chosen].all()
    assert (shown[~chosen] == ids[~chosen]).all()
    masked = shown[chosen] == MASK
    assert masked.sum() == round(0.8 * chosen.sum())
    assert not np.isin(shown[chosen][~masked], SPECIAL).any()


def test_eighty_ten_ten() -> None:
    ids = np.full((50, 400), 7)
    shown, targets = MASKING.hide(ids, step_generator(0, 0))
    chosen = targets != IGNORE
    assert chosen.sum() == 3000 == round(0.15 * ids.size)
    assert (shown[chosen] == MASK).sum() == 2400
    others = shown[chosen][(shown[chosen] != MASK) & (shown[chosen] != 7)]
    assert 280 <= len(others) <= 300 and set(others) <= set(range(5, 60)) - {7}  # a random token may be the same one
    assert len(set(others)) > 45
    by_row = chosen.sum(axis=1)
    assert by_row.min() > 30 and by_row.max() < 95  # spread over the batch: 60 a row, deviation 7


@given(n_tokens=st.integers(1, 200), block_size=st.integers(3, 20), batch_size=st.integers(1, 5),
       seed=st.integers(0, 2**40), step=st.integers(0, 2**40))
def test_sampler(n_tokens: int, block_size: int, batch_size: int, seed: int, step: int) -> None:
    tokens = np.random.default_rng(0).integers(5, 60, n_tokens).astype(np.uint8)
    block_size = min(block_size, n_tokens + 2)
    sampler = MaskedSampler(tokens, block_size, batch_size, MASKING, seed)
    batch = sampler.batch(step)
    ids, targets = batch["ids"], batch["targets"]
    assert ids.shape == targets.shape == (batch_size, block_size) and ids.dtype == targets.dtype == np.int64
    assert (ids[:, 0] == 0).all() and (ids[:, -1] == 2).all()
    original = np.where(targets == IGNORE, ids, targets)[:, 1:-1]
    windows = np.lib.stride_tricks.sliding_window_view(tokens, block_size - 2)
    assert all((windows == row).all(axis=1).any() for row in original)
    sampler.batch(step + 1)
    again = MaskedSampler(tokens, block_size, batch_size, MASKING, seed).batch(step)
    assert (again["ids"] == ids).all() and (again["targets"] == targets).all()


def test_every_start_and_every_step_differ() -> None:
    sampler = MaskedSampler(np.arange(5, 17), 6, 8, replace(MASKING, masked=0.0, random=0.0), seed=3)
    starts = np.concatenate([sampler.batch(step)["ids"][:, 1] for step in range(900)])
    counts = np.bincount(starts - 5)
    assert len(counts) == 9 and abs(counts - 800).max() < 150  # the last window ends with the text


@given(n_tokens=st.integers(1, 100), block_size=st.integers(3, 12), batch_size=st.integers(1, 5))
def test_all_windows_show_each_token_once(n_tokens: int, block_size: int, batch_size: int) -> None:
    tokens = np.random.default_rng(0).integers(5, 60, n_tokens).astype(np.uint16)
    batches = list(all_masked_windows(tokens, block_size, batch_size, MASKING))
    again = list(all_masked_windows(tokens, block_size, batch_size, MASKING))
    seen = []
    for batch, same in zip(batches, again, strict=True):
        assert all((batch[name] == same[name]).all() for name in batch)
        ids, targets, mask = batch["ids"], batch["targets"], batch["attention_mask"]
        assert ids.shape == targets.shape == mask.shape and ids.shape[1] == block_size
        assert (ids[mask == 0] == PAD).all() and (targets[mask == 0] == IGNORE).all()
        original = np.where(targets == IGNORE, ids, targets)
        for row, counts in zip(original, mask):
            real = row[counts == 1]
            assert real[0] == 0 and real[-1] == 2 and (np.diff(counts) <= 0).all()
            seen += real[1:-1].tolist()
    assert seen == tokens.tolist()


@pytest.mark.parametrize("call, about", [
    (lambda: MaskedSampler(np.arange(5, 12), 10, 2, MASKING), r"has 7 tokens, but block_size 10 needs at least 8"),
    (lambda: MaskedSampler(np.arange(5, 12), 2, 2, MASKING), r"block_size 2 leaves no room for text beside the 2"),
    (lambda: replace(MASKING, share=0.0), r"share 0\.0"),
    (lambda: replace(MASKING, masked=0.8, random=0.3), r"sum to at most 1"),
])
def test_errors(call, about: str) -> None:
    with pytest.raises(ValueError, match=about):
        call()
