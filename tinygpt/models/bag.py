"""BagClassifier: a label from the words and pairs of neighbouring words that a text has.

Every word has a score for each label, and so has every pair of neighbours; a text's scores are their sums, times
a constant. This is
logistic regression over counts, as a network: the scores are two tables of embeddings. Where texts are few and nothing
was trained before, it is hard to beat. The tables may begin with the scores of naive Bayes (`count`), and training goes
on from there.

Pairs have no table of their own kind: two ids give one of `n_buckets` rows, and pairs that meet there share it.

Shapes: B batch, T time, V vocabulary, P buckets, K labels.

Prerequisites: inputs.py, base.py. Next: text_cnn.py. Wang and Manning, "Baselines and bigrams" (2012); Joulin et al.,
"Bag of tricks for efficient text classification" (2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import to_device, to_numpy
from ..nn import Dropout, Embedding, Parameter
from .base import PretrainedModel
from .config_base import Configuration
from .inputs import attention_mask_on, token_ids

__all__ = ["BagClassifier", "BagConfig", "buckets_for"]

GAIN = 10.0  # a step of AdamW moves all weights alike, and scores of rare words have to move further than others
MAX_SCORES = 1 << 22  # of the table of pairs: 16 MB


@dataclass(frozen=True)
class BagConfig(Configuration):
    """A bag of words and pairs.

    Args:
        vocab_size: V. block_size: the longest text, in tokens.
        n_buckets: P.
        dropout: the probability that a word or a pair is left out of a text in training.
        bos_token_id, eos_token_id, pad_token_id: ids inside the vocabulary, or None.
        n_labels, id2label: how many labels, and their names.
        problem_type: as for GPTConfig.

    Raises:
        ValueError, TypeError: an option outside its range.
    """

    vocab_size: int
    block_size: int = 256
    n_buckets: int = 1 << 16
    architecture: str = "bag"
    dropout: float = 0.0
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    head: str = "classification"
    n_labels: int = None               # type: ignore[assignment]
    id2label: dict[int, str] | None = None
    problem_type: str | None = None

    ARCHITECTURES: ClassVar = ("bag",)
    HEADS: ClassVar = ("classification",)

    def __post_init__(self) -> None:
        self._check_choice("architecture", self.ARCHITECTURES)
        self._check_choice("head", self.HEADS)
        self._check_labels()
        self._check_size("vocab_size", "block_size", "n_buckets")
        self._check_number("dropout", 0.0, 1.0)
        self._check_ids("bos_token_id", "eos_token_id", "pad_token_id")


def _pairs(ids: np.ndarray, n_buckets: int) -> np.ndarray:
    """The buckets of neighbours: (…, T) -> (…, T − 1)."""
    return (ids[..., :-1] * 1_000_003 + ids[..., 1:] * 611_953) % n_buckets


def buckets_for(rows: Sequence[np.ndarray], n_labels: int) -> int:
    """How many buckets these texts want: for every different pair four at least, within MAX_SCORES scores.

    Pairs that meet in a bucket blur each other's scores: on SST-2 naive Bayes loses two points with one or two buckets
    a pair, and one with four.
    """
    ends = (np.asarray(row, dtype=np.int64) for row in rows)
    n = len(np.unique(np.concatenate([row[:-1] << 32 | row[1:] for row in ends])))
    return max(1, min(4 << n.bit_length(), MAX_SCORES // n_labels))


class BagClassifier(PretrainedModel):
    """Scores of words and pairs, summed.

    Args:
        config: sizes.

    >>> model = BagClassifier(BagConfig(vocab_size=11, n_labels=3, n_buckets=8))
    >>> model([[1, 2, 3]]).shape
    (1, 3)
    """

    config_class = BagConfig
    config: BagConfig

    def __init__(self, config: BagConfig) -> None:
        c = self.config = config
        self.words = Embedding(c.vocab_size, c.n_labels, std=0.0)
        self.pairs = Embedding(c.n_buckets, c.n_labels, std=0.0)
        self.bias = Parameter(np.zeros(c.n_labels, dtype=np.float32))
        self.dropout = Dropout(c.dropout)

    def count(self, rows: Sequence[np.ndarray], labels: Sequence[int], share: float) -> None:
        """Begin with the scores of multinomial naive Bayes over these texts, times `share`.

        log p(word | label), one added to every count, less its mean over the labels; and log p(label) as the bias.
        The whole of them counts a text's words as independent, which they are not, and is far too sure; a share begins
        on the right side and leaves the rest to training.

        Args:
            rows: ids of each text. labels: their numbers.
        """
        c = self.config
        for table, found in ((self.words, rows), (self.pairs, [_pairs(np.asarray(row), c.n_buckets) for row in rows])):
            counts = np.ones(table.weight.shape)
            for row, label in zip(found, labels):
                np.add.at(counts[:, label], row, 1)
            scores = np.log(counts / counts.sum(axis=0))
            self._set(table.weight, share / GAIN * (scores - scores.mean(axis=1, keepdims=True)))
        shares = np.log(np.bincount(labels, minlength=c.n_labels) + 1.0)
        self._set(self.bias, share / GAIN * (shares - shares.mean()))

    def _set(self, parameter: Parameter, values: np.ndarray) -> None:
        parameter.data = to_device(values.astype(parameter.dtype), parameter.device)

    def forward(self, ids: Any, attention_mask: Any = None) -> Tensor:
        """Scores of the labels, (B, K).

        Args:
            ids: (B, T) integers.
            attention_mask: (B, T), 1 at tokens and 0 at padding.

        Raises:
            ValueError: a text longer than `block_size`, or shapes that do not fit.
            IndexError: an id outside the vocabulary.
        """
        c = self.config
        found = to_numpy(token_ids("BagClassifier", ids, c.vocab_size, self.device))
        if found.shape[1] > c.block_size:
            raise ValueError(f"BagClassifier: a text of {found.shape[1]} tokens does not fit the {c.block_size} tokens "
                             "of block_size")
        mask = attention_mask_on("BagClassifier", attention_mask, found.shape)
        mask = np.ones(found.shape, dtype=bool) if mask is None else mask
        scores = self._sum(self.words, found, mask) + self.bias \
            + self._sum(self.pairs, _pairs(found, c.n_buckets), mask[:, :-1] & mask[:, 1:])
        return scores * GAIN

    def _sum(self, table: Embedding, ids: np.ndarray, mask: np.ndarray) -> Tensor:
        """(B, T) -> the sum of their rows, (B, K), where the mask is true."""
        counted = self.dropout(Tensor(to_device(mask[..., None].astype(self.dtype), self.device)))
        return ops.sum(table(to_device(ids, self.device)) * counted, axis=1)
