"""Positions: attention sees a set of tokens, so their order must be supplied in some other way.

A kind of positions has three moments at which it may say where a token stands, and uses one of them: when tokens enter
the model, when a query is compared with a key, and when the scores are there. Here are learned positions, GPT-2's way:
a row of numbers for each place, added to the token's. The others are in files of their own, and models/kinds.py lists
them.

Prerequisites: dropout.py, embedding.py. Next: masks.py.
"""

from __future__ import annotations

from ..arrays import Array
from ..autograd.tensor import Tensor
from .embedding import Embedding
from .module import Module

__all__ = ["LearnedPositions", "Positions"]


class Positions(Module):
    """The three moments. This class says nothing at any of them.

    `where` are the positions of the T tokens that are looked at, integers (T,), or (B, T) where rows differ.
    """

    def add(self, x: Tensor, where: Array) -> Tensor:
        """At the entrance: token embeddings (B, T, C) -> the same, with their positions."""
        return x

    def turn(self, q: Tensor, k: Tensor, where: Array) -> tuple[Tensor, Tensor]:
        """In each attention layer: queries (B, H, T, D) and keys (B, Hkv, T, D) -> the same, turned."""
        return q, k

    def bias(self, n_queries: int, n_keys: int) -> Array | None:
        """In each attention layer: what is added to the scores, (H, T, S). The queries are the last of the S positions.
        None: nothing."""
        return None


class LearnedPositions(Positions, Embedding):
    """A learned row for each position, added to the embedding of the token there.

    Args:
        n: how many positions there are. n_embd: C. std: standard deviation of the initial rows.
    """

    def add(self, x: Tensor, where: Array) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return x + self(where)
