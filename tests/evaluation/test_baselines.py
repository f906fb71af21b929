"""Logistic regression over words and pairs, and the bar that counting sets."""

from __future__ import annotations

import numpy as np
import pytest

from tinygpt.evaluation import LogisticRegression, NaiveBayes, baselines
from tinygpt.evaluation import bag_of_words


def nots(n: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts whose label is told by a pair of words alone: "not good" is bad."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(n):
        negated, good = rng.integers(0, 2, 2)
        words = ["not" if negated else "very", "good" if good else "bad"]
        texts.append(" ".join([*rng.choice(list("abcdef"), 3), *words]))
        labels.append("+" if negated != good else "-")
    return texts, labels


def test_pairs_tell_what_words_cannot() -> None:
    train, (texts, truth) = nots(300, 0), nots(100, 1)
    single, pairs = (LogisticRegression(*train, pairs=pairs).predict(texts) for pairs in (False, True))
    assert pairs == truth and np.mean([a == b for a, b in zip(single, truth)]) < 0.75


def test_counts_of_pairs_in_naive_bayes() -> None:
    train, (texts, truth) = nots(300, 0), nots(100, 1)
    found = NaiveBayes(*train, pairs=True).predict(texts)
    assert np.mean([a == b for a, b in zip(found, truth)]) > 0.95


def test_the_bar_has_an_accuracy_for_each(monkeypatch) -> None:
    train, validation = nots(100, 0), nots(50, 1)
    found = baselines(train, *validation)
    assert len(found) == 3 and all(0 <= accuracy <= 1 for accuracy in found.values())
    assert found["logistic regression over words and pairs"] > found["naive Bayes over words"]
    monkeypatch.setattr(bag_of_words, "MAX_TEXTS", 10)
    assert len(baselines(train, *validation)) == 2
    monkeypatch.setattr(bag_of_words, "MAX_COUNTS", 10)
    assert baselines(train, *validation) == {}


def test_a_text_of_unknown_words_gets_a_label() -> None:
    model = LogisticRegression(["a", "a", "b"], ["x", "x", "y"])
    assert model.predict(["unknown", ""]) == ["x", "x"]


@pytest.mark.oracle
def test_about_as_good_as_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    text = pytest.importorskip("sklearn.feature_extraction.text")
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefghij"), 6)) for _ in range(500)]
    labels = [max("xyz", key=lambda name: text.count("abc"["xyz".index(name)]) + rng.random()) for text in texts]
    counter = text.CountVectorizer(token_pattern=r"\w+|[^\w\s]", ngram_range=(1, 2))
    theirs = linear_model.LogisticRegression(max_iter=500).fit(counter.fit_transform(texts[:400]), labels[:400])
    expected = theirs.score(counter.transform(texts[400:]), labels[400:])
    found = LogisticRegression(texts[:400], labels[:400]).predict(texts[400:])
    assert abs(np.mean([a == b for a, b in zip(found, labels[400:])]) - expected) < 0.08
