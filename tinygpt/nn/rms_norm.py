"""RMSNorm: the norm of Llama's layout, without a mean and without a bias.

Prerequisites: normalization.py, ops/rms_norm.py. Next: gated.py.
"""

from __future__ import annotations

import numpy as np

from ..autograd import Tensor
from ..ops.rms_norm import rms_norm
from .module import Module, Parameter

__all__ = ["OffsetRMSNorm", "RMSNorm"]


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
        return rms_norm(x, self.weight, epsilon=self.epsilon)


class OffsetRMSNorm(RMSNorm):
    """Gemma's: the scale is 1 + weight, so that weight decay pulls it to 1.

    Attributes:
        weight: (n_embd,), starts at 0.
    """

    def __init__(self, n_embd: int, *, epsilon: float = 1e-6) -> None:
        super().__init__(n_embd, epsilon=epsilon)
        self.weight = Parameter(np.zeros(n_embd, dtype=np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(…, n_embd) -> the same shape."""
        return rms_norm(x, self.weight + 1.0, epsilon=self.epsilon)
