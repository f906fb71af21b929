"""Beam search against enumeration of every text, against greedy decoding, and against transformers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_decoder import Toy

from tinygpt.generation.beam import check_beams
from tinygpt.generation import Sampling, beam_hypotheses, beam_search, generate, left_pad

hypothesis = settings(deadline=None, max_examples=30, derandomize=True)


def log_softmax(x):
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


def every_text(toy: Toy, prompt: list[int], n_vocab: int, length: int, eos: int | None, penalty: float):
    """All texts that end in `eos` or at `length`, with their scores, best first."""
    found = {}
    for tokens in itertools.product(range(n_vocab), repeat=length):
        if eos in tokens:
            tokens = tokens[:tokens.index(eos) + 1]
        if tokens not in found:
            total, text = 0.0, list(prompt)
            for token in tokens:
                total += log_softmax(toy(np.array([text]))[0, -1])[token]
                text.append(token)
            found[tokens] = total / len(tokens) ** penalty
    return sorted(found.items(), key=lambda item: -item[1])


@settings(deadline=None, max_examples=15, derandomize=True)
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.7, 1.0, 2.0]), st.sampled_from([None, 1]))
def test_enough_beams_find_every_text(seed, penalty, eos):
    toy = Toy(n_vocab=3, seed=seed)
    want = every_text(toy, [2, 0], 3, 4, eos, penalty)
    (sentence,) = beam_hypotheses(toy, np.array([[2, 0]]), num_beams=len(want), max_new_tokens=4,
                                  length_penalty=penalty, make_cache=toy.cache, eos_token_id=eos)
    assert len(sentence.finished) == len(want)
    for (score, tokens), (other, other_score) in zip(sentence.finished, want):
        assert score == pytest.approx(other_score, abs=1e-9)
        assert tuple(tokens) == other


@hypothesis
@given(st.integers(0, 1000), st.sampled_from([None, 4, [4, 5]]), st.sampled_from([0.0, 1.0]))
def test_one_beam_is_greedy(seed, eos, penalty):
    toy = Toy(seed=seed)
    ids = np.array([[1, 2], [3, 4], [5, 6]])
    greedy = generate(toy, ids, max_new_tokens=8, sampling=Sampling(0.0), eos_token_id=eos)
    beam = beam_search(toy, ids, num_beams=1, max_new_tokens=8, eos_token_id=eos, length_penalty=penalty)
    np.testing.assert_array_equal(beam, greedy)


@hypothesis
@given(st.integers(0, 1000), st.integers(1, 5), st.sampled_from([None, 4]), st.integers(1, 6))
def test_cache_batch_and_padding_change_nothing(seed, num_beams, eos, n):
    toy = Toy(seed=seed)
    prompts = [[1, 2, 3], [4], [5, 6]]
    ids, mask = left_pad(prompts, pad_token_id=7)
    options = dict(num_beams=num_beams, max_new_tokens=n, eos_token_id=eos, pad_token_id=0)
    plain = beam_search(toy, ids, attention_mask=mask, **options)
    cached = beam_search(toy, ids, attention_mask=mask, make_cache=toy.cache, context_length=12, **options)
    np.testing.assert_array_equal(plain, cached)
    for row, prompt in enumerate(prompts):
        alone = beam_search(toy, np.array([prompt]), **options)[0, len(prompt):]
        np.testing.assert_array_equal(plain[row, 3:3 + len(alone)], alone)
        assert not plain[row, 3 + len(alone):].any()


@hypothesis
@given(st.integers(0, 1000), st.integers(2, 6))
def test_texts_are_told_apart_and_scored_right(seed, num_beams):
    toy = Toy(seed=seed)
    (sentence,) = beam_hypotheses(toy, np.array([[1, 2]]), num_beams=num_beams, max_new_tokens=5, eos_token_id=4)
    texts = [tuple(tokens) for _, tokens in sentence.finished]
    assert len(set(texts)) == len(texts) == num_beams
    scores = [score for score, _ in sentence.finished]
    assert scores == sorted(scores, reverse=True)
    for score, tokens in sentence.finished:
        text, total = [1, 2], 0.0
        for token in tokens:
            total += log_softmax(toy(np.array([text]))[0, -1])[token]
            text.append(token)
        assert score == pytest.approx(total / len(tokens))


def test_a_vocabulary_of_end_tokens_alone_ends():
    out = beam_search(lambda ids, cache: np.array([[1.0, 2.0]] * len(ids)), np.array([[0]]), num_beams=3,
                      max_new_tokens=5, eos_token_id=[0, 1])
    assert out.tolist() == [[0, 1]]


@pytest.mark.parametrize("change, message", [
    ({"num_beams": 0}, "num_beams is 0"), ({"max_new_tokens": 0}, "max_new_tokens is 0"),
    ({"context_length": 5}, "do not fit the model's context of 5"), ({"ids": np.array([1])}, r"expected \(B, T\)"),
])
def test_errors(change, message):
    toy = Toy()
    arguments = {"ids": np.array([[1, 2]]), "num_beams": 2, "max_new_tokens": 5, "make_cache": toy.cache, **change}
    with pytest.raises(ValueError, match=message):
        beam_search(toy, **arguments)


def test_damaged_logits():
    with pytest.raises(ValueError, match="row 0 is nan"):
        beam_search(lambda ids, cache: np.full((len(ids), 4), np.nan), np.array([[0]]), num_beams=2, max_new_tokens=2)


@pytest.mark.oracle
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0, -0.5])
def test_equals_transformers(penalty):
    torch = pytest.importorskip("torch")
    hf = pytest.importorskip("transformers")
    different = 0
    for seed in range(4):
        torch.manual_seed(seed)
        config = hf.GPT2Config(vocab_size=17, n_positions=24, n_embd=16, n_layer=1, n_head=2, initializer_range=0.5)
        model = hf.GPT2LMHeadModel(config).eval()

        def step(ids, cache, attention_mask=None):
            mask = np.ones_like(ids) if attention_mask is None else attention_mask
            with torch.no_grad():
                return model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask),
                             position_ids=torch.tensor(np.maximum(mask.cumsum(1) - 1, 0))).logits.numpy()

        # Padding is not token 0: transformers fills with the end token then.
        ids, mask = left_pad([[5, 6, 7, 8], [9, 3], [1]], pad_token_id=16)
        for num_beams, eos in ((2, 3), (4, 3), (4, [3, 11]), (4, None), (7, 3)):
            theirs = model.generate(
                torch.tensor(ids), attention_mask=torch.tensor(mask), max_new_tokens=10, num_beams=num_beams,
                length_penalty=penalty, early_stopping=False, do_sample=False, eos_token_id=eos, pad_token_id=16)
            ours = beam_search(step, ids, attention_mask=mask, max_new_tokens=10, num_beams=num_beams,
                               length_penalty=penalty, eos_token_id=eos, pad_token_id=16)
            width = min(ours.shape[1], theirs.shape[1])
            np.testing.assert_array_equal(ours[:, :width], theirs.numpy()[:, :width])
            greedy = generate(step, ids, attention_mask=mask, max_new_tokens=10, sampling=Sampling(0.0),
                              eos_token_id=eos, pad_token_id=16)
            different += ours.shape != greedy.shape or not np.array_equal(ours, greedy)
    assert different > 5  # beam search found something that greedy decoding had not


def test_a_million_beams_are_refused():
    with pytest.raises(ValueError, match="num_beams is 1000000, expected at least 1 and at most 1,000"):
        check_beams(10 ** 6)
