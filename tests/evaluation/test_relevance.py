"""Texts that belong together lie together: an answer beside its question, a sentence beside the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.evaluation.relevance import coherence, nearness, relevance, sentences


class Letters:
    """In the place of a model of sentence vectors: how often each letter stands in a text."""

    size = 26

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        assert all(text.strip() for text in texts)
        return np.array([[text.lower().count(chr(97 + i)) + 1e-3 for i in range(26)] for text in texts], np.float32)


def test_nearness_by_hand():
    found = nearness(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.6, 0.8]]))
    assert (found.nearer, found.n) == (1.0, 2)
    assert found.cosine == pytest.approx(0.9) and found.others == pytest.approx(0.3)
    assert nearness(np.eye(2), np.eye(2)[::-1]).nearer == 0.0  # each lies at the other's


def test_rows_of_one_group_are_not_compared():
    a = np.eye(3)
    assert nearness(a, a[[1, 0, 2]], ["x", "x", "y"]).nearer == 0.75  # two ties and two wins
    with pytest.raises(ValueError, match="there is 1 in all"):
        nearness(a, a, ["x"] * 3)


@given(st.integers(2, 6), st.integers(0, 99))
def test_equal_vectors_are_even_and_order_does_not_matter(n, seed):
    rng = np.random.default_rng(seed)
    a, b, order = rng.normal(size=(n, 3)), rng.normal(size=(n, 3)), rng.permutation(n)
    assert nearness(np.ones((n, 3)), np.ones((n, 3))).nearer == 0.5
    assert nearness(a, b).nearer == pytest.approx(nearness(a[order], b[order]).nearer)


def test_answers_that_speak_of_something_else_are_not_relevant():
    questions = ["aab", "cdd", "eff"]
    assert relevance(Letters(), questions, ["ab", "cd", "ef"]).nearer == 1.0
    assert relevance(Letters(), questions, ["cd", "ef", "ab"]).nearer < 0.5
    assert relevance(Letters(), questions, ["", " ", ""]).nearer == 0.5  # says nothing, so belongs to all alike
    with pytest.raises(ValueError, match="got 1 for 3"):
        relevance(Letters(), questions, ["ab"])


def test_texts_that_stay_with_their_matter_are_coherent():
    steady, jumping = ["Aa. Aab. Aaa.", "Dd! Dde? Ddd."], ["Aa. Dd.", "Dd. Aa."]
    assert coherence(Letters(), steady).nearer == 1.0 and coherence(Letters(), steady).n == 4
    assert coherence(Letters(), jumping).nearer == 0.0
    assert coherence(Letters(), ["Aa. Aa.", "one sentence"]) is None and coherence(Letters(), []) is None


def test_sentences():
    assert sentences("3.5 litres. Yes! -- \n\n* and\n") == ["3.5 litres.", "Yes!", "* and"]
