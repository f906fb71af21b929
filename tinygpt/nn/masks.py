"""Masks: which tokens a query may look at.

A model that predicts the next token must not see it, or it learns to copy. A mask answers, for T queries that are the
last of S tokens, which of the S each of them may look at. models/kinds.py lists all masks.

Prerequisites: positions.py. Next: sight.py.
"""

from __future__ import annotations

from ..arrays import Array

__all__ = ["Causal", "Mask"]


class Mask:
    """Every query may look at every token.

    Attributes:
        causal: whether tokens after the query's own are hidden. So common that attention itself knows the word.
    """

    causal = False

    def allowed(self, n_queries: int, n_keys: int) -> Array | None:
        """Beyond `causal`: booleans that broadcast against (B, H, T, S), true where a query may look; None for all."""
        return None


class Causal(Mask):
    """A query looks at its own token and those before it."""

    causal = True
