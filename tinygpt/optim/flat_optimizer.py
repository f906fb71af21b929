"""What every optimizer over the flat buffer shares: taking up the parameters, the shell of a step, the state.

A new optimizer is one file with a subclass of `FlatOptimizer`, and one row in `OPTIMIZERS` (optim/__init__.py). The
subclass sets its settings, calls `hold`, and writes two methods: `_update`, one step in place, and `_moments`, the
arrays that the next step needs.

Prerequisites: flat.py, adamw.py. Next: flat_adamw.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..backend import Array, on_device, to_device, to_numpy
from .flat import FlatParameters, Parameters, Spread, block_size, flatten, in_one

__all__ = ["FLUSH_EVERY", "FlatOptimizer"]

FLUSH_EVERY = 16  # steps between two passes that set tiny moments to zero, see `tiny_moment` in flat_adamw.py


class FlatOptimizer:
    """The base of the optimizers: `loss.backward(); optimizer.step(); optimizer.zero_grad()`.

    A parameter that took no part in the loss has a gradient of zero here, not None.

    Attributes:
        flat: the FlatParameters.
        lr: the learning rate of a step that is given none.
        steps: the number of steps taken.
    """

    lr: float
    steps: int = 0

    def hold(self, parameters: FlatParameters | Parameters) -> None:
        """Take up the parameters: a FlatParameters, or what one is built from.

        Parameters that live in a FlatParameters already stay there.

        Raises:
            TypeError, ValueError: parameters that FlatParameters refuses.
        """
        self.flat = flatten(parameters)
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
            spread: spreads the work over threads; each element's numbers are the same however it does.

        Raises:
            ValueError: `lr` is negative or not finite; nothing has moved.
        """
        rate = self.lr if lr is None else float(lr)
        if not 0.0 <= rate < math.inf:
            raise ValueError(f"lr is {rate}, expected a finite number of at least 0")
        self.steps += 1
        with on_device(self.flat.device):
            scale = float(grad_scale) if isinstance(grad_scale, (int, float, np.generic)) else \
                grad_scale.astype(self.flat.data.dtype, copy=False)
            self._update(rate, scale, spread)

    def _update(self, lr: float, grad_scale: float | Array, spread: Spread) -> None:
        """Step number `self.steps` in place; the device of the parameters is the current one, in this thread only."""
        raise NotImplementedError

    def _moments(self) -> dict[str, Array]:
        """The arrays that the next step needs, under names such as "first_moment.NAME": views, in which
        `load_state_dict` writes."""
        raise NotImplementedError

    def blocks(self, stretch: slice) -> Iterator[tuple[slice, bool]]:
        """Cut a stretch of the flat arrays into slices of at most a block, each with whether weight decay applies."""
        return self.flat.blocks(self._block_size, stretch)

    def state_dict(self) -> dict[str, Array]:
        """What a checkpoint must keep: "step" (), and each moment of each parameter, "first_moment.NAME" for example.

        The moments are views, not copies: write or copy them before the next step.
        """
        return {"step": np.array(self.steps, dtype=np.int64), **self._moments()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; the arrays are copied. Nothing changes if anything does not fit.

        Raises:
            ValueError: an entry is missing, unknown, or of another shape or dtype; it is named.
        """
        own = self.state_dict()
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ValueError(f"the optimizer state is of another model or another optimizer: missing {missing[:5]}, "
                             f"unknown {unknown[:5]}")
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
