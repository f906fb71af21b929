"""Likelihoods of tokens and of continuations, alone and after a beginning that several share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.backend import manual_seed
from tinygpt.data import IGNORE
from tinygpt.evaluation import likelihood, predict_text, score_continuations, text_loss
from tinygpt.models import GPT, GPTConfig, RecurrentConfig, RecurrentLM
from tinygpt.training import language_loss


def tiny(vocab_size=11, block_size=8, **options) -> GPT:
    manual_seed(0)
    return GPT(GPTConfig(vocab_size=vocab_size, block_size=block_size, n_layer=1, n_head=2, n_embd=8,
                         initializer_range=0.5, **options)).eval()


def nats_of(model: GPT, ids, targets) -> list[float]:
    """−log p of each target by the definition, in double precision."""
    logits = model(np.array([ids])).data[0].astype(np.float64)
    return [float(np.log(np.exp(row).sum()) - row[t]) for row, t in zip(logits, targets) if t != IGNORE]


# -- single targets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1 << 24, 25, 1])
def test_targets_in_any_number_of_pieces(monkeypatch, at_once):
    monkeypatch.setattr(likelihood, "LOGITS", at_once)
    model, rng = tiny(), np.random.default_rng(0)
    ids, targets = rng.integers(11, size=(2, 3, 8))
    targets[0, 2:5] = targets[2, 7] = IGNORE
    nats, first = likelihood.predict_targets(model, ids, targets)
    expected = [n for row, wanted in zip(ids, targets) for n in nats_of(model, row, wanted)]
    assert nats == pytest.approx(expected, rel=1e-5)
    best = model(ids).data.argmax(axis=-1)
    assert first.tolist() == (best == targets)[targets != IGNORE].tolist()


def test_next_tokens_cost_what_the_loss_says():
    model, tokens = tiny(dropout=0.5).train(), np.random.default_rng(1).integers(11, size=50).astype(np.uint8)
    lengths = np.arange(11)
    found, loss = predict_text(model, tokens, lengths=lengths, batch_size=3), text_loss(
        model, tokens, 8, loss=language_loss, lengths=lengths)
    assert found.nats == pytest.approx(loss.nats, rel=1e-5) and model.training
    assert (found.n_tokens, found.n_bytes) == (loss.n_tokens, loss.n_bytes) == (49, tokens[1:].sum())
    model.eval()
    best = [model(tokens[None, start:min(start + 8, 49)]).data[0].argmax(axis=1) for start in range(0, 49, 8)]
    right = int((np.concatenate(best) == tokens[1:]).sum())
    assert found.n_right == right and found.accuracy == right / 49
    assert found.to_dict()["bits_per_byte"] == found.bits_per_byte
    assert predict_text(model, tokens).to_dict()["bits_per_byte"] is None


# -- continuations ----------------------------------------------------------------------------------------------------

IDS = st.lists(st.integers(0, 10), min_size=1, max_size=7)


def expected_of(model, pairs) -> tuple[list[float], list[bool]]:
    """Costs by the definition, and whether each token was the first choice."""
    costs = [sum(nats_of(model, [*context, *ending][:-1], [IGNORE] * (len(context) - 1) + ending))
             for context, ending in pairs]
    firsts = []
    for context, ending in pairs:
        best = model(np.array([[*context, *ending][:-1]])).data[0].argmax(axis=-1)
        firsts.append(bool((best[len(context) - 1:] == ending).all()))
    return costs, firsts


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=6), st.integers(1, 4))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_continuations_cost_the_sum_of_their_tokens(pairs, batch_size):
    model = tiny(block_size=16)
    nats, first = score_continuations(model, pairs, batch_size=batch_size)
    costs, firsts = expected_of(model, pairs)
    assert nats == pytest.approx(costs, rel=1e-4) and first.tolist() == firsts


LAYOUTS = {"gpt2": {}, "llama": {"architecture": "llama", "n_kv_head": 1}, "window": {
    "architecture": "mistral", "window": 3}}


@pytest.mark.parametrize("layout", LAYOUTS)
@given(st.lists(st.tuples(st.lists(st.integers(0, 10), min_size=1, max_size=14), st.lists(IDS, min_size=1, max_size=4)),
                min_size=1, max_size=4), st.integers(1, 9))
@settings(deadline=None, derandomize=True, max_examples=25)
def test_what_continuations_share_is_read_once_and_changes_nothing(layout, questions, batch_size):
    """In a context of 12 tokens, which some of them do not fit."""
    model = tiny(block_size=12, **LAYOUTS[layout])
    pairs = [(context, ending) for context, endings in questions for ending in endings]
    nats, first = score_continuations(model, pairs, [len(endings) for _, endings in questions], batch_size)
    costs, firsts = score_continuations(model, pairs)
    assert nats == pytest.approx(costs, rel=1e-4) and first.tolist() == firsts.tolist()


def test_a_recurrent_model_goes_on_from_copies_of_its_state():
    manual_seed(2)
    model = RecurrentLM(RecurrentConfig(vocab_size=11, n_embd=8)).eval()
    pairs = [([1, 2, 3, 4], [5, 6]), ([1, 2, 3, 4], [7]), ([9, 8], [5, 5, 1]), ([9, 8], [4, 4])]
    nats, first = score_continuations(model, pairs, [2, 2])
    alone, firsts = score_continuations(model, pairs)
    assert nats == pytest.approx(alone, rel=1e-4) and first.tolist() == firsts.tolist()


def test_what_continuations_share_is_read_once(monkeypatch):
    model, rng, read = tiny(block_size=64), np.random.default_rng(3), []
    features = type(model).features
    monkeypatch.setattr(type(model), "features", lambda self, ids, *rest: (
        read.append(np.size(ids)), features(self, ids, *rest))[1])
    context = rng.integers(11, size=40).tolist()
    pairs = [(context, rng.integers(11, size=6).tolist()) for _ in range(4)]
    score_continuations(model, pairs, [4])
    shared, read[:] = sum(read), []
    score_continuations(model, pairs)
    assert sum(read) == 4 * 45 and shared <= 40 + 4 * 6


def test_sentences_that_begin_alike_count_what_they_share():
    """A beginning that is itself to be predicted is read once, and counts for each."""
    model = tiny(block_size=16)
    pairs = [([1], [2, 3, 4, 5]), ([1], [2, 3, 6]), ([1], [2, 3, 4, 5, 7, 8])]
    nats, first = score_continuations(model, pairs, [3])
    costs, firsts = expected_of(model, pairs)
    assert nats == pytest.approx(costs, rel=1e-4) and first.tolist() == firsts
    with pytest.raises(ValueError, match="the sizes sum to 2, and there are 3 pairs"):
        score_continuations(model, pairs, [2])


def test_a_long_context_loses_its_beginning_and_a_long_continuation_comes_in_pieces():
    model, rng = tiny(block_size=8), np.random.default_rng(2)
    context, ending = rng.integers(11, size=20).tolist(), rng.integers(11, size=3).tolist()
    seen = [*context, *ending][-9:]
    expected = sum(nats_of(model, seen[:-1], [IGNORE] * 5 + ending))
    assert score_continuations(model, [(context, ending)])[0] == pytest.approx([expected], rel=1e-4)

    ending = rng.integers(11, size=10).tolist()
    ids, total = [*context, *ending], 0.0
    for start in (0, 4, 8):  # by fours, half of the context
        n = min(4, 10 - start)
        window = ids[20 + start + n - 9:20 + start + n]
        total += sum(nats_of(model, window[:-1], [IGNORE] * (8 - n) + window[-n:]))
    assert score_continuations(model, [(context, ending)])[0] == pytest.approx([total], rel=1e-4)
    for bad in (([], [1]), ([1], [])):
        with pytest.raises(ValueError, match="at least one token each"):
            score_continuations(model, [bad])
