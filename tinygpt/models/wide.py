"""WideClassifier: a bag of words and a convolution, whose scores are added. The default where a classifier begins anew.

The bag is right where single words tell the label, and needs few texts for it; the convolution sees that "not" stands
two words before "boring". They are trained together. Words and pairs are dropped at random, or the bag would soon know
the training texts by heart and leave the convolution nothing to learn.

Prerequisites: bag.py, text_cnn.py. Next: bert.py. Cheng et al., "Wide & deep learning for recommender systems" (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ..autograd import Tensor
from .bag import BagClassifier, BagConfig
from .base import PretrainedModel
from .text_cnn import TextCNN, TextCNNConfig

__all__ = ["WideClassifier", "WideConfig"]


@dataclass(frozen=True)
class WideConfig(TextCNNConfig):
    """A bag of words and pairs, and Kim's CNN.

    Args:
        n_buckets: of the bag's pairs, as for BagConfig. The others are as for TextCNNConfig; dropout is both's.
    """

    n_buckets: int = 1 << 16
    architecture: str = "wide"

    ARCHITECTURES: ClassVar = ("wide",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_size("n_buckets")

    def part(self, kind: type[BagConfig] | type[TextCNNConfig], **changes: Any) -> Any:
        """The configuration of one of the two."""
        names = {field.name for field in fields(kind)} - {"architecture"}
        return kind(**{name: value for name, value in self.to_dict().items() if name in names} | changes)


class WideClassifier(PretrainedModel):
    """Both, added.

    Args:
        config: sizes.

    >>> model = WideClassifier(WideConfig(vocab_size=11, n_embd=8, n_kernels=4, n_labels=3))
    >>> model([[1, 2, 3]]).shape
    (1, 3)
    """

    config_class = WideConfig
    config: WideConfig

    def __init__(self, config: WideConfig) -> None:
        self.config = config
        self.bag = BagClassifier(config.part(BagConfig))
        self.cnn = TextCNN(config.part(TextCNNConfig))

    def count(self, rows: Sequence[np.ndarray], labels: Sequence[int], share: float) -> None:
        """As for BagClassifier."""
        self.bag.count(rows, labels, share)

    def forward(self, ids: Any, attention_mask: Any = None) -> Tensor:
        """Scores of the labels, (B, K); arguments and errors as for TextCNN."""
        return self.bag(ids, attention_mask) + self.cnn(ids, attention_mask)
