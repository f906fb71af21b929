"""The baseline for labelling texts: count words, forget their order.

Multinomial naive Bayes takes a text for a heap of words that its class has drawn independently, so

    log p(class | text) = log p(class) + Σ over words  log p(word | class)  + what is the same for every class

with p(word | class) counted, one added to every count so that no word rules a class out. Nothing is trained by
gradient, it takes no time, and a model that does not beat it has learnt nothing from the order of words.

Shapes: K classes, W words, N texts.

Prerequisites: words.py, classification.py. Next: labelling.py. Maron, "Automatic indexing" (1961); McCallum and Nigam,
"A comparison of event models for naive Bayes text classification" (1998).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .words import words

__all__ = ["NaiveBayes"]

MAX_COUNTS = 1 << 26  # 512 MB


class NaiveBayes:
    """Multinomial naive Bayes over words.

    Args:
        texts, labels: to count from.

    Attributes:
        labels: the K names, sorted.

    Raises:
        ValueError: no texts, or not one label for each; words times classes are more than MAX_COUNTS.

    >>> NaiveBayes(["win a prize now", "see you at home"], ["spam", "ham"]).predict(["a prize for you, now"])
    ['spam']
    """

    def __init__(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        if not texts or len(texts) != len(labels):
            raise ValueError(f"naive Bayes needs texts and one label for each, got {len(texts)} texts and "
                             f"{len(labels)} labels")
        self.labels = sorted(set(labels))
        number_of = {label: number for number, label in enumerate(self.labels)}
        numbers = np.array([number_of[label] for label in labels])
        split = [words(text) for text in texts]
        self._places = {word: place for place, word in enumerate(dict.fromkeys(w for found in split for w in found))}
        if len(self._places) * len(self.labels) > MAX_COUNTS:
            raise ValueError(f"naive Bayes counts {len(self._places):,} words in {len(self.labels):,} classes, and its "
                             f"table may have at most {MAX_COUNTS:,} numbers; give it fewer texts")
        counts = np.ones((len(self._places), len(self.labels)))  # (W, K), one of each to begin with
        for found, number in zip(split, numbers):
            np.add.at(counts[:, number], [self._places[word] for word in found], 1)
        self._log_words = np.log(counts / counts.sum(axis=0)) if len(counts) else counts
        self._log_classes = np.log(np.bincount(numbers) / len(numbers))  # (K,)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The likeliest label of each text; words that were never counted say nothing."""
        found = []
        for text in texts:
            known = [self._places[word] for word in words(text) if word in self._places]
            found.append(self.labels[int((self._log_classes + self._log_words[known].sum(axis=0)).argmax())])
        return found
