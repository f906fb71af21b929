"""AdamW and the gradient's norm over the flat arrays, one pass each; the clipping coefficient never leaves the device.

Prerequisites: embedding.py; optim/adamw.py, which calls these. Next: nn/.
"""

from __future__ import annotations

from ...backend import Array, array_module
from .launch import FUSED, THREADS, grid, launch, serves, switched_on

__all__ = ["adamw_fused", "squared_norm_fused"]

FUSED += ["AdamW", "gradient norm"]
BLOCKS = 1024  # for the norm: several for each processor, few enough to be added up in no time


def adamw_fused(p: Array, g: Array, m: Array, v: Array, grad_scale: float | Array, *, n_decayed: int,
                betas: tuple[float, float], step_size: float, eps: float, keep: float, tiny: float) -> bool:
    """One step over all parameters, in place.

        g' = g · grad_scale;  m = β₁ m + (1 − β₁) g';  v = β₂ v + (1 − β₂) g'²;  p = keep · p − step_size m / (√v + eps)

    Args:
        p, g, m, v: (N,), of one dtype; the first `n_decayed` parameters are multiplied by `keep`.
        grad_scale: a number, or an array () on the device.
        tiny: moments smaller than this become 0.

    Returns:
        False, and nothing is done, where the kernels are off or do not serve.
    """
    if not switched_on() or not serves(p, g, m, v):
        return False
    xp = array_module(p)
    scale = xp.asarray(grad_scale, dtype=xp.float64).reshape(1)
    launch("adamw", p, grid(p.size), THREADS, p, g, m, v, scale, p.size, n_decayed, betas[0], betas[1], step_size, eps,
           keep, tiny)
    return True


def squared_norm_fused(g: Array) -> Array | None:
    """The sum of squares, (), float64, on the device; None where the kernels are off or do not serve."""
    if not switched_on() or not serves(g):
        return None
    blocks = min(BLOCKS, grid(g.size))
    sums = array_module(g).empty(blocks, dtype="float64")
    launch("sum_of_squares", g, blocks, THREADS, g, sums, g.size)
    return sums.sum()
