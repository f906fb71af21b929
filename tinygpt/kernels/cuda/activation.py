"""GELU and SiLU: one pass forward, one pass backward, and nothing kept but x.

Read before: launch.py, ops/activation.py. Read next: normalization.py.
"""

from __future__ import annotations

from ...autograd import Output
from ...backend import Array, array_module
from ...ops import gelu, silu
from .launch import THREADS, fused, grid, launch, serves

__all__ = ["activation_fused", "gelu_fused", "silu_fused"]

KINDS = {"none": 0, "tanh": 1, "silu": 2}


def activation_fused(x: Array, kind: str) -> Output:
    """The activation that `kind` names, and its gradient."""
    if not serves(x) or kind not in KINDS:
        return NotImplemented
    xp = array_module(x)
    out = xp.empty_like(x)
    launch("activation_forward", x, grid(x.size), THREADS, x, out, x.size, KINDS[kind])

    def backward(g):
        g, dx = xp.ascontiguousarray(g), xp.empty_like(x)
        launch("activation_backward", x, grid(x.size), THREADS, g, x, dx, x.size, KINDS[kind])
        return (dx,)
    return out, backward


@fused(gelu)
def gelu_fused(x: Array, *, approximate: str = "none") -> Output:
    """x Φ(x), exactly or in the tanh form."""
    return activation_fused(x, approximate) if approximate != "silu" else NotImplemented


@fused(silu)
def silu_fused(x: Array) -> Output:
    """x σ(x)."""
    return activation_fused(x, "silu")
