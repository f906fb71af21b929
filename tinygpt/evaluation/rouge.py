"""ROUGE: how much of a reference summary a summary says, in the same words.

    rouge1, rouge2   runs of one and of two words that both have
    rougeL           the longest sequence of words that both have in this order, with anything between
    rougeLsum        the same line by line: of each line of the reference, the words that any line of the summary covers

Each is a precision (over the summary's words), a recall (over the reference's) and their F1. This is the package
rouge-score without stemming: small letters, and only a … z and digits make words.

Prerequisites: words.py, chrf.py. Next: summarization.py. Lin, "ROUGE: a package for automatic evaluation of summaries"
(2004).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .words import runs

__all__ = ["KINDS", "Rouge", "mean_rouge", "rouge"]

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


@dataclass(frozen=True)
class Rouge:
    """One of the scores, all 0 … 1."""

    precision: float
    recall: float
    f1: float

    @classmethod
    def of(cls, both: int, ours: int, theirs: int) -> Rouge:
        """From what both have, and how much the summary and the reference have."""
        precision, recall = both / max(ours, 1), both / max(theirs, 1)
        return cls(precision, recall, 2 * precision * recall / (precision + recall) if both else 0.0)


def _words(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text.lower())


def _numbers(*texts: list[str]) -> list[np.ndarray]:
    """The words as numbers that stand for the same word in all texts."""
    known: dict[str, int] = {}
    return [np.array([known.setdefault(word, len(known)) for word in text], np.int64) for text in texts]


def _row(before: np.ndarray, word: int, others: np.ndarray) -> np.ndarray:
    """Lengths of the longest common sequences of one word more with each beginning of the others."""
    longer = np.maximum(before[1:], before[:-1] + (others == word))
    return np.concatenate([[0], np.maximum.accumulate(longer)])


def _common(a: list[str], b: list[str]) -> int:
    """The length of the longest common sequence."""
    x, y = _numbers(a, b)
    row = np.zeros(len(y) + 1, np.int64)
    for word in x:
        row = _row(row, word, y)
    return int(row[-1])


def _covered(reference: list[str], line: list[str]) -> list[int]:
    """The places in the reference of one of the longest common sequences, the one that rouge-score takes."""
    x, y = _numbers(reference, line)
    table = np.zeros((len(x) + 1, len(y) + 1), np.int64)
    for i, word in enumerate(x):
        table[i + 1] = _row(table[i], word, y)
    found, i, j = [], len(x), len(y)
    while i and j:
        if x[i - 1] == y[j - 1]:
            i, j = i - 1, j - 1
            found.append(i)
        elif table[i, j - 1] > table[i - 1, j]:
            j -= 1
        else:
            i -= 1
    return found


def _by_line(summary: str, reference: str) -> Rouge:
    ours, theirs = ([_words(line) for line in text.split("\n") if line] for text in (summary, reference))
    left, wanted = Counter(word for line in ours for word in line), Counter(word for line in theirs for word in line)
    both = 0
    for line in theirs:
        for place in sorted({place for other in ours for place in _covered(line, other)}):
            word = line[place]
            if left[word] > 0 and wanted[word] > 0:  # no word counts more often than it is there
                both += 1
                left[word] -= 1
                wanted[word] -= 1
    return Rouge.of(both, sum(map(len, ours)), sum(map(len, theirs)))


def rouge(summary: str, reference: str) -> dict[str, Rouge]:
    """All four scores of a summary.

    >>> {name: round(score.f1, 3) for name, score in rouge("the cat sat", "the cat was there and sat").items()}
    {'rouge1': 0.667, 'rouge2': 0.286, 'rougeL': 0.667, 'rougeLsum': 0.667}
    """
    ours, theirs = _words(summary), _words(reference)
    found = {}
    for n in (1, 2):
        a, b = Counter(runs(ours, n)), Counter(runs(theirs, n))
        found[f"rouge{n}"] = Rouge.of((a & b).total(), a.total(), b.total())
    found["rougeL"] = Rouge.of(_common(ours, theirs), len(ours), len(theirs))
    found["rougeLsum"] = _by_line(summary, reference)
    return found


def mean_rouge(summaries: Sequence[str], references: Sequence[str]) -> dict[str, Rouge]:
    """The means over many summaries, a reference for each.

    Raises:
        ValueError: none, or not as many of the one as of the other.
    """
    if not summaries or len(summaries) != len(references):
        raise ValueError(f"ROUGE needs a reference for each summary and at least one, got {len(summaries)} summaries "
                         f"and {len(references)} references")
    scores = [rouge(*pair) for pair in zip(summaries, references)]
    return {kind: Rouge(*(float(np.mean([getattr(score[kind], part) for score in scores]))
                          for part in ("precision", "recall", "f1"))) for kind in KINDS}
