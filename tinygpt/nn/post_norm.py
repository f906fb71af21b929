"""Blocks whose norms come after the sums: the encoder's, and the decoder's, which looks at another sequence as well.

Post-norm is how the transformer was invented (Vaswani et al. 2017) and what BERT and BART have. T5's decoder has its
norms before the layers, as the book's block has.

Prerequisites: block.py. Next: cross_attention.py.
"""

from __future__ import annotations

from collections.abc import Callable

from ..autograd import Tensor
from .block import Block
from .dropout import Dropout
from .module import Module
from .sight import Sight

__all__ = ["CrossBlock", "PostNormBlock", "PreNormCrossBlock"]


class PostNormBlock(Block):
    """A block with its norms after the sums. Arguments as for `Block`."""

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        x = self.attention_norm(x + self.dropout(self.attention(x, sight)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class CrossBlock(Block):
    """A decoder's post-norm block: between the two layers it looks at what the encoder made of the source.

    Args:
        cross_attention: a CrossAttention. The others as for `Block`.
    """

    def __init__(self, attention: Module, cross_attention: Module, feed_forward: Module, norm: Callable[[], Module],
                 dropout: float = 0.0) -> None:
        self.attention_norm, self.attention = norm(), attention
        self.cross_attention_norm, self.cross_attention = norm(), cross_attention
        self.feed_forward_norm, self.feed_forward = norm(), feed_forward
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        x = self.attention_norm(x + self.dropout(self.attention(x, sight)))
        x = self.cross_attention_norm(x + self.dropout(self.cross_attention(x, sight)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class PreNormCrossBlock(CrossBlock):
    """A decoder's block with a norm before each of the three layers. Arguments as for `CrossBlock`."""

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), sight))
        x = x + self.dropout(self.cross_attention(self.cross_attention_norm(x), sight))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
