"""BLEU: how many of a translation's words, pairs, triples and quadruples of words also stand in a reference.

    BLEU = brevity penalty · (p₁ · p₂ · p₃ · p₄)^¼

p_n is the share of the translations' n-grams that their references hold, counted over the whole corpus, each n-gram
at most as often as a reference has it (or "the the the" would be perfect). Precision alone would praise a
translation of one sure word, so those shorter than their references pay e^(1 − r/h).

The number depends on how text is cut into words, which is why papers report sacrebleu's. This is its default, to the
last digit: tokenizer 13a, case kept, exponential smoothing.

Prerequisites: labelling.py. Next: chrf.py. Papineni et al., "BLEU" (2002); Chen and Cherry, "A systematic comparison
of smoothing techniques for sentence-level BLEU" (2014); Post, "A call for clarity in reporting BLEU scores" (2018).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .words import runs

__all__ = ["Bleu", "corpus_bleu", "require_references", "words_13a"]

MAX_ORDER = 4


@dataclass(frozen=True)
class Bleu:
    """A BLEU score and what it is made of.

    Attributes:
        score: 0 … 100.
        precisions: p₁ … p₄ in percent.
        brevity_penalty: 1 for translations at least as long as their references.
        length, reference_length: in words, over the whole corpus.
    """

    score: float
    precisions: tuple[float, ...]
    brevity_penalty: float
    length: int
    reference_length: int


# The tokenizer of mteval-v13a, the script by which the WMT campaigns were scored.
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))  # in this order: "&amp;lt;" becomes "<"
_CUTS = (
    (re.compile(r"([!-&(-+:-@\[-`{-~/])"), r" \1 "),  # ASCII punctuation but ' , - .
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),       # . and , unless a digit stands before it
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),       # … or after it: 1,000.5 is one word
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),           # a dash after a digit
)


def words_13a(text: str) -> list[str]:
    """A text cut into words and punctuation as mteval-v13a does.

    >>> words_13a("It costs $1,000.50 (a well-known price).")
    ['It', 'costs', '$', '1,000.50', '(', 'a', 'well-known', 'price', ')', '.']
    """
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    text = f" {text} "
    for pattern, spaced in _CUTS:
        text = pattern.sub(spaced, text)
    return text.split()


def _ngrams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    """How often each run of 1 … 4 words occurs."""
    return Counter(run for n in range(1, MAX_ORDER + 1) for run in runs(words, n))


def require_references(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Raise unless `references` are lists as long as `hypotheses`."""
    if isinstance(hypotheses, str) or isinstance(references, str) or any(isinstance(r, str) for r in references):
        raise TypeError("translations are a list of texts, and references a list of such lists, one for each set of "
                        "references: write [references] for a single one")
    if not hypotheses or not references:
        raise ValueError("nothing to score: there are no translations, or no references")
    for one in references:
        if len(one) != len(hypotheses):
            raise ValueError(f"every translation needs a reference: got {len(hypotheses)} translations and "
                             f"{len(one)} references")


def _score(right: list[int], total: list[int], length: int, reference_length: int) -> Bleu:
    """The score of a corpus's counts, by n-gram order."""
    penalty = 1.0 if length >= reference_length else math.exp(1 - reference_length / length) if length else 0.0
    precisions = [0.0] * MAX_ORDER
    if any(right):
        smoothing = 1.0
        for n in range(MAX_ORDER):
            if right[n]:
                precisions[n] = 100 * right[n] / total[n]
            elif total[n]:  # no match: half a match, then a quarter, … so that one missing order is not the end
                smoothing *= 2
                precisions[n] = 100 / (smoothing * total[n])
    score = penalty * math.exp(sum(map(math.log, precisions)) / MAX_ORDER) if all(precisions) else 0.0
    return Bleu(score, tuple(precisions), penalty, length, reference_length)


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Bleu:
    """BLEU of a whole corpus; arguments as for `sacrebleu.corpus_bleu`, and the same score.

    Args:
        hypotheses: the translations, as plain text.
        references: one or more sets of references, each as long as `hypotheses`.

    Raises:
        TypeError, ValueError: other shapes, or nothing to score.

    >>> round(corpus_bleu(["The cat sat on a mat."], [["The cat sat on the mat."]]).score, 2)
    48.89
    """
    require_references(hypotheses, references)
    right, total, length, reference_length = [0] * MAX_ORDER, [0] * MAX_ORDER, 0, 0
    for hypothesis, *one_for_each_set in zip(hypotheses, *references):
        words, choices = words_13a(hypothesis), [words_13a(reference) for reference in one_for_each_set]
        allowed: Counter[tuple[str, ...]] = Counter()
        for choice in choices:
            allowed |= _ngrams(choice)  # the most often that any one reference has it
        for ngram, count in _ngrams(words).items():
            total[len(ngram) - 1] += count
            right[len(ngram) - 1] += min(count, allowed[ngram])
        length += len(words)
        reference_length += min(map(len, choices), key=lambda n: (abs(n - len(words)), n))  # the closest, then shortest
    return _score(right, total, length, reference_length)
