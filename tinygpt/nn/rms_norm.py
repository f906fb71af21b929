"""RMSNorm: the norm of Llama's layout, without a mean and without a bias.

Prerequisites: normalization.py, ops/rms_norm.py. Next: gated.py.
"""

from __future__ import annotations

import numpy as np

from ..autograd import Tensor
from ..ops.rms_norm import rms_norm
from .module import Module, Parameter

__all__ = ["RMSNorm"]


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
