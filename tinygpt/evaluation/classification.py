"""How good a classifier is: the confusion matrix, and everything that is read off it.

Accuracy alone flatters a classifier of unequal classes: calling every message ham is right nine times in ten, and finds
no spam. Precision asks how many of the messages called spam are spam, recall how much of the spam is found, and F1 is
their harmonic mean. "Macro" averages classes as equals, "weighted" by their size; "micro" pools the counts, and where
every text has exactly one label that is accuracy again.

Shapes: K classes, N texts.

Prerequisites: confidence.py, table.py. Next: labelling.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.labelled import MAX_LABELS
from ..files.shown import listed, shown
from .confidence import wilson_interval
from .table import format_table

__all__ = ["Classification", "confusion_matrix"]

MAX_MATRIX = 30  # classes whose confusion matrix is shown whole
MAX_NUMBERS = 1000  # … and written as JSON


def confusion_matrix(truth: Sequence[int], predicted: Sequence[int], n_labels: int) -> np.ndarray:
    """(K, K) counts: row i, column j says how many texts of class i were taken for class j.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], n_labels=2).tolist()
    [[1, 1], [0, 1]]

    Raises:
        ValueError: lists of unequal lengths, a class outside 0 … K − 1, or more than MAX_LABELS.
    """
    if n_labels > MAX_LABELS:
        raise ValueError(f"{n_labels:,} classes are too many for a confusion matrix; at most {MAX_LABELS:,} fit")
    pairs = np.array([truth, predicted]) if len(truth) == len(predicted) else None
    if pairs is None or pairs.ndim != 2:
        raise ValueError(f"a confusion matrix needs one prediction for each truth, got {len(predicted)} for "
                         f"{len(truth)}")
    pairs = pairs.astype(np.int64)
    if pairs.size and not 0 <= pairs.min() <= pairs.max() < n_labels:
        raise ValueError(f"classes are numbered 0 … {n_labels - 1}, got {pairs.min()} … {pairs.max()}")
    return np.bincount(pairs[0] * n_labels + pairs[1], minlength=n_labels ** 2).reshape(n_labels, n_labels)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where whole is 0, as is the custom for classes that never occur or are never predicted."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


@dataclass(frozen=True)
class Classification:
    """What a classifier got right and wrong.

    Attributes:
        labels: the K names.
        confusion: (K, K); rows are the truth, columns what was predicted.

    >>> found = Classification.of(["ham", "ham", "spam"], ["ham", "spam", "spam"], ["ham", "spam"])
    >>> found.accuracy, found.precision.tolist(), found.recall.tolist()
    (0.6666666666666666, [1.0, 0.5], [0.5, 1.0])
    """

    labels: tuple[str, ...]
    confusion: np.ndarray

    @classmethod
    def of(cls, truth: Sequence[str], predicted: Sequence[str], labels: Sequence[str] | None = None) -> Classification:
        """Compare two lists of label names; `labels` orders the classes, by default those that occur, sorted.

        Raises:
            ValueError: nothing to compare, lists of unequal lengths, or a label that is not in `labels`.
        """
        names = sorted({*truth, *predicted}) if labels is None else list(labels)
        numbers = {name: number for number, name in enumerate(names)}
        if unknown := {*truth, *predicted} - numbers.keys():
            raise ValueError(f"the label {shown(min(unknown))} is none of {listed(names)}")
        if not len(truth):
            raise ValueError("no labels to compare: both lists are empty")
        return cls(tuple(names), confusion_matrix([numbers[name] for name in truth],
                                                  [numbers[name] for name in predicted], len(names)))

    @property
    def n_texts(self) -> int:
        """N, how many texts were classified."""
        return int(self.confusion.sum())

    @property
    def support(self) -> np.ndarray:
        """(K,): how many texts each class has."""
        return self.confusion.sum(axis=1)

    @property
    def n_right(self) -> int:
        """How many predictions are right."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """The share of predictions that are right; also the micro average of precision, of recall and of F1."""
        return self.n_right / self.n_texts

    @property
    def precision(self) -> np.ndarray:
        """(K,): of what was taken for a class, the share that is of it."""
        return _ratio(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> np.ndarray:
        """(K,): of each class, the share that was found."""
        return _ratio(np.diag(self.confusion), self.support)

    @property
    def f1(self) -> np.ndarray:
        """(K,): 2·precision·recall / (precision + recall), which is 2·right / (predicted + there are)."""
        return _ratio(2 * np.diag(self.confusion), self.confusion.sum(axis=0) + self.support)

    def average(self, kind: str) -> dict[str, float]:
        """Precision, recall and F1 over all classes: "macro", "weighted" or "micro"."""
        if kind == "micro":
            return dict.fromkeys(("precision", "recall", "f1"), self.accuracy)
        if kind not in ("macro", "weighted"):
            raise ValueError(f'an average is "macro", "weighted" or "micro", got {kind!r}')
        weights = None if kind == "macro" else self.support
        return {name: float(np.average(values, weights=weights)) for name, values in
                (("precision", self.precision), ("recall", self.recall), ("f1", self.f1))}

    def to_dict(self) -> dict[str, Any]:
        """Every figure, in types that JSON knows; the matrix is None for more than MAX_NUMBERS classes."""
        classes = {name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
                   for name, p, r, f, n in zip(self.labels, self.precision, self.recall, self.f1, self.support)}
        return {"n_texts": self.n_texts, "accuracy": self.accuracy,
                "accuracy_interval": list(wilson_interval(self.n_right, self.n_texts)),
                "classes": classes, "macro": self.average("macro"), "weighted": self.average("weighted"),
                "micro": self.average("micro"), "labels": list(self.labels),
                "confusion": self.confusion.tolist() if len(self.labels) <= MAX_NUMBERS else None}

    def table(self) -> str:
        """The figures of each class, their averages, and the confusion matrix; of many classes, the most frequent
        mistakes in its place."""
        low, high = wilson_interval(self.n_right, self.n_texts)
        rows: list[list[str | int | float]] = [
            [name, float(p), float(r), float(f), int(n)]
            for name, p, r, f, n in zip(self.labels, self.precision, self.recall, self.f1, self.support)]
        rows += [[f"({kind})", *self.average(kind).values(), self.n_texts] for kind in ("macro", "weighted", "micro")]
        figures = format_table(rows, header=["label", "precision", "recall", "f1", "texts"])
        matrix = format_table([[name, *map(int, row)] for name, row in zip(self.labels, self.confusion)],
                              header=["truth \\ predicted", *self.labels]) \
            if len(self.labels) <= MAX_MATRIX else self._mistakes()
        return (f"accuracy {self.accuracy:.4f} ({low:.4f} … {high:.4f} with 95% confidence), "
                f"{self.n_right:,} of {self.n_texts:,} right\n\n{figures}\n\n{matrix}")

    def _mistakes(self) -> str:
        """The most frequent mistakes, the commonest first."""
        wrong = self.confusion * ~np.eye(len(self.labels), dtype=bool)
        places = np.argsort(-wrong, axis=None, kind="stable")[:MAX_MATRIX]
        rows: list[list[str | int | float]] = [
            [self.labels[truth], self.labels[taken], int(wrong[truth, taken])]
            for truth, taken in zip(*np.unravel_index(places, wrong.shape)) if wrong[truth, taken]]
        return f"the most frequent mistakes of {len(self.labels):,} classes:\n" + format_table(
            rows, header=["truth", "predicted", "texts"])
