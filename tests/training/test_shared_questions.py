"""Answers to the same question: reading it once gives the features and gradients of reading each row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygpt
from tinygpt.models import GPT, GPTConfig
from tinygpt.training import shared_questions
from tinygpt.training.losses import answer_log_probs

LAYOUTS = {"gpt2": {}, "llama": {}, "mistral": {"window": 4}, "gemma3_text": {}, "gpt_neox": {}, "olmo2": {},
           "qwen3": {}, "mixtral": {}}


def model_of(architecture: str = "llama", block_size: int = 40, **options) -> GPT:
    """A random model in float64."""
    tinygpt.manual_seed(0)
    config = GPTConfig(vocab_size=30, block_size=block_size, n_layer=2, n_head=2, n_embd=16, architecture=architecture,
                       **options)
    return GPT(config).to(dtype="float64")


def rows_of(seed: int, n_questions: int, n_answers: int, longest: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Ids and targets (N, T): some answers to each question, some rows that do not count, filled up at the end."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((n_questions * n_answers, 2 * longest), int)
    targets = np.full_like(ids, -100)
    for group in range(n_questions):
        question = rng.integers(1, 30, rng.integers(1, longest))
        for row in range(group * n_answers, (group + 1) * n_answers):
            answer = rng.integers(1, 30, rng.integers(1, 6))
            whole = np.concatenate([question, answer])
            ids[row, :len(whole) - 1] = whole[:-1]
            if rng.random() < 0.8:
                targets[row, len(question) - 1:len(whole) - 1] = answer
            if len(answer) > 2 and rng.random() < 0.3:  # part of the answer does not count
                targets[row, len(question)] = -100
    return ids, targets


def both_ways(model, ids, targets, monkeypatch) -> list[list[np.ndarray]]:
    """Log-probabilities and all gradients, with questions that are read once, and without."""
    weights = np.random.default_rng(1).standard_normal(ids.shape)
    found = []
    for worth in (np.inf, 0.0):
        monkeypatch.setattr(shared_questions, "WORTH", worth)
        for p in model.parameters():
            p.grad = None
        log_p = answer_log_probs(model, ids, targets)
        (log_p * weights).sum().backward()
        found.append([log_p.data, *(np.zeros(p.shape) if p.grad is None else p.grad for p in model.parameters())])
    return found


@pytest.mark.parametrize("architecture", LAYOUTS)
def test_log_probabilities_and_gradients_are_those_of_reading_each_row(architecture, monkeypatch) -> None:
    """Within rounding of float64: sums are added up in another order."""
    model = model_of(architecture, **LAYOUTS[architecture])
    for one, other in zip(*both_ways(model, *rows_of(0, 3, 4), monkeypatch)):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 3))
def test_any_rows(seed, n_questions, n_answers) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        for one, other in zip(*both_ways(model_of(), *rows_of(seed, n_questions, n_answers), monkeypatch)):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def tokens_read(model, ids, targets, monkeypatch) -> list[tuple[int, ...]]:
    """The shapes of the ids that the model is called with."""
    read, features = [], GPT.features
    with monkeypatch.context() as patch:
        patch.setattr(GPT, "features", lambda self, ids, *more: (read.append(np.shape(ids)),
                                                                 features(self, ids, *more))[1])
        answer_log_probs(model, ids, targets)
    return read


def group(question: int, answer: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """n rows with one question."""
    ids = np.tile(np.arange(1, question + answer), (n, 1)) % 30
    ids[:, question:] = np.random.default_rng(0).integers(1, 30, (n, answer - 1))
    targets = np.where(np.arange(question + answer - 1) >= question - 1, 1, -100)
    return ids, np.tile(targets, (n, 1))


def test_each_question_is_read_once(monkeypatch) -> None:
    assert tokens_read(model_of(), *group(20, 3, 8), monkeypatch) == [(1, 20), (8, 2)]
    assert tokens_read(model_of(), *group(20, 1, 2), monkeypatch) == [(1, 20)]  # predicted by the question's end


@pytest.mark.parametrize("question, answer, n, options", [
    (20, 3, 1, {}),  # nothing is shared
    (2, 18, 4, {}),  # hardly anything is
    (20, 1, 2, {"architecture": "mixtral"}),  # experts count what one pass sends them
])
def test_rows_are_read_as_they_are_where_that_is_no_dearer(question, answer, n, options, monkeypatch) -> None:
    ids, targets = group(question, answer, n)
    assert tokens_read(model_of(**options), ids, targets, monkeypatch) == [ids.shape]


def test_a_long_question_beside_a_long_answer_to_another_one_fits_the_context(monkeypatch) -> None:
    ids, targets = np.ones((8, 30), int), np.full((8, 30), -100)
    ids[4:] = 2
    targets[:4, 27:], targets[4:, 5:30] = 3, 4
    assert tokens_read(model_of(block_size=30), ids, targets, monkeypatch) == [(8, 30)]


def test_no_target_at_all_has_gradients_of_zero() -> None:
    model = model_of()
    answer_log_probs(model, np.ones((2, 5), int), np.full((2, 5), -100)).sum().backward()
    assert not any(p.grad is not None and p.grad.any() for p in model.parameters())
