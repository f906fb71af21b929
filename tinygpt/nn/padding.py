"""Masks for padding, and two masks at once.

Prerequisites: masks.py. Next: post_norm.py.
"""

from __future__ import annotations

from ..backend import Array
from .masks import Mask

__all__ = ["Both", "Padding"]


class Padding(Mask):
    """Rows of a batch are of unequal length: what fills them up is not looked at.

    Args:
        real: (B, S) booleans, true at tokens.
    """

    def __init__(self, real: Array) -> None:
        self.real = real

    def allowed(self, n_queries: int, n_keys: int) -> Array:
        """(B, 1, 1, S), of the last S columns."""
        return self.real[:, None, None, self.real.shape[1] - n_keys:]


class Both(Mask):
    """A query may look where both masks let it."""

    def __init__(self, first: Mask, second: Mask) -> None:
        self.masks = (first, second)
        self.causal = first.causal or second.causal

    def allowed(self, n_queries: int, n_keys: int) -> Array | None:
        """The conjunction."""
        first, second = (mask.allowed(n_queries, n_keys) for mask in self.masks)
        return second if first is None else first if second is None else first & second
