"""PictureCNN: a label for a picture, from two convolutions.

A kernel looks at 3 by 3 points wherever it stands, so what a stroke looks like is learnt once for all places. Pooling
halves the picture after each convolution, so the second one sees twice as far.

Shapes: B batch, S height and width, F kernels, C channels of the features, K labels.

Prerequisites: text_cnn.py, nn/convolution.py. Next: bert.py. LeCun et al., "Gradient-based learning applied to document
recognition" (1998).
"""

from __future__ import annotations

from typing import Any

from .. import ops
from ..autograd import Tensor
from ..nn import Conv2d, Linear, MaxPool2d, Module

__all__ = ["PictureCNN"]


class PictureCNN(Module):
    """Convolution, pooling, convolution, pooling, and two matrices.

    Args:
        n_labels: K. size: S, at least 4. n_kernels: F of the first convolution; the second has twice as many.
        n_embd: C.

    Raises:
        ValueError: a picture too small to be halved twice.

    >>> PictureCNN(10, size=8)(Tensor([[[0.5] * 8] * 8] * 3)).shape
    (3, 10)
    """

    def __init__(self, n_labels: int, *, size: int = 8, n_kernels: int = 16, n_embd: int = 64) -> None:
        if size < 4:
            raise ValueError(f"PictureCNN: a picture of {size} by {size} points cannot be halved twice; size must be "
                             "at least 4")
        self.size, n_features = size, 2 * n_kernels * (size // 4) ** 2
        self.first, self.second = Conv2d(1, n_kernels, 3, padding=1), Conv2d(n_kernels, 2 * n_kernels, 3, padding=1)
        self.pool = MaxPool2d(2)
        self.dense = Linear(n_features, n_embd, std=n_features ** -0.5)
        self.out = Linear(n_embd, n_labels, std=n_embd ** -0.5)

    def features(self, pictures: Any) -> Tensor:
        """Pictures (B, S, S) -> (B, C): what the scores are a linear function of."""
        x = pictures if isinstance(pictures, Tensor) else Tensor(pictures)
        if x.ndim != 3 or x.shape[1:] != (self.size, self.size):
            raise ValueError(f"PictureCNN: expected pictures (B, {self.size}, {self.size}), got {x.shape}")
        x = self.pool(ops.relu(self.first(x[:, None])))  # (B, F, S / 2, S / 2)
        x = self.pool(ops.relu(self.second(x)))  # (B, 2F, S / 4, S / 4)
        return ops.relu(self.dense(x.reshape(len(x), -1)))

    def forward(self, pictures: Any) -> Tensor:
        """Pictures (B, S, S) -> scores of the labels, (B, K).

        Raises:
            ValueError: pictures of another shape.
        """
        return self.out(self.features(pictures))
