"""LayerNorm: the learned scales around the rule of ops/normalization.py.

Prerequisites: embedding.py. Next: dropout.py.
"""

from __future__ import annotations

import numpy as np

from ..autograd.tensor import Tensor
from ..ops.normalization import layer_norm
from .module import Module, Parameter

__all__ = ["LayerNorm"]


class LayerNorm(Module):
    """Layer norm over the last axis.

    Attributes:
        weight: (n_embd,), starts at 1. bias: (n_embd,), starts at 0, or None.
    """

    def __init__(self, n_embd: int, *, bias: bool = True, epsilon: float = 1e-5) -> None:
        self.weight = Parameter(np.ones(n_embd, dtype=np.float32))
        self.bias = Parameter(np.zeros(n_embd, dtype=np.float32)) if bias else None
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(…, n_embd) -> the same shape."""
        return layer_norm(x, self.weight, self.bias, epsilon=self.epsilon)
