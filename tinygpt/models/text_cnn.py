"""TextCNN: a label from the runs of words that a text holds, wherever they stand.

Kernels of several widths slide over the embeddings of the words; of each kernel only its largest answer in the whole
text counts (max over time), so a few telling words decide, and where they stand does not matter. Kim's CNN.

Shapes: B batch, T time, C channels of a word, F kernels of each width, K labels.

Prerequisites: bag.py, nn/convolution.py. Next: bert.py. Kim, "Convolutional neural networks for sentence
classification" (2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import to_device
from ..nn import Conv1d, Dropout, Embedding, Linear
from .base import PretrainedModel
from .config_base import Configuration
from .inputs import attention_mask_on, token_ids

__all__ = ["TextCNN", "TextCNNConfig"]

WIDTHS = (3, 4, 5)  # Kim's


@dataclass(frozen=True)
class TextCNNConfig(Configuration):
    """Kim's CNN.

    Args:
        vocab_size: V. block_size: the longest text, in tokens.
        n_embd: C. n_kernels: F, of each of the widths 3, 4 and 5.
        dropout: before the output, the probability of dropping.
        initializer_range: standard deviation of the initial embeddings.
        bos_token_id, eos_token_id, pad_token_id: ids inside the vocabulary, or None.
        n_labels, id2label: how many labels, and their names.
        problem_type: as for GPTConfig.

    Raises:
        ValueError, TypeError: an option outside its range.
    """

    vocab_size: int
    block_size: int = 256
    n_embd: int = 128
    n_kernels: int = 100
    architecture: str = "cnn"
    dropout: float = 0.5
    initializer_range: float = 0.1
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    head: str = "classification"
    n_labels: int = None               # type: ignore[assignment]
    id2label: dict[int, str] | None = None
    problem_type: str | None = None

    ARCHITECTURES: ClassVar = ("cnn",)
    HEADS: ClassVar = ("classification",)

    def __post_init__(self) -> None:
        self._check_choice("architecture", self.ARCHITECTURES)
        self._check_choice("head", self.HEADS)
        self._check_labels()
        self._check_size("vocab_size", "block_size", "n_embd", "n_kernels")
        self._check_number("dropout", 0.0, 1.0)
        self._check_number("initializer_range", 0.0)
        self._check_ids("bos_token_id", "eos_token_id", "pad_token_id")


class TextCNN(PretrainedModel):
    """Kim's CNN.

    Args:
        config: sizes.

    >>> model = TextCNN(TextCNNConfig(vocab_size=11, n_embd=8, n_kernels=4, n_labels=3))
    >>> model([[1, 2, 3]]).shape
    (1, 3)
    """

    config_class = TextCNNConfig
    config: TextCNNConfig

    def __init__(self, config: TextCNNConfig) -> None:
        c = self.config = config
        self.token_embedding = Embedding(c.vocab_size, c.n_embd, std=c.initializer_range)
        self.kernels = [Conv1d(c.n_embd, c.n_kernels, width, padding=width - 1) for width in WIDTHS]
        self.dropout = Dropout(c.dropout)
        self.classifier = Linear(len(WIDTHS) * c.n_kernels, c.n_labels)

    def features(self, ids: Any, attention_mask: Any = None) -> Tensor:
        """ids (B, T) -> the largest answer of each kernel, (B, 3F); arguments as for `forward`."""
        c = self.config
        ids = token_ids("TextCNN", ids, c.vocab_size, self.device)
        if ids.shape[1] > c.block_size:
            raise ValueError(f"TextCNN: a text of {ids.shape[1]} tokens does not fit the {c.block_size} tokens of "
                             "block_size")
        mask = attention_mask_on("TextCNN", attention_mask, ids.shape)
        x = self.activations(self.token_embedding(ids))
        if mask is not None:
            x = x * to_device(mask[..., None].astype(self.dtype), self.device)
        x = x.swapaxes(1, 2)  # (B, C, T)
        found = []
        for width, kernel in zip(WIDTHS, self.kernels):
            answers = ops.relu(kernel(x))  # (B, F, T + width − 1)
            if mask is not None:  # where a kernel sees nothing but padding, it has no answer
                windows = np.lib.stride_tricks.sliding_window_view(
                    np.pad(mask, ((0, 0), (width - 1, width - 1))), width, axis=1)  # (B, T + width − 1, width)
                seen = np.asarray(windows.any(axis=-1))
                answers = ops.where(to_device(seen[:, None], self.device), answers, -math.inf)
            found.append(ops.max(answers, axis=2))
        return ops.concatenate(found, axis=1)

    def forward(self, ids: Any, attention_mask: Any = None) -> Tensor:
        """Scores of the labels, (B, K).

        Args:
            ids: (B, T) integers.
            attention_mask: (B, T), 1 at tokens and 0 at padding.

        Raises:
            ValueError: a text longer than `block_size`, or shapes that do not fit.
            IndexError: an id outside the vocabulary.
        """
        return self.classifier(self.dropout(self.features(ids, attention_mask)))
