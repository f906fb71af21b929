"""The baselines for labelling texts: count words and pairs of words, forget their order.

Multinomial naive Bayes takes a text for a heap of words that its class has drawn independently, so

    log p(class | text) = log p(class) + Σ over words  log p(word | class)  + what is the same for every class

with p(word | class) counted, one added to every count so that no word rules a class out. Nothing is trained by
gradient, it takes no time, and a model that does not beat it has learnt nothing from the order of words.

Logistic regression looks for such scores itself: those that make the labels of the training texts likeliest.

Shapes: B texts at once, T words and pairs of a text, K classes, W different words and pairs, N texts.

Prerequisites: words.py, classification.py. Next: labelling.py. Maron, "Automatic indexing" (1961); McCallum and Nigam,
"A comparison of event models for naive Bayes text classification" (1998).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import ops
from ..autograd import Tensor, no_grad
from ..data import pad
from ..nn import Embedding, Module, Parameter
from ..optim import AdamW, cosine_schedule
from .words import runs, words

__all__ = ["LogisticRegression", "NaiveBayes", "baselines"]

MAX_COUNTS = 1 << 26  # 512 MB
MAX_TEXTS = 50_000
EPOCHS, BATCH, LR = 6, 32, 0.03


class _Heap:
    """Texts as heaps of words, and of pairs of neighbours where that is asked for; the labels and their numbers."""

    def __init__(self, texts: Sequence[str], labels: Sequence[str], pairs: bool, name: str) -> None:
        if not texts or len(texts) != len(labels):
            raise ValueError(f"{name} needs texts and one label for each, got {len(texts)} texts and "
                             f"{len(labels)} labels")
        self.pairs, self.labels = pairs, sorted(set(labels))
        number_of = {label: number for number, label in enumerate(self.labels)}
        self.numbers = np.array([number_of[label] for label in labels])
        split = [self.split(text) for text in texts]
        self.places = {word: place for place, word in enumerate(dict.fromkeys(w for found in split for w in found))}
        if len(self.places) * len(self.labels) > MAX_COUNTS:
            raise ValueError(f"{name} counts {len(self.places):,} words in {len(self.labels):,} classes, and its "
                             f"table may have at most {MAX_COUNTS:,} numbers; give it fewer texts")
        self.rows = [[self.places[word] for word in found] for found in split]

    def split(self, text: str) -> list[str | tuple[str, str]]:
        """The words of a text, and its pairs."""
        found = words(text)
        return [*found, *runs(found, 2)] if self.pairs else [*found]

    def known(self, text: str) -> list[int]:
        """The places of those that the training texts have."""
        return [self.places[word] for word in self.split(text) if word in self.places]


class NaiveBayes:
    """Multinomial naive Bayes over words.

    Args:
        texts, labels: to count from.
        pairs: count pairs of neighbouring words too.

    Attributes:
        labels: the K names, sorted.

    Raises:
        ValueError: no texts, or not one label for each; words times classes are more than MAX_COUNTS.

    >>> NaiveBayes(["win a prize now", "see you at home"], ["spam", "ham"]).predict(["a prize for you, now"])
    ['spam']
    """

    def __init__(self, texts: Sequence[str], labels: Sequence[str], *, pairs: bool = False) -> None:
        heap = self._heap = _Heap(texts, labels, pairs, "naive Bayes")
        self.labels = heap.labels
        counts = np.ones((len(heap.places), len(self.labels)))  # (W, K), one of each to begin with
        for row, number in zip(heap.rows, heap.numbers):
            np.add.at(counts[:, number], row, 1)
        self._log_words = np.log(counts / counts.sum(axis=0)) if len(counts) else counts
        self._log_classes = np.log(np.bincount(heap.numbers) / len(heap.numbers))  # (K,)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The likeliest label of each text; words that were never counted say nothing."""
        scores = (self._log_classes + self._log_words[self._heap.known(text)].sum(axis=0) for text in texts)
        return [self.labels[int(score.argmax())] for score in scores]


class _Scores(Module):
    """The sum of the rows of a table, and a bias: ids (B, T), of which the last of the table is padding -> (B, K)."""

    def __init__(self, n_words: int, n_labels: int) -> None:
        self.table = Embedding(n_words + 1, n_labels, std=0.0)
        self.bias = Parameter(np.zeros(n_labels, dtype=np.float32))

    def forward(self, ids: np.ndarray) -> Tensor:
        counted = (ids != len(self.table.weight.data) - 1)[..., None].astype(np.float32)
        return ops.sum(self.table(ids) * counted, axis=1) + self.bias


class LogisticRegression:
    """Multinomial logistic regression over words and pairs of words, trained by AdamW.

    Args, Attributes, Raises: as for NaiveBayes.
        seed: of the order of the texts.

    >>> LogisticRegression(["win a prize now", "see you at home"], ["spam", "ham"]).predict(["a prize for you, now"])
    ['spam']
    """

    def __init__(self, texts: Sequence[str], labels: Sequence[str], *, pairs: bool = True, seed: int = 0) -> None:
        heap = self._heap = _Heap(texts, labels, pairs, "logistic regression")
        self.labels, n = heap.labels, len(texts)
        self._model = _Scores(len(heap.places), len(self.labels))
        optimizer, rng = AdamW(self._model, lr=LR, betas=(0.9, 0.99), weight_decay=0.0), np.random.default_rng(seed)
        order = np.concatenate([rng.permutation(n) for _ in range(EPOCHS)])
        steps = -(-len(order) // BATCH)
        for step in range(steps):
            some = order[step * BATCH:(step + 1) * BATCH]
            loss = ops.cross_entropy(self._model(self._padded([heap.rows[i] for i in some])), heap.numbers[some])
            loss.backward()
            optimizer.step(lr=cosine_schedule(step, max_lr=LR, min_lr=LR / 10, warmup_steps=steps // 50,
                                              total_steps=steps))
            optimizer.zero_grad()

    def _padded(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        ids = pad(rows, len(self._heap.places))
        return ids if ids.shape[1] else np.full((len(rows), 1), len(self._heap.places))

    @no_grad()
    def predict(self, texts: Sequence[str]) -> list[str]:
        """The likeliest label of each text; words that were never counted say nothing."""
        rows, found = [self._heap.known(text) for text in texts], list[int]()
        for start in range(0, len(rows), BATCH):
            found += self._model(self._padded(rows[start:start + BATCH])).data.argmax(axis=1).tolist()
        return [self.labels[number] for number in found]


def baselines(train: tuple[Sequence[str], Sequence[str]], texts: Sequence[str],
              labels: Sequence[str]) -> dict[str, float]:
    """The accuracy of what only counts, by name: the bar for a network.

    Args:
        train: texts and their labels, to count from. Of more than MAX_TEXTS there is no logistic regression, which
            would take long.
        texts, labels: to be labelled.
    """
    rivals: dict[str, Callable[[], NaiveBayes | LogisticRegression]] = {
        "naive Bayes over words": lambda: NaiveBayes(*train),
        "naive Bayes over words and pairs": lambda: NaiveBayes(*train, pairs=True)}
    if len(train[0]) <= MAX_TEXTS:
        rivals["logistic regression over words and pairs"] = lambda: LogisticRegression(*train)
    found = {}
    for name, count in rivals.items():
        try:
            found[name] = float(np.mean([a == b for a, b in zip(count().predict(texts), labels)]))
        except ValueError:  # their tables would be too large
            continue
    return found
