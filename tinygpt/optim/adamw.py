"""AdamW: Adam with weight decay that does not pass through the moments.

Adam divides each parameter's average gradient by the root of its average squared gradient, so that every parameter
moves by about the learning rate per step whatever the size of its gradients. AdamW shrinks the weights by a factor
next to this, instead of adding `weight_decay * p` to the gradient, where Adam's division would undo it.

`adamw_update` is the method as the paper prints it. `AdamW.step` does the same in place over the flat arrays, block by
block, and the tests compare the two.

Prerequisites: flat.py. Next: schedule.py. Papers: Kingma & Ba, "Adam" (2015); Loshchilov & Hutter, "Decoupled
weight decay regularization" (2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import Array, array_module, on_device, to_device, to_numpy
from ..kernels.cuda import adamw_fused
from .flat import FlatParameters, Parameters, Spread, block_size, flatten, in_one

__all__ = ["AdamW", "adamw_update"]

FLUSH_EVERY = 16  # steps


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


def tiny_moment(eps: float) -> float:
    """Below this, an element of a moment is too small to be seen in an update.

    The moments of a parameter whose gradient stays zero (an unused position) fade by a factor each step into the
    denormal numbers below 1e-38, where rounding holds them for ever and a processor takes ten times as long or more
    for each operation. Below `tiny`, sqrt(v) is less than a rounding error of eps, and m / eps less than 1e-14 of eps.
    In FLUSH_EVERY steps no number above it reaches the denormals, for any beta above 0.32.
    """
    return min(1e-30, (1e-7 * eps) ** 2)


def flush_tiny(moment: Array, scratch: Array, eps: float) -> None:
    """Set to zero, in place, the elements of a moment below `tiny_moment`."""
    xp = array_module(moment)
    xp.abs(moment, out=scratch)
    xp.greater_equal(scratch, tiny_moment(eps), out=scratch)  # 1.0 or 0.0
    moment *= scratch


def _checked_lr(lr: float) -> float:
    if not 0.0 <= lr < math.inf:
        raise ValueError(f"lr is {lr}, expected a finite number of at least 0")
    return float(lr)


class AdamW:
    """The optimizer: `loss.backward(); optimizer.step(); optimizer.zero_grad()`.

    A parameter that took no part in the loss has a gradient of zero here, not None: its moments fade and its decay
    goes on. Frozen parameters (`requires_grad` False) are left out altogether.

    Args:
        parameters: a FlatParameters, or what one is built from: a model, (name, parameter) pairs, or parameters (of
            parameters that live in one already, that one is used).
            Bare parameters have no names, so that a position embedding among them is decayed like any matrix.
        lr: learning rate, >= 0; `step(lr=…)` overrides it for one step.
        betas: how much of the old running means of g and g² each step keeps, in [0, 1).
        eps: added to the root of the second moment, > 0.
        weight_decay: lr * weight_decay is the fraction a decayed weight loses per step, >= 0.

    Attributes:
        flat: the FlatParameters.
        first_moment, second_moment: running means of g and g², (N,) in the layout of `flat`.
        steps: the number of steps taken.

    Raises:
        ValueError: a setting outside its range, or parameters that FlatParameters refuses.
    """

    def __init__(
        self, parameters: FlatParameters | Parameters, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.01,
    ) -> None:
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"betas are {betas}, expected two numbers in [0, 1)")
        if not eps > 0.0:
            raise ValueError(f"eps is {eps}, expected a number above 0: a gradient of zero would divide by zero")
        if not 0.0 <= weight_decay < math.inf:
            raise ValueError(f"weight_decay is {weight_decay}, expected a number of at least 0")
        self.lr = _checked_lr(lr)
        self.betas = (float(betas[0]), float(betas[1]))
        self.eps = float(eps)
        self.weight_decay = float(weight_decay)
        self.flat = flatten(parameters)
        self.first_moment: Array = self.flat.new_gradient()
        self.second_moment: Array = self.flat.new_gradient()
        self.steps = 0
        self._block_size = min(block_size(self.flat.data), self.flat.size)

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        self.flat.zero_grad()

    def step(self, lr: float | None = None, grad_scale: float | Array = 1.0, spread: Spread = in_one) -> None:
        """Move every parameter by one step.

        Args:
            lr: this step's learning rate, as a schedule gives it; None takes the optimizer's.
            grad_scale: the gradients count times this number, at no cost: one over the number of tokens that a sum of
                losses went over, or a clipping coefficient; a number, or an array () on the device. The gradient array
                itself is left alone.
            spread: spreads the blocks over threads; each element's numbers are the same however it does.
        """
        rate = self.lr if lr is None else _checked_lr(lr)
        self.steps += 1
        with on_device(self.flat.device):
            scale = float(grad_scale) if isinstance(grad_scale, (int, float, np.generic)) else \
                grad_scale.astype(self.flat.data.dtype, copy=False)
            if self._update_fused(rate, scale):
                return

        def update(part: list[tuple[slice, bool]]) -> None:
            with on_device(self.flat.device):
                scratch = array_module(self.flat.data).empty_like(self.flat.data, shape=(self._block_size,))
                for block, decayed in part:
                    self._update_block(block, scratch, rate, scale, self.weight_decay if decayed else 0.0)
        spread(update, list(self.flat.blocks(self._block_size)))

    def _folded(self, lr: float) -> tuple[float, float]:
        """The update with all that is constant folded into two numbers, the step size and what is added to the root:

            lr · m_hat / (sqrt(v_hat) + eps)  =  (lr · √c2 / c1) · m / (sqrt(v) + eps · √c2),   ci = 1 - betai^step
        """
        root_c2 = math.sqrt(1 - self.betas[1] ** self.steps)
        return lr * root_c2 / (1 - self.betas[0] ** self.steps), self.eps * root_c2

    def _update_fused(self, lr: float, grad_scale: float | Array) -> bool:
        """The step by the fused kernel, where there is one (see kernels/cuda/adamw.py)."""
        step_size, eps = self._folded(lr)
        return adamw_fused(
            self.flat.data, self.flat.grad, self.first_moment, self.second_moment, grad_scale,
            n_decayed=self.flat.decay_range.stop, betas=self.betas, step_size=step_size, eps=eps,
            keep=1 - lr * self.weight_decay, tiny=0.0 if self.steps % FLUSH_EVERY else tiny_moment(self.eps))

    def _update_block(self, block: slice, scratch: Array, lr: float, grad_scale: float | Array,
                      weight_decay: float) -> None:
        """`adamw_update` on one block in place."""
        p, g = self.flat.data[block], self.flat.grad[block]
        m, v = self.first_moment[block], self.second_moment[block]
        xp, s = array_module(p), scratch[:p.size]
        (beta1, beta2), (step_size, eps) = self.betas, self._folded(lr)

        xp.multiply(g, (1 - beta1) * grad_scale, out=s)
        m *= beta1
        m += s
        s *= s
        s *= (1 - beta2) / (1 - beta1) ** 2
        v *= beta2
        v += s
        if self.steps % FLUSH_EVERY == 0:
            flush_tiny(m, s, self.eps)
            flush_tiny(v, s, self.eps)
        xp.sqrt(v, out=s)
        s += eps
        xp.divide(m, s, out=s)
        s *= step_size
        if weight_decay:
            p *= 1 - lr * weight_decay
        p -= s

    def state_dict(self) -> dict[str, Array]:
        """What a checkpoint must keep: "step" (), and "first_moment.NAME" and "second_moment.NAME" of each parameter.

        The moments are views, not copies: write or copy them before the next step.
        """
        state: dict[str, Array] = {"step": np.array(self.steps, dtype=np.int64)}
        for moment in ("first_moment", "second_moment"):
            for name, view in self.flat.views(getattr(self, moment)).items():
                state[f"{moment}.{name}"] = view
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; the arrays are copied. Nothing changes if anything does not fit.

        Raises:
            ValueError: an entry is missing, unknown, or of another shape or dtype; it is named.
        """
        own = self.state_dict()
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ValueError(f"the optimizer state is of another model: missing {missing[:5]}, unknown {unknown[:5]}")
        for name, mine in own.items():
            theirs = state[name]
            if theirs.shape != mine.shape or theirs.dtype != mine.dtype:
                raise ValueError(f"optimizer state {name!r} is {theirs.dtype} {theirs.shape}, "
                                 f"expected {mine.dtype} {mine.shape}")
        steps = int(to_numpy(state["step"]))
        if steps < 0:
            raise ValueError(f"optimizer state 'step' is {steps}, expected at least 0")
        self.steps = steps
        with on_device(self.flat.device):
            for name, mine in own.items():
                if name != "step":
                    mine[...] = to_device(state[name], self.flat.device)
