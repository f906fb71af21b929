"""FeedForward: the two matrices with a nonlinearity between them that work on each token alone.

Attention moves information between tokens; here each token makes something of what it got.

Prerequisites: attention.py. Next: block.py.
"""

from __future__ import annotations

from ..autograd.tensor import Tensor
from ..ops.activation import ACTIVATIONS
from .linear import Linear
from .module import Module

__all__ = ["FeedForward"]


class FeedForward(Module):
    """down(activation(up(x))).

    Args:
        n_embd: C. n_inner: the width between the matrices.
        activation: a name in `ops.activation.ACTIVATIONS`.
        bias: biases on both.
        std, out_std: standard deviation of the initial weights, and of `down`'s.
    """

    def __init__(self, n_embd: int, n_inner: int, *, activation: str = "gelu_tanh", bias: bool = True,
                 std: float = 0.02, out_std: float | None = None) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"{type(self).__name__}: unknown activation {activation!r}; "
                             f"choose one of {', '.join(ACTIVATIONS)}")
        self.activation = activation
        self._widen(n_embd, n_inner, bias, std)
        self.down = Linear(n_inner, n_embd, bias=bias, std=std if out_std is None else out_std)

    def _widen(self, n_embd: int, n_inner: int, bias: bool, std: float) -> None:
        """Make the matrix that the hidden vector comes from."""
        self.up = Linear(n_embd, n_inner, bias=bias, std=std)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return self.down(ACTIVATIONS[self.activation](self.up(x)))
