"""Gradient clipping: when the whole gradient is too long, shorten it and keep its direction.

One bad batch can send a gradient a hundred times the usual length and undo an hour of training. The length meant is
that of all gradients together, as one vector, so that clipping scales them all alike.

    norm = clip_grad_norm(flat, 1.0)        # or, without a pass over the gradients:
    optimizer.step(grad_scale=clip_coefficient(grad_norm(flat), 1.0))

Prerequisites: flat.py, schedule.py. Paper: Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural
networks" (2013).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..backend import Array, array_module, device_of, on_device, to_numpy
from ..kernels.cuda import squared_norm_fused
from .flat import FlatParameters, Parameters, Spread, block_size, in_one, named_trainable

__all__ = ["clip_coefficient", "clip_grad_norm", "grad_norm", "grad_norm_on_device"]


def _gradients(parameters: FlatParameters | Parameters) -> list[Array]:
    if isinstance(parameters, FlatParameters):
        return [parameters.grad]
    return [p.grad for _, p in named_trainable(parameters) if p.grad is not None]


def _squared_length(g: Array, spread: Spread = in_one) -> Array:
    """The sum of squares, left on the device, (). Blocks are multiplied in g's dtype and added up in float64: a running
    float32 sum over a hundred million squares would lose digits."""
    xp, n = array_module(g), block_size(g)

    def squares(blocks: list[Array]) -> list[Array]:
        with on_device(device_of(g)), np.errstate(over="ignore"):  # an infinite norm is an answer
            return [xp.dot(block, block).astype(xp.float64) for block in blocks]
    with on_device(device_of(g)):
        fused = squared_norm_fused(g)
        if fused is not None:
            return fused
        flat = g.reshape(-1)
        lengths = spread(squares, [flat[start:start + n] for start in range(0, g.size, n)])
        return sum(itertools.chain.from_iterable(lengths), xp.zeros((), xp.float64))


def _norm(gradients: list[Array], spread: Spread = in_one) -> float:
    return math.sqrt(sum(float(to_numpy(_squared_length(g, spread))) for g in gradients))


def grad_norm(parameters: FlatParameters | Parameters, spread: Spread = in_one) -> float:
    """The Euclidean length of all gradients together; parameters without a gradient count as zero.

    Infinite or NaN where a gradient is (or where its square leaves the range of its dtype): check it. On a GPU this
    waits for the device; `grad_norm_on_device` does not. `spread` spreads the work over threads; the blocks' sums are
    added in their order however it does.
    """
    return _norm(_gradients(parameters), spread)


def grad_norm_on_device(flat: FlatParameters) -> Array:
    """`grad_norm` as an array (), float64, on the device of the parameters: nothing waits for it."""
    with on_device(flat.device):
        return array_module(flat.grad).sqrt(_squared_length(flat.grad))


def clip_coefficient(norm: Any, max_norm: float) -> Any:
    """What gradients of length `norm` are multiplied with to be no longer than `max_norm`; 1 where they are not.

    PyTorch's rule, max_norm / (norm + 1e-6). A norm that is not finite has no remedy by scaling: it gives 1.

    Args:
        norm: a number, and so is the result; or an array () on a device, and so is the result.

    Raises:
        ValueError: `max_norm` is not above 0.
    """
    if not max_norm > 0.0:
        raise ValueError(f"max_norm is {max_norm}, expected a number above 0")
    if isinstance(norm, (int, float)):
        return min(1.0, max_norm / (norm + 1e-6)) if math.isfinite(norm) else 1.0
    xp = array_module(norm)
    with on_device(device_of(norm)):
        return xp.where(xp.isfinite(norm), xp.minimum(max_norm / (norm + 1e-6), 1.0), 1.0)


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
