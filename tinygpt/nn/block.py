"""Block: attention, then a feed-forward network, each added to what it was given.

The sums are the residual stream: every layer reads it and adds to it, and gradients flow back along it undiminished.
A norm stands before each layer (pre-norm, as in GPT-2 and Llama), so that the stream itself is never scaled.

Prerequisites: feedforward.py. Next: models/gpt.py.
"""

from __future__ import annotations

from collections.abc import Callable

from ..autograd.tensor import Tensor
from .dropout import Dropout
from .module import Module
from .sight import Sight

__all__ = ["Block"]


class Block(Module):
    """One block of the transformer.

    Args:
        attention, feed_forward: the two layers.
        norm: () -> a new norm over the channels.
        dropout: rate at which elements of what each layer adds are dropped.
    """

    def __init__(self, attention: Module, feed_forward: Module, norm: Callable[[], Module],
                 dropout: float = 0.0) -> None:
        self.attention_norm, self.attention = norm(), attention
        self.feed_forward_norm, self.feed_forward = norm(), feed_forward
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), sight))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
