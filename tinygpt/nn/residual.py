"""Further blocks: the two layers of `Block`, with norms and sums in other places.

    BranchNormBlock   x + norm(attention(x)), then x + norm(feed_forward(x))              OLMo 2
    SandwichBlock     x + norm(attention(norm(x))), and the feed-forward likewise         Gemma 3
    ParallelBlock     x + attention(norm(x)) + feed_forward(norm(x))                      GPT-NeoX

Prerequisites: block.py. Next: normed_attention.py. OLMo team, "2 OLMo 2 furious" (2025); Gemma team, "Gemma 3" (2025);
Wang and Komatsuzaki, "GPT-J-6B" (2021), where both layers read the same x.
"""

from __future__ import annotations

from collections.abc import Callable

from ..autograd import Tensor
from .block import Block
from .module import Module
from .sight import Sight

__all__ = ["BranchNormBlock", "ParallelBlock", "SandwichBlock"]


class BranchNormBlock(Block):
    """A block whose norms are applied to what each layer adds. Arguments as for `Block`."""

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        x = x + self.dropout(self.attention_norm(self.attention(x, sight)))
        return x + self.dropout(self.feed_forward_norm(self.feed_forward(x)))


class SandwichBlock(Block):
    """A block with norms before each layer and behind it. Arguments as for `Block`."""

    def __init__(self, attention: Module, feed_forward: Module, norm: Callable[[], Module],
                 dropout: float = 0.0) -> None:
        super().__init__(attention, feed_forward, norm, dropout)
        self.attention_out_norm, self.feed_forward_out_norm = norm(), norm()

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        x = x + self.dropout(self.attention_out_norm(self.attention(self.attention_norm(x), sight)))
        return x + self.dropout(self.feed_forward_out_norm(self.feed_forward(self.feed_forward_norm(x))))


class ParallelBlock(Block):
    """A block whose two layers read the same x. Arguments as for `Block`."""

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        return (x + self.dropout(self.attention(self.attention_norm(x), sight))
                + self.dropout(self.feed_forward(self.feed_forward_norm(x))))
