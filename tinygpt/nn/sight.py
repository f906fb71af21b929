"""Sight: where the tokens of one pass stand, and what each of them may see. All attention layers of a pass share it.

Prerequisites: masks.py, ops/attention.py. Next: attention.py.
"""

from __future__ import annotations

from ..arrays import Array, array_module
from ..autograd.tensor import Tensor
from .masks import Mask
from .positions import Positions

__all__ = ["Sight"]


class Sight:
    """What one pass of T tokens through a model sees.

    Args:
        positions: how the model tells positions. mask: which tokens a query may look at.
        where: the positions of the tokens, integers (T,) or (B, T).
        n_keys: S, how many tokens there are to look at; T by default.

    Attributes:
        causal, bias: as attention takes them: the flag, and booleans or numbers that broadcast against (B, H, T, S).
    """

    def __init__(self, positions: Positions, mask: Mask, where: Array, n_keys: int | None = None) -> None:
        self.positions, self.where, self.causal = positions, where, mask.causal
        n_queries = where.shape[-1]
        n_keys = n_queries if n_keys is None else n_keys
        allowed, bias = mask.allowed(n_queries, n_keys), positions.bias(n_queries, n_keys)
        if allowed is not None and bias is not None:
            xp = array_module(bias)
            bias = xp.where(allowed, bias, -xp.inf).astype(bias.dtype)
        self.bias = allowed if bias is None else bias

    def of(self, layer: object, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of an attention layer, as this pass sees them."""
        q, k = self.positions.turn(q, k, self.where)
        return q, k, v
