"""LayerNorm and RMSNorm: the learned scales around the rules of ops/normalization.py.

Prerequisites: embedding.py. Next: dropout.py.
"""

from __future__ import annotations

import numpy as np

from .. import ops
from ..autograd import Tensor
from .module import Module, Parameter

__all__ = ["LayerNorm", "RMSNorm", "make_norm"]


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
        return ops.layer_norm(x, self.weight, self.bias, epsilon=self.epsilon)


class RMSNorm(Module):
    """Root-mean-square norm over the last axis.

    Attributes:
        weight: (n_embd,), starts at 1.
    """

    def __init__(self, n_embd: int, *, epsilon: float = 1e-6) -> None:
        self.weight = Parameter(np.ones(n_embd, dtype=np.float32))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(…, n_embd) -> the same shape."""
        return ops.rms_norm(x, self.weight, epsilon=self.epsilon)


def make_norm(kind: str, n_embd: int, *, bias: bool = True, epsilon: float = 1e-5) -> Module:
    """The norm that a configuration names: "layer" or "rms" (which has no bias)."""
    if kind == "layer":
        return LayerNorm(n_embd, bias=bias, epsilon=epsilon)
    if kind == "rms":
        return RMSNorm(n_embd, epsilon=epsilon)
    raise ValueError(f'unknown norm {kind!r}: expected "layer" or "rms"')
