"""The hidden vector of a feed-forward layer: a matrix with its activation, and an activation with its gate.

Both are rules of other files one after the other. They are operations of their own because of what lies between: the
vector before the activation is the widest array of a block, and a twin can add the bias, activate and multiply in one
pass over it, where operations of one step each would write it and read it again every time.

Prerequisites: linalg.py, activation.py. Next: linear_loss.py.
"""

from __future__ import annotations

from typing import Any

from ..autograd import Output, differentiable, unbroadcast
from ..backend import Array
from .activation import ACTIVATIONS
from .linalg import linear

__all__ = ["gated_activation", "linear_activation"]


def _activate(xp: Any, x: Array, activation: str) -> Output:
    """The rule that `activation` names."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation={activation!r} is not known; choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[activation].operation.rule(xp, x)  # type: ignore[attr-defined]


@differentiable
def linear_activation(xp: Any, x: Array, weight: Array, bias: Array | None = None, *, activation: str) -> Output:
    """f(x @ weightᵀ + bias): x (…, I), weight (O, I), bias (O,) give (…, O).

    Args:
        activation: f, a name in `ACTIVATIONS`.
    """
    h, linear_backward = linear.operation.rule(xp, x, weight, bias)  # type: ignore[attr-defined]
    out, activation_backward = _activate(xp, h, activation)

    def backward(g):  # the chain rule: dy = f'(h) dh, so g f'(h) is the gradient that `linear` gets from above
        dh = activation_backward(g)[0]
        return linear_backward(dh)
    return out, backward


@differentiable
def gated_activation(xp: Any, gate: Array, up: Array, *, activation: str) -> Output:
    """f(gate) · up; for SiLU the product of SwiGLU (Shazeer, "GLU variants improve Transformer", 2020).

    Args:
        activation: f, a name in `ACTIVATIONS`.
    """
    opening, activation_backward = _activate(xp, gate, activation)

    def backward(g):  # d(f(a) b) = b f'(a) da + f(a) db
        return (lambda: unbroadcast(activation_backward(g * up)[0], gate),
                lambda: unbroadcast(g * opening, up))
    return opening * up, backward
