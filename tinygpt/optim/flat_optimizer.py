"""What every optimizer over the flat buffer shares: taking up the parameters, the shell of a step, the state.

A new optimizer is one file with a subclass of `FlatOptimizer`, and one row in `OPTIMIZERS` (optim/__init__.py). The
subclass sets its settings, puts the arrays that the next step needs into `moments` when it takes up the parameters
(`hold`), and writes `_update`, one step in place for the stretch `own`.

Prerequisites: flat.py, adamw.py. Next: flat_adamw.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..backend import Array, array_module, on_device, to_device, to_numpy
from ..ranks import Group
from .flat import FlatParameters, Parameters, Spread, block_size, flatten, in_one

__all__ = ["FLUSH_EVERY", "FlatOptimizer"]

FLUSH_EVERY = 16  # steps between two passes that set tiny moments to zero, see `tiny_moment` in flat_adamw.py


class FlatOptimizer:
    """The base of the optimizers: `loss.backward(); optimizer.step(); optimizer.zero_grad()`.

    A parameter that took no part in the loss has a gradient of zero here, not None.

    Attributes:
        flat: the FlatParameters.
        own: the stretch of the flat arrays that this optimizer updates: all, unless ranks share the work.
        moments: the arrays that the next step needs. For each kind ("first_moment", say) stretches of the flat arrays,
            and their arrays.
        lr: the learning rate of a step that is given none.
        steps: the number of steps taken.
    """

    lr: float
    steps: int = 0
    _group: Group = Group()

    def hold(self, parameters: FlatParameters | Parameters) -> None:
        """Take up the parameters: a FlatParameters, or what one is built from.

        Parameters that live in a FlatParameters already stay there.

        Raises:
            TypeError, ValueError: parameters that FlatParameters refuses.
        """
        self.flat = flatten(parameters)
        self._block_size = min(block_size(self.flat.data), self.flat.size)
        self.own = slice(0, self.flat.size)
        self.moments: dict[str, list[tuple[slice, Array]]] = {}

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

    def blocks(self, stretch: slice) -> Iterator[tuple[slice, bool]]:
        """Cut a stretch of the flat arrays into slices of at most a block, each with whether weight decay applies."""
        return self.flat.blocks(self._block_size, stretch)

    def state_dict(self) -> dict[str, Array]:
        """What a checkpoint must keep: "step" (), and each moment of each parameter, "first_moment.NAME" for example.

        The moments are views, not copies: write or copy them before the next step. Where ranks share the work, all of
        them call this together, and the first one gets copies of all moments, the others nothing of use.
        """
        state = {"step": np.array(self.steps, dtype=np.int64)}
        with on_device(self.flat.device):
            for kind, pieces in self._whole_moments().items():
                for name, slot in self.flat.slots.items():
                    found = [array[slot.start - stretch.start:slot.stop - stretch.start] for stretch, array in pieces
                             if stretch.start <= slot.start and slot.stop <= stretch.stop]
                    if found:
                        state[f"{kind}.{name}"] = found[0].reshape(slot.shape)
        return state

    def _stretches_by_cost(self) -> list[tuple[slice, int]]:
        """Stretches that fill the flat arrays, and the moments that each of their elements has."""
        return [(slice(0, self.flat.size), 2)]

    def cuts(self, n: int) -> list[int]:
        """Where to cut the flat arrays so that n ranks have equal parts of the moments: the first element of each part,
        and N."""
        stretches = self._stretches_by_cost()
        total = sum((stretch.stop - stretch.start) * moments for stretch, moments in stretches)
        cuts = [0]
        for i in range(1, n):
            left = total * i // n
            for stretch, moments in stretches:
                cost = (stretch.stop - stretch.start) * moments
                if left <= cost:
                    break
                left -= cost
            cuts.append(stretch.start + left // moments)
        return [*cuts, self.flat.size]

    def share_out(self, group: Group, bounds: Sequence[int]) -> None:
        """Go on as one of several ranks, with the first one's state: rank r updates bounds[r] to bounds[r + 1], and has
        the moments of these alone. All ranks call this together, once."""
        self._group, self.steps = group, group.broadcast(self.steps)
        self._bounds, self.own = list(bounds), slice(bounds[group.rank], bounds[group.rank + 1])
        self._stretches = {kind: [stretch for stretch, _ in pieces] for kind, pieces in self.moments.items()}
        with on_device(self.flat.device):
            for pieces in self.moments.values():
                pieces[:] = [self._own_part(stretch, whole) for stretch, whole in pieces]

    def _own_part(self, stretch: slice, whole: Array) -> tuple[slice, Array]:
        """What this rank has of a stretch of moments, of which the first rank has the whole."""
        group, parts, first = self._group, self._parts(stretch), self._group.rank == 0
        own = parts[group.rank]
        array = whole[own.start - stretch.start:own.stop - stretch.start].copy()
        group.swap([whole[part.start - stretch.start:part.stop - stretch.start] if first and p else whole[:0]
                    for p, part in enumerate(parts)],
                   [array if p == 0 and not first else array[:0] for p in range(group.size)])
        return own, array

    def _parts(self, stretch: slice) -> list[slice]:
        """What each rank updates of a stretch."""
        clipped = [min(max(bound, stretch.start), stretch.stop) for bound in self._bounds]
        return [slice(start, stop) for start, stop in zip(clipped, clipped[1:])]

    def _whole_moments(self) -> dict[str, list[tuple[slice, Array]]]:
        """`moments` on the first rank as if there were no others."""
        group = self._group
        if group.size == 1:
            return self.moments
        found: dict[str, list[tuple[slice, Array]]] = {}
        for kind, pieces in self.moments.items():
            for stretch, (_, own) in zip(self._stretches[kind], pieces):
                whole = array_module(own).empty(stretch.stop - stretch.start if group.rank == 0 else 0, own.dtype)
                places = [whole[part.start - stretch.start:part.stop - stretch.start] for part in self._parts(stretch)]
                group.swap([own if p == 0 else own[:0] for p in range(group.size)],
                           places if group.rank == 0 else [whole] * group.size)
                if group.rank == 0:
                    found.setdefault(kind, []).append((stretch, whole))
        return found

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
