"""Attention with the options of later models: norms of queries and keys, a scale of its own, no bias on the output.

A query and a key that grow make the softmax sharp and training unstable; a norm keeps their sizes in bounds, whatever
the matrices learn.

Shapes: B batch, T time, C channels, H heads, D head size.

Prerequisites: attention.py. Next: cross_attention.py. Henry et al., "Query-key normalization for transformers" (2020).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..autograd import Tensor
from ..ops.attention import merge_heads, scaled_dot_product_attention, split_heads
from .attention import MultiHeadAttention
from .module import Module
from .sight import Sight

__all__ = ["NormedAttention"]


class NormedAttention(MultiHeadAttention):
    """Attention with further options.

    Args:
        n_embd, n_head: as for `MultiHeadAttention`, and all that is not listed here.
        norm: width -> a new norm of queries or keys; None for none.
        norm_of: "head": each head has D channels to be normalised, by weights that the heads share; "all": the channels
            of all heads are normalised together.
        scale: of the scores; 1/√D by default.
        out_bias: a bias on the output projection.

    Attributes:
        q_norm, k_norm: the norms, or None.
    """

    def __init__(self, n_embd: int, n_head: int, *, norm: Callable[[int], Module] | None = None, norm_of: str = "head",
                 scale: float | None = None, out_bias: bool = True, **options: Any) -> None:
        super().__init__(n_embd, n_head, **options)
        self.norm_of, self.scale = norm_of, scale
        q_heads, k_heads = (1, 1) if norm_of == "head" else (self.n_head, self.n_kv_head)
        self.q_norm = None if norm is None else norm(q_heads * self.head_dim)
        self.k_norm = None if norm is None else norm(k_heads * self.head_dim)
        if not out_bias:
            self.out.bias = None

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        q, k, v = self._queries_keys_values(self.qkv(x))
        q, k, v = sight.of(self, q, k, v)
        heads = scaled_dot_product_attention(q, k, v, sight.bias, causal=sight.causal, scale=self.scale,
                                             **self.dropped())  # (B, H, T, D)
        return self.out(merge_heads(heads))  # (B, T, C)

    def _queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, (H + 2 Hkv) D) -> (B, H, T, D), (B, Hkv, T, D) twice, queries and keys normalised."""
        heads = (self.n_head, self.n_kv_head, self.n_kv_head)
        if self.norm_of == "head" or self.q_norm is None or self.k_norm is None:
            q, k, v = split_heads(x, heads=heads)
            return (q, k, v) if self.q_norm is None or self.k_norm is None else (self.q_norm(q), self.k_norm(k), v)
        parts = ops.split(x, lengths=tuple(n * self.head_dim for n in heads), axis=-1)
        q, k, v = (split_heads(part, heads=(n,))[0] for part, n in
                   zip((self.q_norm(parts[0]), self.k_norm(parts[1]), parts[2]), heads))
        return q, k, v
