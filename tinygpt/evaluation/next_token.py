"""How well a decoder predicts a text: what language_modeling.py measures, and how often its first choice is right.

Prerequisites: language_modeling.py, likelihood.py. Next: masked_words.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import all_windows
from ..models import CausalLM
from .language_modeling import TextLoss
from .likelihood import predict_targets
from .running import Track, evaluating, untracked

__all__ = ["NextToken", "predict_text"]


@dataclass(frozen=True)
class NextToken(TextLoss):
    """What predicting a text came to.

    Attributes:
        n_right: how many tokens were the likeliest one.
    """

    n_right: int

    @property
    def accuracy(self) -> float:
        """The share of tokens that were the likeliest one."""
        return self.n_right / self.n_tokens

    def to_dict(self) -> dict[str, int | float | None]:
        """The figures by name; bits per byte are None where no bytes were counted."""
        return {"loss": self.loss, "perplexity": self.perplexity,
                "bits_per_byte": self.bits_per_byte if self.n_bytes else None, "accuracy": self.accuracy,
                "n_tokens": self.n_tokens, "n_bytes": self.n_bytes}


def predict_text(model: CausalLM, tokens: np.ndarray, *, lengths: np.ndarray | None = None,
                 batch_size: int = 32, track: Track = untracked) -> NextToken:
    """Predict every token of a text but the first, once, in windows of the model's context side by side.

    Args:
        model: a decoder; switched to `eval` for the time being.
        tokens: (N,) ids, N >= 2.
        lengths: from `byte_lengths`, to count bytes.
        batch_size: windows read at once.
        track: watches the batches.
    """
    nats, n_tokens, n_right = 0.0, 0, 0
    block_size = model.config.block_size
    n_batches = -(-(len(tokens) - 1) // (block_size * batch_size))
    with evaluating(model):
        for batch in track(all_windows(tokens, block_size, batch_size), n_batches):
            costs, first = predict_targets(model, batch["ids"], batch["targets"])
            nats += float(costs.sum())
            n_tokens += len(costs)
            n_right += int(first.sum())
    return NextToken(nats, n_tokens, 0 if lengths is None else int(lengths[np.asarray(tokens[1:])].sum()), n_right)
