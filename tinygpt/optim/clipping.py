"""Gradient clipping: when the whole gradient is too long, shorten it and keep its direction.

One bad batch can send a gradient a hundred times the usual length and undo an hour of training. The length meant is
that of all gradients together, as one vector, so that clipping scales them all alike.

    norm = clip_grad_norm(flat, 1.0)        # or, without a pass over the gradients:
    optimizer.step(grad_scale=clip_coefficient(grad_norm(flat), 1.0))

Read before: flat.py, schedule.py. Paper: Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural
networks" (2013).
"""

from __future__ import annotations

import math

import numpy as np

from ..backend import Array, array_module, device_of, on_device, to_numpy
from .flat import FlatParameters, Parameters, block_size, named_trainable

__all__ = ["clip_coefficient", "clip_grad_norm", "grad_norm"]


def _gradients(parameters: FlatParameters | Parameters) -> list[Array]:
    if isinstance(parameters, FlatParameters):
        return [parameters.grad]
    return [p.grad for _, p in named_trainable(parameters) if p.grad is not None]


def _squared_length(g: Array) -> float:
    """The sum of squares. Blocks are multiplied in g's dtype and added up in float64: a running float32 sum over a
    hundred million squares would lose digits."""
    xp, n = array_module(g), block_size(g)
    with on_device(device_of(g)), np.errstate(over="ignore"):  # an infinite norm is an answer
        g = g.reshape(-1)
        blocks = [g[start:start + n] for start in range(0, g.size, n)]
        return float(to_numpy(sum(xp.dot(block, block).astype(xp.float64) for block in blocks))) if blocks else 0.0


def _norm(gradients: list[Array]) -> float:
    return math.sqrt(sum(_squared_length(g) for g in gradients))


def grad_norm(parameters: FlatParameters | Parameters) -> float:
    """The Euclidean length of all gradients together; parameters without a gradient count as zero.

    Infinite or NaN where a gradient is (or where its square leaves the range of its dtype): check it. On a GPU this is
    the one place of a step that waits for the device.
    """
    return _norm(_gradients(parameters))


def clip_coefficient(norm: float, max_norm: float) -> float:
    """What gradients of length `norm` are multiplied with to be no longer than `max_norm`; 1 where they are not.

    PyTorch's rule, max_norm / (norm + 1e-6). A norm that is not finite has no remedy by scaling: it gives 1.

    Raises:
        ValueError: `max_norm` is not above 0.
    """
    if not max_norm > 0.0:
        raise ValueError(f"max_norm is {max_norm}, expected a number above 0")
    return min(1.0, max_norm / (norm + 1e-6)) if math.isfinite(norm) else 1.0


def clip_grad_norm(parameters: FlatParameters | Parameters, max_norm: float) -> float:
    """Scale the gradients in place so that all together are no longer than `max_norm`.

    Args:
        parameters: a FlatParameters, or a model, (name, parameter) pairs, or parameters.
        max_norm: the longest gradient allowed, > 0; infinity only measures.

    Returns:
        The norm before clipping. Where it is infinite or NaN the gradients are left as they are, to be looked at: a
        training loop must not step with them.

    Raises:
        ValueError: `max_norm` is not above 0.
    """
    gradients = _gradients(parameters)
    norm = _norm(gradients)
    coefficient = clip_coefficient(norm, max_norm)
    if coefficient < 1.0:
        for g in gradients:
            with on_device(device_of(g)):
                g *= coefficient
    return norm
