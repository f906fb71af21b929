"""Linear: y = x Wᵀ + b, the layer that holds nearly all of a transformer's weights.

Prerequisites: module.py. Next: embedding.py.
"""

from __future__ import annotations

import numpy as np

from ..arrays import generator
from ..autograd.tensor import Tensor
from ..ops.linalg import linear
from .module import Module, Parameter

__all__ = ["Linear", "normal"]


def normal(shape: tuple[int, ...], std: float) -> np.ndarray:
    """Float32 numbers of a normal distribution around 0, drawn from the generator of `manual_seed`."""
    values = generator().standard_normal(shape, dtype=np.float32)
    values *= std
    return values


class Linear(Module):
    """An affine map of the last axis.

    Args:
        n_in, n_out: features in and out.
        bias: whether to add a bias, which starts at 0.
        std: standard deviation of the initial weights.

    Attributes:
        weight: (n_out, n_in). bias: (n_out,) or None.
    """

    def __init__(self, n_in: int, n_out: int, *, bias: bool = True, std: float = 0.02) -> None:
        self.weight = Parameter(normal((n_out, n_in), std))
        self.bias = Parameter(np.zeros(n_out, dtype=np.float32)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(…, n_in) -> (…, n_out)."""
        return linear(x, self.weight, self.bias)
