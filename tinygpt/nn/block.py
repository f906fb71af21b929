"""TransformerBlock: attention, then a feed-forward network, each added to what it was given.

The sums are the residual stream: every layer reads it and adds to it, and gradients flow back along it undiminished.
Where the norm stands makes two families: before each layer (pre-norm: GPT-2, Llama), or after each sum (post-norm:
Vaswani et al. 2017, BERT).

Prerequisites: feedforward.py. Next: models/gpt.py.
"""

from __future__ import annotations

from ..autograd import Tensor
from ..backend import Array
from .attention import MultiHeadAttention
from .cache import LayerCache
from .dropout import Dropout
from .feedforward import FeedForward
from .module import Module
from .normalization import make_norm
from .positional import RotaryPositions

__all__ = ["TransformerBlock"]


class TransformerBlock(Module):
    """One block of any of the families.

    Args:
        n_embd, n_head, n_inner: C, H, and the feed-forward's width.
        n_kv_head, head_dim: as for MultiHeadAttention.
        activation, gated: as for FeedForward.
        norm: "layer" or "rms". norm_first: pre-norm or post-norm. norm_epsilon: added to the variance.
        bias: biases everywhere, or nowhere.
        dropout: rate for attention weights and for what each layer adds.
        cross: a second attention layer, over an encoder's output.
        std, out_std: standard deviation of the initial weights, and of those that write to the residual stream.
    """

    def __init__(self, n_embd: int, n_head: int, n_inner: int, *, n_kv_head: int | None = None,
                 head_dim: int | None = None, activation: str = "gelu", gated: bool = False, norm: str = "layer",
                 norm_first: bool = True, norm_epsilon: float = 1e-5, bias: bool = True, dropout: float = 0.0,
                 cross: bool = False, std: float = 0.02, out_std: float | None = None) -> None:
        self.norm_first = norm_first

        def attention(cross: bool) -> MultiHeadAttention:
            return MultiHeadAttention(n_embd, n_head, n_kv_head=n_kv_head, head_dim=head_dim, bias=bias,
                                      dropout=dropout, cross=cross, std=std, out_std=out_std)

        self.attention_norm = make_norm(norm, n_embd, bias=bias, epsilon=norm_epsilon)
        self.attention = attention(cross=False)
        if cross:
            self.cross_attention_norm = make_norm(norm, n_embd, bias=bias, epsilon=norm_epsilon)
            self.cross_attention = attention(cross=True)
        self.feed_forward_norm = make_norm(norm, n_embd, bias=bias, epsilon=norm_epsilon)
        self.feed_forward = FeedForward(n_embd, n_inner, activation=activation, gated=gated, bias=bias, std=std,
                                        out_std=out_std)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, *, mask: Array | None = None, causal: bool = False,
                rotary: RotaryPositions | None = None, angles: tuple[Array, Array] | None = None,
                memory: Tensor | None = None, memory_mask: Array | None = None,
                cache: LayerCache | None = None) -> Tensor:
        """x (B, T, C) -> (B, T, C). With cross attention, `memory` (B, S, C) and its mask over (B, H, T, S) too."""
        x = self._add(x, self.attention_norm, lambda h: self.attention(
            h, mask=mask, causal=causal, rotary=rotary, angles=angles, cache=cache))
        if hasattr(self, "cross_attention"):
            x = self._add(x, self.cross_attention_norm, lambda h: self.cross_attention(
                h, memory=memory, mask=memory_mask, cache=cache))
        return self._add(x, self.feed_forward_norm, self.feed_forward)

    def _add(self, x: Tensor, norm: Module, layer) -> Tensor:
        """x + layer(norm(x)), or norm(x + layer(x))."""
        if self.norm_first:
            return x + self.dropout(layer(norm(x)))
        return norm(x + self.dropout(layer(x)))
