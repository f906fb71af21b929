"""Confusion matrices and what is read off them, intervals of confidence, and figures as text."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.data.labelled import class_balance, split_labelled
from tinygpt.evaluation import (Classification, NaiveBayes, confusion_matrix, format_table, label_numbers,
                                wilson_interval)

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)
NAMES = ("ham", "spam", "eggs", "beans")


@given(PAIRS)
@settings(deadline=None, derandomize=True, max_examples=80)
def test_every_figure_by_counting(pairs):
    truth, predicted = ([NAMES[pair[place]] for pair in pairs] for place in (0, 1))
    found = Classification.of(truth, predicted, NAMES)
    both = list(zip(truth, predicted))
    assert found.accuracy == sum(t == p for t, p in both) / len(both) and found.n_texts == len(pairs)
    for number, name in enumerate(NAMES):
        right = sum(t == p == name for t, p in both)
        called, there = predicted.count(name), truth.count(name)
        precision, recall = (Fraction(right, n) if n else Fraction(0) for n in (called, there))
        f1 = 2 * precision * recall / (precision + recall) if right else Fraction(0)
        assert (found.precision[number], found.recall[number], found.f1[number]) == pytest.approx(
            (float(precision), float(recall), float(f1)))
        assert found.support[number] == there
        for other, column in zip(NAMES, found.confusion[number]):
            assert column == both.count((name, other))
    assert found.average("macro")["f1"] == pytest.approx(found.f1.mean())
    weighted = sum(f * n for f, n in zip(found.f1, found.support)) / len(pairs)
    assert found.average("weighted")["f1"] == pytest.approx(weighted)
    assert found.average("weighted")["recall"] == pytest.approx(found.accuracy)
    # micro: counts pooled over classes, each text being one prediction and one truth
    pooled = sum(np.diag(found.confusion)) / found.confusion.sum()
    assert set(found.average("micro").values()) == {float(pooled)}


def test_figures_are_data_and_a_table():
    found = Classification.of(["ham"] * 3 + ["spam"] * 1, ["ham", "ham", "spam", "spam"])
    figures = json.loads(json.dumps(found.to_dict()))
    assert figures["labels"] == ["ham", "spam"] and figures["confusion"] == [[2, 1], [0, 1]]
    assert figures["classes"]["spam"] == {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 1}
    assert figures["accuracy"] == 0.75 and figures["accuracy_interval"] == list(wilson_interval(3, 4))
    lines = found.table().splitlines()
    assert lines[0] == "accuracy 0.7500 (0.3006 … 0.9544 with 95% confidence), 3 of 4 right"
    assert lines[2].split() == ["label", "precision", "recall", "f1", "texts"]
    assert lines[4].split() == ["spam", "0.5000", "1.0000", "0.6667", "1"]
    assert [line.split() for line in lines[-2:]] == [["ham", "2", "1"], ["spam", "0", "1"]]


def test_what_cannot_be_compared():
    for truth, predicted, labels, message in (
            ([], [], None, "both lists are empty"), (["a"], ["b"], ["a"], "the label 'b' is none of a"),
            (["a"], [], None, "got 0 for 1")):
        with pytest.raises(ValueError, match=message):
            Classification.of(truth, predicted, labels)
    with pytest.raises(ValueError, match="numbered 0 … 1, got 0 … 2"):
        confusion_matrix([0, 2], [0, 1], 2)
    with pytest.raises(ValueError, match="macro"):
        Classification.of(["a"], ["a"]).average("mean")


@given(st.integers(1, 400), st.data())
@settings(deadline=None, derandomize=True, max_examples=80)
def test_the_interval_solves_wilsons_equation(n, data):
    k, z = data.draw(st.integers(0, n)), data.draw(st.floats(0.5, 4))
    low, high = wilson_interval(k, n, z)
    assert 0 <= low <= k / n + 1e-12 and k / n - 1e-12 <= high <= 1 and low < high
    for bound in (low, high):  # where the true share makes k/n exactly z deviations off
        assert (k / n - bound) ** 2 == pytest.approx(z * z * bound * (1 - bound) / n, abs=1e-12)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.9):
        intervals = {k: wilson_interval(k, 100) for k in range(101)}
        held = [low <= share <= high for low, high in (intervals[int(k)] for k in rng.binomial(100, share, 5000))]
        assert 0.92 < np.mean(held) < 0.98
    for bad in ((1, 0), (-1, 4), (5, 4)):
        with pytest.raises(ValueError, match="an interval needs"):
            wilson_interval(*bad)


def test_columns_are_aligned():
    assert format_table([["a", 1, 0.5], ["bcd", 12345, None]]) == "a         1  0.5000\nbcd  12,345       -"
    assert format_table([["x", 1234.5678, "yes"]], header=["name", "value", "?"]) == (
        "name   value    ?\nx     1234.6  yes")
    with pytest.raises(ValueError):
        format_table([["a", 1], ["b"]])


def test_thousands_of_classes_are_no_table_of_megabytes():
    labels = [f"label {number}" for number in range(3000)]
    found = Classification.of(labels, labels[1:] + labels[:1], labels)
    table = found.table()
    assert len(table) < 300_000 and "the most frequent mistakes of 3,000 classes" in table
    assert found.to_dict()["confusion"] is None and len(json.dumps(found.to_dict())) < 1_000_000
    few = Classification.of(["a", "b"], ["b", "b"], ["a", "b"])
    assert "truth \\ predicted" in few.table() and few.to_dict()["confusion"] == [[0, 1], [0, 1]]
    with pytest.raises(ValueError, match="9,000 classes are too many for a confusion matrix; at most 8,000 fit"):
        confusion_matrix([0], [0], 9000)


def test_many_classes_and_words_are_refused_with_a_sentence():
    texts = [f"word{number}" for number in range(10_000)]
    with pytest.raises(ValueError, match="counts 10,000 words in 10,000 classes, and its table may have at most"):
        NaiveBayes(texts, [f"label {number}" for number in range(10_000)])
    with pytest.raises(ValueError, match="10,000 texts have 10,000 different labels, .* is the label column the right"):
        split_labelled(list(zip(texts, texts)))
    assert class_balance(texts).endswith(", and 9,980 more") and len(class_balance(["x" * 1000])) < 100


def test_a_label_commands_no_terminal():
    found = Classification.of(["\x1b[2J", "a\nb"], ["\x1b[2J", "\x1b[2J"])
    assert "\x1b" not in found.table() and "a b" in found.table()
    assert format_table([["x" * 1000, "\x9b"]], header=["\x07", "y"]).count("\ufffd") == 2
    with pytest.raises(ValueError, match=r"the model has no label '.x1b\[2J'; its labels are l0, .*, l9, …") as caught:
        label_numbers(["\x1b[2J"], [f"l{number}" for number in range(10_000)], ["line 1"])
    assert len(str(caught.value)) < 200
