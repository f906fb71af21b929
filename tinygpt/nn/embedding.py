"""Embedding: a row of numbers for each token id, or for each position.

Prerequisites: linear.py. Next: normalization.py.
"""

from __future__ import annotations

from ..arrays import Array
from ..autograd.tensor import Tensor
from ..ops.indexing import embedding
from .linear import normal
from .module import Module, Parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """A table of `n` rows of `n_embd` numbers.

    Attributes:
        weight: (n, n_embd).
    """

    def __init__(self, n: int, n_embd: int, *, std: float = 0.02) -> None:
        self.weight = Parameter(normal((n, n_embd), std))

    def forward(self, ids: Array) -> Tensor:
        """Integers (…) -> (…, n_embd)."""
        return embedding(ids, self.weight)
