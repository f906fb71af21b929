"""Naive Bayes: the formula by hand, and another library's answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygpt.evaluation import NaiveBayes

TEXTS = ["good good film", "a good day", "bad film", "bad bad day , so bad", "a film"]
LABELS = ["+", "+", "-", "-", "+"]


def test_by_hand() -> None:
    model = NaiveBayes(["a b", "b"], ["x", "y"])  # W = 2; x: a 1, b 1; y: b 1
    assert model.labels == ["x", "y"]
    x, y = math.log(0.5 * (2 / 4) * (2 / 4)), math.log(0.5 * (1 / 3) * (2 / 3))
    assert x > y and model.predict(["A b"]) == ["x"]
    x, y = math.log(0.5 * 2 / 4), math.log(0.5 * 2 / 3)
    assert y > x and model.predict(["b never-seen", "b b"]) == ["y", "y"]
    assert NaiveBayes(["a", "a", "b"], ["x", "x", "y"]).predict(["unknown", ""]) == ["x", "x"]  # the larger class


@pytest.mark.parametrize("texts, labels", [([], []), (["a"], [])])
def test_errors(texts, labels) -> None:
    with pytest.raises(ValueError, match="one label for each"):
        NaiveBayes(texts, labels)


@pytest.mark.oracle
def test_as_scikit_learn() -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    bayes = pytest.importorskip("sklearn.naive_bayes")
    rng = np.random.default_rng(0)
    words = "good bad film day so a , never slow fine".split()
    texts = [" ".join(rng.choice(words, rng.integers(1, 9))) for _ in range(200)]
    labels = rng.choice(["+", "-", "0"], 200).tolist()
    counter = text.CountVectorizer(token_pattern=r"\w+|[^\w\s]")
    theirs = bayes.MultinomialNB().fit(counter.fit_transform(texts[:150]), labels[:150])
    assert NaiveBayes(texts[:150], labels[:150]).predict(texts[150:]) == theirs.predict(
        counter.transform(texts[150:])).tolist()
