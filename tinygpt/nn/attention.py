"""Attention: each token asks all others a question, and takes home the answers that fit.

From every token come three vectors a head: a query (what am I looking for?), a key (what do I have?) and a value (what
do I give?). ops/attention.py compares queries with keys and takes the mean of the values; this layer has the matrices
before and after it.

Shapes: B batch, T time, S source time (all tokens that keys are computed from), C channels, H heads, D head size.

Prerequisites: sight.py. Next: feedforward.py. Vaswani et al. (2017), section 3.2.2.
"""

from __future__ import annotations

from typing import Any

from ..autograd.tensor import Tensor
from ..ops.attention import merge_heads, scaled_dot_product_attention, split_heads
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .sight import Sight

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(Module):
    """Attention with H heads of size D over C channels.

    Args:
        n_embd: C. n_head: H.
        n_kv_head: heads of keys and values, a divisor of H; H by default.
        head_dim: D; C / H by default.
        bias: biases on all projections.
        dropout: rate at which attention weights are dropped.
        std, out_std: standard deviation of the initial weights, and of the output projection's.

    Attributes:
        qkv: Linear from C to queries, keys and values, in this order.
        out: Linear from the H heads back to C.
    """

    def __init__(self, n_embd: int, n_head: int, *, n_kv_head: int | None = None, head_dim: int | None = None,
                 bias: bool = True, dropout: float = 0.0, std: float = 0.02, out_std: float | None = None) -> None:
        if head_dim is None and n_embd % n_head:
            raise ValueError(f"MultiHeadAttention: n_embd={n_embd} is not divisible by n_head={n_head}")
        self.n_head, self.n_kv_head, self.head_dim = n_head, n_kv_head or n_head, head_dim or n_embd // n_head
        if n_head % self.n_kv_head:
            raise ValueError(f"MultiHeadAttention: n_head={n_head} is not divisible by n_kv_head={self.n_kv_head}")
        self._project(n_embd, bias, std)
        self.out = Linear(n_head * self.head_dim, n_embd, bias=bias, std=std if out_std is None else out_std)
        self.weights_dropout = Dropout(dropout)

    def _project(self, n_embd: int, bias: bool, std: float) -> None:
        """Make the matrices that queries, keys and values come from: one for all three, a single product."""
        self.qkv = Linear(n_embd, (self.n_head + 2 * self.n_kv_head) * self.head_dim, bias=bias, std=std)

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        q, k, v = split_heads(self.qkv(x), heads=(self.n_head, self.n_kv_head, self.n_kv_head))  # (B, H, T, D)
        q, k, v = sight.of(self, q, k, v)  # k and v (B, Hkv, S, D)
        heads = scaled_dot_product_attention(q, k, v, sight.bias, causal=sight.causal, **self.dropped())  # (B, H, T, D)
        return self.out(merge_heads(heads))  # (B, T, C)

    def dropped(self) -> dict[str, Any]:
        """The rate at which attention weights are dropped now, and the name of the mask."""
        layer = self.weights_dropout
        return {"dropout": layer.p, "key": layer.next_key()} if layer.active else {}
