"""MultiHeadAttention: one layer for causal, bidirectional and cross attention.

Causal or not is an argument; cross attention takes its keys and values from another sequence. Grouped queries share
keys and values among several heads, rotary positions turn queries and keys, and a cache keeps the keys and values of
earlier tokens.

Shapes: B batch, T time, S source time (all tokens that keys are computed from), C channels, H heads, D head size.

Prerequisites: cache.py. Next: feedforward.py. Vaswani et al. (2017), section 3.2.2.
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import ops
from ..autograd import Tensor
from ..backend import Array
from .cache import LayerCache
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .positional import RotaryPositions

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(Module):
    """Attention with H heads of size D over C channels.

    Args:
        n_embd: C. n_head: H.
        n_kv_head: heads of keys and values, a divisor of H; H by default.
        head_dim: D; C / H by default.
        bias: biases on all projections.
        dropout: rate at which attention weights are dropped.
        cross: keys and values come from `memory`, the output of an encoder.
        std, out_std: standard deviation of the initial weights, and of the output projection's.

    Attributes:
        qkv: Linear from C to queries, keys and values, in this order; or, with `cross`, q and kv.
        out: Linear from the H heads back to C.
    """

    def __init__(self, n_embd: int, n_head: int, *, n_kv_head: int | None = None, head_dim: int | None = None,
                 bias: bool = True, dropout: float = 0.0, cross: bool = False, std: float = 0.02,
                 out_std: float | None = None) -> None:
        if head_dim is None and n_embd % n_head:
            raise ValueError(f"MultiHeadAttention: n_embd={n_embd} is not divisible by n_head={n_head}")
        self.n_head, self.n_kv_head, self.head_dim = n_head, n_kv_head or n_head, head_dim or n_embd // n_head
        if n_head % self.n_kv_head:
            raise ValueError(f"MultiHeadAttention: n_head={n_head} is not divisible by n_kv_head={self.n_kv_head}")
        self.cross = cross
        queries, keys = n_head * self.head_dim, self.n_kv_head * self.head_dim
        if cross:
            self.q = Linear(n_embd, queries, bias=bias, std=std)
            self.kv = Linear(n_embd, 2 * keys, bias=bias, std=std)
        else:
            self.qkv = Linear(n_embd, queries + 2 * keys, bias=bias, std=std)
        self.out = Linear(queries, n_embd, bias=bias, std=std if out_std is None else out_std)
        self.weights_dropout = Dropout(dropout)

    def forward(self, x: Tensor, *, memory: Tensor | None = None, mask: Array | None = None, causal: bool = False,
                rotary: RotaryPositions | None = None, angles: tuple[Array, Array] | None = None,
                cache: LayerCache | None = None) -> Tensor:
        """x (B, T, C) -> (B, T, C).

        Args:
            memory: (B, S, C), with `cross`. With a cache its keys and values are computed once.
            mask: as for `ops.scaled_dot_product_attention`, over (B, H, T, S).
            causal: look only at keys up to a query's own position.
            rotary, angles: turn queries and keys by these angles of the T positions.
            cache: the keys and values of earlier tokens, which those of x join. No gradient flows into it.
        """
        h, kv = self.n_head, self.n_kv_head
        if self.cross:
            q = self._heads(self.q(x), h)  # (B, H, T, D)
            k, v = self._memory(memory, cache)  # (B, Hkv, S, D)
        else:
            q, k, v = self._cut(self.qkv(x), (h, kv, kv))  # (B, H, T, D), (B, Hkv, T, D) twice
            if rotary is not None and angles is not None:
                q, k = rotary(q, angles), rotary(k, angles)
            if cache is not None:
                k, v = cache.append(k.data, v.data)  # (B, Hkv, S, D)
        dropping = self.weights_dropout.active
        heads = ops.scaled_dot_product_attention(
            q, k, v, mask, causal=causal, dropout=self.weights_dropout.p if dropping else 0.0,
            key=self.weights_dropout.next_key() if dropping else None)  # (B, H, T, D)
        if x.shape[1] != 1:
            heads = heads.transpose(0, 2, 1, 3)  # (B, T, H, D)
        return self.out(heads.reshape(*x.shape[:2], h * self.head_dim))  # (B, T, C)

    def _heads(self, x: Tensor, n: int) -> Tensor:
        """(B, T, n D) -> (B, n, T, D). A single token's heads, as in decoding, lie in this order already."""
        b, t = x.shape[:2]
        if t == 1:
            return x.reshape(b, n, 1, self.head_dim)
        return x.reshape(b, t, n, self.head_dim).transpose(0, 2, 1, 3)

    def _cut(self, x: Tensor, lengths: tuple[int, ...]) -> Iterator[Tensor]:
        """(B, T, n D) -> (B, length, T, D) for each of the lengths, which add up to n heads."""
        b, t = x.shape[:2]
        if t == 1:
            return iter(ops.split(self._heads(x, sum(lengths)), lengths=lengths, axis=1))
        parts = x.reshape(b, t, sum(lengths), self.head_dim)  # cut first: the gradients then lie side by side
        return (part.transpose(0, 2, 1, 3) for part in ops.split(parts, lengths=lengths, axis=2))

    def _memory(self, memory: Tensor | None, cache: LayerCache | None) -> tuple[Tensor | Array, Tensor | Array]:
        """Keys and values of the other sequence, computed once if there is a cache to keep them."""
        if cache is not None and cache.memory is not None:
            return cache.memory
        if memory is None:
            raise ValueError("MultiHeadAttention: cross attention needs the memory that it is to look at")
        k, v = ops.split(self._heads(self.kv(memory), 2 * self.n_kv_head),
                         lengths=(self.n_kv_head, self.n_kv_head), axis=1)  # (B, Hkv, S, D) each
        if cache is not None:
            cache.memory = (k.data, v.data)
        return k, v
