"""AdamW: Adam with weight decay that does not pass through the moments.

Adam divides each parameter's average gradient by the root of its average squared gradient, so that every parameter
moves by about the learning rate per step whatever the size of its gradients. AdamW shrinks the weights by a factor
next to this, instead of adding `weight_decay * p` to the gradient, where Adam's division would undo it.

Prerequisites: nn/module.py. Next: schedule.py. Papers: Kingma & Ba, "Adam" (2015); Loshchilov & Hutter, "Decoupled
weight decay regularization" (2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from ..arrays import Array, array_module
from ..nn.module import Parameter

__all__ = ["AdamW", "adamw_update", "is_decayed"]


def adamw_update(
    p: Array, g: Array, m: Array, v: Array, step: int, *, lr: float, betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8, weight_decay: float = 0.01,
) -> tuple[Array, Array, Array]:
    """One step of AdamW by the book.

    Args:
        p, g: parameters and their gradients, of one shape.
        m, v: the running means of g and of g², zeros before the first step.
        step: counts from 1.

    Returns:
        The new p, m and v; the arguments are left alone.
    """
    beta1, beta2 = betas
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    # The means start at zero, and v fills more slowly than m: as they are, their quotient is too large at first.
    m_hat = m / (1 - beta1 ** step)
    v_hat = v / (1 - beta2 ** step)
    p = p - lr * weight_decay * p - lr * m_hat / (array_module(p).sqrt(v_hat) + eps)
    return p, m, v


def is_decayed(name: str, parameter: Parameter) -> bool:
    """Whether weight decay shrinks a parameter: matrices, token embeddings too, but not position embeddings."""
    return parameter.data.ndim >= 2 and "positions" not in name.split(".")


class AdamW:
    """The optimizer: `loss.backward(); optimizer.step(); optimizer.zero_grad()`.

    A parameter without a gradient has one of zero: its moments fade, its decay goes on. Frozen ones are left out.

    Args:
        parameters: the pairs of `model.named_parameters()`, or parameters; without names, positions decay as well.
        lr: learning rate, >= 0; `step(lr=…)` overrides it for one step.
        betas: how much of the old running means of g and g² each step keeps, in [0, 1).
        eps: added to the root of the second moment, > 0, so that a gradient of zero does not divide by zero.
        weight_decay: lr * weight_decay is the fraction a decayed weight loses per step, >= 0.
    """

    def __init__(self, parameters: Iterable[Parameter] | Iterable[tuple[str, Parameter]], lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01) -> None:
        in_range = 0.0 <= lr < math.inf and 0.0 <= weight_decay < math.inf and 0.0 < eps < math.inf
        if not (in_range and all(0.0 <= beta < 1.0 for beta in betas)):
            raise ValueError(f"lr is {lr}, betas are {betas}, eps is {eps}, weight_decay is {weight_decay}; expected "
                             "finite numbers of at least 0, betas below 1, eps above 0")
        self.lr, self.betas = float(lr), (float(betas[0]), float(betas[1]))
        self.eps, self.weight_decay, self.steps = float(eps), float(weight_decay), 0
        self.hold(parameters)

    def hold(self, parameters: Iterable[Parameter] | Iterable[tuple[str, Parameter]]) -> None:
        """Take up the trainable ones of these parameters, with moments of zero."""
        pairs = (item if isinstance(item, tuple) else (str(i), item) for i, item in enumerate(parameters))
        self.parameters = {name: p for name, p in pairs if p.requires_grad}
        self.moments = {f"{moment}.{name}": array_module(p.data).zeros_like(p.data)
                        for moment in ("first_moment", "second_moment") for name, p in self.parameters.items()}

    def step(self, lr: float | None = None, grad_scale: float = 1.0) -> None:
        """Move every parameter by one step, with its gradient times `grad_scale`: a clipping coefficient, say."""
        self.steps += 1
        for name, p in self.parameters.items():
            first, second = f"first_moment.{name}", f"second_moment.{name}"
            g = array_module(p.data).zeros_like(p.data) if p.grad is None else p.grad * float(grad_scale)
            p.data, self.moments[first], self.moments[second] = adamw_update(
                p.data, g, self.moments[first], self.moments[second], self.steps, lr=self.lr if lr is None else lr,
                betas=self.betas, eps=self.eps, weight_decay=self.weight_decay if is_decayed(name, p) else 0.0)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters.values():
            p.grad = None

    def state_dict(self) -> dict[str, Array]:
        """What a later run needs to go on: "step", "first_moment.NAME" and "second_moment.NAME" by parameter."""
        return {"step": np.array(self.steps), **self.moments}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Go on where `state_dict` was taken; KeyError if a name is missing."""
        self.moments = {name: state[name].copy() for name in self.moments}
        self.steps = int(state["step"])
