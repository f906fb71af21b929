"""ROUGE: its own properties, and the numbers of the package rouge-score."""

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tinygpt.evaluation.rouge import KINDS, Rouge, mean_rouge, rouge

TEXT = st.lists(st.sampled_from(["a", "b", "c", "d", "\n", "A-b", "é", "."]), max_size=14).map(" ".join)


@settings(max_examples=60)
@given(TEXT, TEXT)
def test_scores_are_shares_and_the_other_way_round_precision_is_recall(a, b):
    one, other = rouge(a, b), rouge(b, a)
    for kind in KINDS:
        assert 0 <= one[kind].f1 <= 1
        if kind != "rougeLsum":  # which goes through the lines of the reference
            assert (one[kind].precision, one[kind].recall) == (other[kind].recall, other[kind].precision)
    assert one["rougeL"].f1 <= one["rouge1"].f1 + 1e-12


def test_a_text_is_its_own_best_summary_and_nothing_says_nothing():
    assert set(rouge("one two three", "One, two; THREE").values()) == {Rouge(1, 1, 1)}
    assert set(rouge("", "one two").values()) == set(rouge("é", "").values()) == {Rouge(0, 0, 0)}


def test_means():
    found = mean_rouge(["a b", "a b"], ["a b", "c d"])
    assert found["rouge1"] == Rouge(0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="1 summaries and 2 references"):
        mean_rouge(["a"], ["a", "b"])


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_scores_are_those_of_rouge_score(shared_data):
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(list(KINDS), use_stemmer=False)
    rng = np.random.default_rng(0)
    words = ["the", "cat", "sat", "THE", "it's", "on-line", "über", "42", "\n", "cat.", "a"]
    pairs = [[" ".join(rng.choice(words, rng.integers(0, 30))) for _ in range(2)] for _ in range(300)]
    with open(shared_data / "dialogsum_dev.jsonl", encoding="utf-8") as file:
        records = [json.loads(line) for line in file][:60]
    pairs += [[record["dialogue"], record["summary"].replace(". ", ".\n")] for record in records]
    for ours, reference in pairs:
        expected = scorer.score(reference, ours)
        for kind, found in rouge(ours, reference).items():
            assert (found.precision, found.recall, found.f1) == pytest.approx(tuple(expected[kind]), abs=1e-12), kind
