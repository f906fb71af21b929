"""How well a model predicts a text: loss, perplexity, and bits per byte.

Every token of the text but the first is predicted exactly once, in windows side by side, so the figure has no sampling
noise. The loss in nats per token depends on how long the tokens are; bits per byte do not, and can be compared between
tokenizers.

Prerequisites: running.py, data/sampler.py, models/gpt.py. Next: likelihood.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..blas import chooses_threads
from ..data import IGNORE, all_windows
from ..nn import Module
from ..tokenizers import Tokenizer
from .running import side_by_side

__all__ = ["TextLoss", "byte_lengths", "text_loss", "total_loss"]

# (model, batch) -> the sum of the losses of the batch's targets in nats, a Tensor (); training/losses.py has them
_Loss = Callable[[Any, dict[str, np.ndarray]], Any]


@dataclass(frozen=True)
class TextLoss:
    """What predicting a text cost.

    Attributes:
        nats: the sum of −log p over all predicted tokens.
        n_tokens: how many they are.
        n_bytes: how many bytes of UTF-8 they stand for; special tokens for none.
    """

    nats: float
    n_tokens: int
    n_bytes: int

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nats / self.n_tokens

    @property
    def perplexity(self) -> float:
        """e^loss: among how many equally likely tokens it was as hard to choose."""
        return math.exp(self.loss) if self.loss < 700 else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte of text; infinite for a text of no bytes."""
        return self.nats / math.log(2) / self.n_bytes if self.n_bytes else math.inf


def byte_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """(V,): how many bytes of text each id stands for; 0 for special tokens."""
    special = set(tokenizer.special_tokens.values())
    return np.array([0 if i in special else len(tokenizer.token_bytes(i)) for i in range(len(tokenizer))])


def total_loss(model: Module, batches: Iterable[dict[str, np.ndarray]], *, loss: _Loss,
               keep_going: Callable[[], bool] = lambda: True, workers: int = 1) -> tuple[float, int]:
    """(the sum of the losses of all batches in nats, how many targets it is over).

    Args:
        model: switched to `eval` for the time being.
        batches: with "targets", of which those of −100 do not count.
        loss: of a batch, a sum; `training.losses.language_loss`, say.
        keep_going: asked after each batch; False breaks off.
        workers: how many batches are read at the same time.
    """
    @chooses_threads
    def cost(model: Module, targets: np.ndarray, batch: dict[str, np.ndarray]) -> tuple[float, int]:
        return float(loss(model, batch)), int((targets != IGNORE).sum())

    nats, n_targets = 0.0, 0
    for more, n in side_by_side(lambda batch: cost(model, batch["targets"], batch), model, batches, workers):
        nats, n_targets = nats + more, n_targets + n
        if not keep_going():
            break
    return nats, n_targets


def text_loss(model: Module, tokens: np.ndarray, block_size: int, *, loss: _Loss, batch_size: int = 32,
              lengths: np.ndarray | None = None, keep_going: Callable[[], bool] = lambda: True,
              workers: int = 1) -> TextLoss:
    """Predict every token of a text but the first.

    Args:
        model: switched to `eval` for the time being.
        tokens: (N,) ids.
        block_size: how many tokens it sees at most; each window starts without a past.
        loss: of a batch of windows; `training.losses.language_loss` for a decoder.
        batch_size: windows read at once.
        lengths: from `byte_lengths`, to count bytes.
        keep_going: asked after each batch; False breaks off.
        workers: how many batches are read at the same time.
    """
    nats, n_tokens = total_loss(model, all_windows(tokens, block_size, batch_size), loss=loss, keep_going=keep_going,
                                workers=workers)
    counted = np.asarray(tokens[1:n_tokens + 1])
    return TextLoss(nats, n_tokens, 0 if lengths is None else int(lengths[counted].sum()))
