"""BLEU and chrF are sacrebleu's, on real and on random text; and what they must do by definition."""

from __future__ import annotations

import gzip
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.evaluation import corpus_bleu, corpus_chrf, score_translations
from tinygpt.evaluation.bleu import words_13a


@pytest.fixture(scope="module")
def sacrebleu():
    return pytest.importorskip("sacrebleu")


def same(sacrebleu, hypotheses, references):
    ours, theirs = corpus_bleu(hypotheses, references), sacrebleu.corpus_bleu(hypotheses, references, force=True)
    assert ours.score == pytest.approx(theirs.score, abs=1e-9, rel=1e-12), (hypotheses, references)
    assert ours.precisions == pytest.approx(tuple(theirs.precisions), abs=1e-9)
    assert (ours.brevity_penalty, ours.length, ours.reference_length) == (
        pytest.approx(theirs.bp), theirs.sys_len, theirs.ref_len)
    assert corpus_chrf(hypotheses, references).score == pytest.approx(
        sacrebleu.corpus_chrf(hypotheses, references).score, abs=1e-9), (hypotheses, references)


WORD = st.sampled_from(
    "the cat sat on mat 1,000.5 3-4 it's end. &amp; &lt;b&gt; <skipped> ¿qué? naïve 日本 e-mail $5".split())
LETTERS = st.text(alphabet="ab1 ,.-&;'\"\n<>$é€¿/{}~^|`@\t\xa0ltgamp", max_size=25)
TEXT = st.lists(WORD, max_size=12).map(" ".join) | LETTERS


@pytest.mark.oracle
@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=5), st.integers(1, 2))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_random_texts(sacrebleu, rows, n_references):
    hypotheses, *references = map(list, zip(*rows))
    same(sacrebleu, hypotheses, references[:n_references])


@pytest.mark.oracle
@given(st.lists(LETTERS, min_size=1, max_size=10))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_the_tokenizer(sacrebleu, texts):
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
    for text in texts:
        assert words_13a(text) == Tokenizer13a()(text.rstrip()).split()


@pytest.mark.oracle
def test_real_translations(sacrebleu, shared_data):
    """Other translations of the same sentence, and translations with words lost, doubled and exchanged."""
    with gzip.open(shared_data / "spa.txt.gz", "rt", encoding="utf-8") as file:
        pairs = [line.rstrip("\n").split("\t")[:2] for line in file][60_000:60_400]
    rng = random.Random(0)

    def damaged(text: str) -> str:
        words = text.split()
        return " ".join(word for word in words for _ in range(rng.choice((0, 1, 1, 1, 1, 2))))

    spanish = [target for _, target in pairs]
    same(sacrebleu, spanish[:-1], [spanish[1:]])
    same(sacrebleu, [damaged(text) for text in spanish], [spanish])
    same(sacrebleu, [damaged(text) for text in spanish], [spanish, [damaged(text) for text in spanish]])
    same(sacrebleu, spanish, [spanish])
    for text, other in zip(spanish[:40], spanish[1:]):
        same(sacrebleu, [damaged(text)], [[other]])


def test_by_hand():
    found = corpus_bleu(["the the the the the the the"], [["The cat is on the mat."]])
    assert found.precisions[0] == pytest.approx(100 / 7)  # once, not seven times: the reference has one "the"
    assert found.precisions[1:] == pytest.approx((100 / 12, 100 / 20, 100 / 32))  # 1/2, 1/4, 1/8 of a match
    short = corpus_bleu(["a b c d"], [["a b c d e f g h"]])
    assert short.precisions == (100, 100, 100, 100) and short.score == pytest.approx(100 * 2.718281828 ** -1)
    assert corpus_chrf(["abc"], [["abd"]]).score == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)


def test_perfect_and_hopeless():
    texts = ["El gato duerme en la silla.", "No sé."]
    assert corpus_bleu(texts, [texts]).score == pytest.approx(100) == corpus_chrf(texts, [texts]).score
    assert corpus_bleu(["x y z w"], [["a b c d"]]).score == 0 == corpus_chrf(["x y z w"], [["a b c d"]]).score
    assert corpus_bleu(["", ""], [texts]).score == 0 == corpus_chrf(["", ""], [texts]).score


def test_what_cannot_be_scored():
    for score in (corpus_bleu, corpus_chrf):
        with pytest.raises(TypeError, match=r"write \[references\]"):
            score(["a"], ["a"])
        with pytest.raises(ValueError, match="got 2 translations and 1 references"):
            score(["a", "b"], [["a"]])
        with pytest.raises(ValueError, match="nothing to score"):
            score([], [[]])


def test_figures():
    figures = score_translations(["uno", "dos "], ["uno", "dos"]).to_dict()
    assert figures["exact_match"] == 1 and figures["n_pairs"] == 2 and figures["chrf"] == pytest.approx(100)
    assert set(figures) == {"bleu", "chrf", "exact_match", "bleu_precisions", "brevity_penalty", "n_pairs"}
