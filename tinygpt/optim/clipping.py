"""Gradient clipping: when the whole gradient is too long, shorten it and keep its direction.

One bad batch can send a gradient a hundred times the usual length and undo an hour of training. The length meant is
that of all gradients together, as one vector, so that clipping scales them all alike.

    norm = global_norm([p.grad for p in model.parameters()])
    optimizer.step(grad_scale=clip_coefficient(norm, 1.0))

Prerequisites: adamw.py, schedule.py. Next: training/loop.py. Paper: Pascanu, Mikolov & Bengio, "On the difficulty of
training recurrent neural networks" (2013).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..arrays import Array

__all__ = ["clip_coefficient", "global_norm"]


def global_norm(gradients: Iterable[Array | None]) -> float:
    """The Euclidean length of all gradients together; None counts as zero.

    Infinite or NaN where a gradient is: a training loop must not step then.
    """
    return math.sqrt(sum(float((g * g).sum(dtype="float64")) for g in gradients if g is not None))


def clip_coefficient(norm: float, max_norm: float) -> float:
    """What gradients of length `norm` are multiplied with to be no longer than `max_norm`; 1 where they are not.

    PyTorch's rule, max_norm / (norm + 1e-6). A norm that is not finite has no remedy by scaling: it gives 1.

    Raises:
        ValueError: `max_norm` is not above 0.
    """
    if not max_norm > 0.0:
        raise ValueError(f"max_norm is {max_norm}, expected a number above 0")
    return min(1.0, max_norm / (norm + 1e-6)) if math.isfinite(norm) else 1.0
