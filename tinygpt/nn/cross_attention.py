"""Cross attention: queries from one sequence, keys and values from another.

Prerequisites: attention.py, cache.py. Next: lora.py. Vaswani et al. (2017), section 3.2.3.
"""

from __future__ import annotations

from typing import Any

from ..autograd import Tensor
from ..ops.attention import merge_heads, scaled_dot_product_attention, split_heads
from .attention import MultiHeadAttention
from .cache import DecoderSight
from .linear import Linear
from .sight import Sight

__all__ = ["CrossAttention"]


class CrossAttention(MultiHeadAttention):
    """Attention over another sequence, the memory, that the sight brings along.

    Args:
        n_embd, n_head: as for `MultiHeadAttention`, and all that is not listed here.
        scale: of the scores; 1/√D by default.

    Attributes:
        q: Linear from C to queries. kv: Linear from C to keys and values, in this order. out: as for attention.
    """

    def __init__(self, n_embd: int, n_head: int, *, scale: float | None = None, **options: Any) -> None:
        super().__init__(n_embd, n_head, **options)
        self.scale = scale

    def _project(self, n_embd: int, bias: bool, std: float) -> None:
        self.q = Linear(n_embd, self.n_head * self.head_dim, bias=bias, std=std)
        self.kv = Linear(n_embd, 2 * self.n_kv_head * self.head_dim, bias=bias, std=std)

    def forward(self, x: Tensor, sight: Sight) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        if not isinstance(sight, DecoderSight):
            raise ValueError("CrossAttention: cross attention needs the memory that it is to look at (a DecoderSight)")
        (q,) = split_heads(self.q(x), heads=(self.n_head,))  # (B, H, T, D)
        k, v = sight.remembered(self, self._keys_and_values)  # (B, Hkv, S, D)
        heads = scaled_dot_product_attention(q, k, v, sight.memory_mask, scale=self.scale,
                                             **self.dropped())  # (B, H, T, D)
        return self.out(merge_heads(heads))

    def _keys_and_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, C) -> (B, Hkv, S, D) twice."""
        k, v = split_heads(self.kv(memory), heads=(self.n_kv_head, self.n_kv_head))
        return k, v
