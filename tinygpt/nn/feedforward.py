"""FeedForward: the two matrices with a nonlinearity between them that work on each token alone.

Read before: attention.py. Read next: block.py.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import ops
from ..autograd import Tensor
from .linear import Linear
from .module import Module

__all__ = ["ACTIVATIONS", "FeedForward"]


def _gelu_tanh(x: Tensor) -> Tensor:
    return ops.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": ops.gelu, "gelu_tanh": _gelu_tanh, "relu": ops.relu, "silu": ops.silu,
}


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
        if activation not in ACTIVATIONS:
            raise ValueError(f"FeedForward: unknown activation {activation!r}; choose one of {', '.join(ACTIVATIONS)}")
        self.activation = activation
        self.gate = Linear(n_embd, n_inner, bias=bias, std=std) if gated else None
        self.up = Linear(n_embd, n_inner, bias=bias, std=std)
        self.down = Linear(n_inner, n_embd, bias=bias, std=std if out_std is None else out_std)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        activate = ACTIVATIONS[self.activation]
        hidden = activate(self.up(x)) if self.gate is None else activate(self.gate(x)) * self.up(x)  # (B, T, n_inner)
        return self.down(hidden)
