"""Gradient clipping over the flat buffer: one pass, spread over threads, or on a GPU without waiting for it.

    norm = clip_grad_norm(flat, 1.0)        # or, without a pass over the gradients:
    optimizer.step(grad_scale=clip_coefficient(grad_norm(flat), 1.0))

Prerequisites: flat_adamw.py, clipping.py. Next: muon.py.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..backend import Array, array_module, device_of, on_device, to_numpy
from ..kernels.cuda import squared_norm_fused
from . import clipping
from .flat import FlatParameters, Parameters, Spread, block_size, in_one, named_trainable

__all__ = ["clip_coefficient", "clip_grad_norm", "grad_norm", "grad_norm_on_device", "norm_of_squares",
           "squares"]


def _gradients(parameters: FlatParameters | Parameters) -> list[Array]:
    if isinstance(parameters, FlatParameters):
        return [parameters.grad]
    return [p.grad for _, p in named_trainable(parameters) if p.grad is not None]


def squares(blocks: list[Array], spread: Spread) -> list[Array]:
    """The sum of squares of each block, () float64. Blocks are multiplied in their own dtype."""
    def of_part(part: list[Array]) -> list[Array]:
        with on_device(device_of(part[0]) if part else "cpu"), np.errstate(over="ignore"):  # infinite is an answer
            xp = array_module(part[0]) if part else np
            return [xp.dot(block, block).astype(xp.float64) for block in part]
    return list(itertools.chain.from_iterable(spread(of_part, blocks)))


def _squared_length(g: Array, spread: Spread = in_one) -> Array:
    """The sum of squares, left on the device, (). Blocks are multiplied in g's dtype and added up in float64: a running
    float32 sum over a hundred million squares would lose digits."""
    xp, n = array_module(g), block_size(g)
    with on_device(device_of(g)):
        fused = squared_norm_fused(g)
        if fused is not None:
            return fused
        flat = g.reshape(-1)
        return sum(squares([flat[start:start + n] for start in range(0, g.size, n)], spread), xp.zeros((), xp.float64))


def norm_of_squares(lengths: list[Array]) -> float | Array:
    """The length of a gradient from the sums of squares of its blocks, as `grad_norm` has it; on a GPU an array ()."""
    xp = array_module(lengths[0])
    total = sum(lengths, xp.zeros((), xp.float64))
    return math.sqrt(float(total)) if xp is np else xp.sqrt(total)


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
    """`clipping.clip_coefficient`, for a norm that may be on a device.

    Args:
        norm: a number, and so is the result; or an array () on a device, and so is the result.

    Raises:
        ValueError: `max_norm` is not above 0.
    """
    if isinstance(norm, (int, float)):
        return clipping.clip_coefficient(norm, max_norm)
    most = clipping.clip_coefficient(math.inf, max_norm)  # checks max_norm
    xp = array_module(norm)
    with on_device(device_of(norm)):
        return xp.where(xp.isfinite(norm), xp.minimum(max_norm / (norm + 1e-6), most), most)


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
