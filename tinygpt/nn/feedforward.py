"""FeedForward: the two matrices with a nonlinearity between them that work on each token alone.

Prerequisites: attention.py. Next: block.py.
"""

from __future__ import annotations

from .. import ops
from ..autograd import Tensor
from .linear import Linear
from .module import Module

__all__ = ["FeedForward"]


class FeedForward(Module):
    """down(activation(up(x))); with a gate down(activation(gate(x)) · up(x)), which is SwiGLU for silu (Shazeer 2020).

    Args:
        n_embd: C. n_inner: the width between the matrices.
        activation: "gelu", "gelu_tanh", "relu" or "silu".
        gated: whether to multiply by a gate.
        bias: biases on all of them.
        std, out_std: standard deviation of the initial weights, and of `down`'s.
    """

    def __init__(self, n_embd: int, n_inner: int, *, activation: str = "gelu", gated: bool = False, bias: bool = True,
                 std: float = 0.02, out_std: float | None = None) -> None:
        if activation not in ops.ACTIVATIONS:
            raise ValueError(f"FeedForward: unknown activation {activation!r}; "
                             f"choose one of {', '.join(ops.ACTIVATIONS)}")
        self.activation = activation
        self.gate = Linear(n_embd, n_inner, bias=bias, std=std) if gated else None
        self.up = Linear(n_embd, n_inner, bias=bias, std=std)
        self.down = Linear(n_inner, n_embd, bias=bias, std=std if out_std is None else out_std)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        if self.gate is None:
            hidden = self.up(x, self.activation)  # (B, T, n_inner)
        else:
            hidden = ops.gated_activation(self.gate(x), self.up(x), activation=self.activation)  # (B, T, n_inner)
        return self.down(hidden)
