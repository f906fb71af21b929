"""Embedding: a row of numbers for each token id, or for each position.

Prerequisites: linear.py. Next: normalization.py.
"""

from __future__ import annotations

from .. import ops
from ..autograd import Tensor
from ..backend import Array
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
        return ops.embedding(ids, self.weight)
