"""chrF: how much of a translation's spelling its reference has, in runs of 1 … 6 characters.

Words that differ in an ending count as different for BLEU; their characters mostly agree, which is fairer to languages
that inflect. chrF is the F score of the runs' precision and recall, averaged over the six lengths, with recall counting
β = 2 times as much. This is sacrebleu's chrF2, to the last digit: case kept, no spaces, counted over the whole corpus.

Prerequisites: bleu.py. Next: translation.py. Popović, "chrF: character n-gram F-score" (2015).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .bleu import require_references
from .words import runs

__all__ = ["ChrF", "corpus_chrf"]

MAX_ORDER = 6
BETA = 2

Counts = list[tuple[int, int, int]]  # for each length: runs in the translation, in the reference, in both


@dataclass(frozen=True)
class ChrF:
    """A chrF2 score and what it is made of, all 0 … 100: precision and recall are averages over the lengths."""

    score: float
    precision: float
    recall: float


def _runs(text: str) -> list[Counter[str]]:
    """For each length 1 … 6, how often each run of characters occurs; spaces do not count."""
    text = "".join(text.split())
    return [Counter(runs(text, n)) for n in range(1, MAX_ORDER + 1)]


def _counts(hypothesis: list[Counter[str]], reference: list[Counter[str]]) -> Counts:
    return [(ours.total() if theirs else 0, theirs.total(), (ours & theirs).total())
            for ours, theirs in zip(hypothesis, reference)]


def _score(counts: Counts) -> ChrF:
    shares = [(both / ours, both / theirs) for ours, theirs, both in counts if ours and theirs]
    precision, recall = (sum(column) / len(shares) for column in zip(*shares)) if shares else (0.0, 0.0)
    weighted = BETA ** 2 * precision + recall
    score = (1 + BETA ** 2) * precision * recall / weighted if weighted else 0.0
    return ChrF(100 * score, 100 * precision, 100 * recall)


def corpus_chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> ChrF:
    """chrF2 of a whole corpus; arguments as for `sacrebleu.corpus_chrf`, and the same score.

    Args:
        hypotheses: the translations.
        references: one or more sets of references, each as long as `hypotheses`; of several references for a
            translation the one with the best score counts.

    Raises:
        TypeError, ValueError: other shapes, or nothing to score.

    >>> round(corpus_chrf(["el gato rojo"], [["la gata roja"]]).score, 2)
    23.24
    """
    require_references(hypotheses, references)
    total: Counts = [(0, 0, 0)] * MAX_ORDER
    for hypothesis, *choices in zip(hypotheses, *references):
        found = _runs(hypothesis)
        best = max((_counts(found, _runs(choice)) for choice in choices), key=lambda counts: _score(counts).score)
        total = [(a + x, b + y, c + z) for (a, b, c), (x, y, z) in zip(total, best)]
    return _score(total)
