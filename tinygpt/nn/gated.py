"""Feed-forward layers as the whole program runs them, and the gated one of Llama's layout.

What lies between the matrices is one operation here, not two or three (ops/feedforward.py): a twin can then add the
bias, activate and multiply in one pass. The numbers are those of the book's layer.

Prerequisites: feedforward.py, ops/feedforward.py. Next: post_norm.py. Shazeer, "GLU variants improve Transformer"
(2020).
"""

from __future__ import annotations

from ..autograd import Tensor
from ..ops.feedforward import gated_activation, linear_activation
from .feedforward import FeedForward
from .linear import Linear

__all__ = ["FusedFeedForward", "GatedFeedForward"]


class FusedFeedForward(FeedForward):
    """The book's layer, with bias and activation in one operation. Takes the place of `FeedForward`."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        up = self.up
        if type(up) is not Linear:  # with an adapter, say, which comes before the activation
            return super().forward(x)
        return self.down(linear_activation(x, up.weight, up.bias, activation=self.activation))


class GatedFeedForward(FeedForward):
    """down(activation(gate(x)) · up(x)), which is SwiGLU for silu. Arguments as for `FeedForward`."""

    def _widen(self, n_embd: int, n_inner: int, bias: bool, std: float) -> None:
        self.gate = Linear(n_embd, n_inner, bias=bias, std=std)
        self.up = Linear(n_embd, n_inner, bias=bias, std=std)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return self.down(gated_activation(self.gate(x), self.up(x), activation=self.activation))
