"""What the ranks of a run do together in a step: add up the gradient, and share the optimizer's work.

    gradient of rank r ──swap──> sum of its own part ──norm, clip, AdamW──> its own part of the weights ──swap──> all

The flat arrays are cut into a part for each rank. A rank gets from the others what belongs to its part, adds it up in
the order of replicas (ranks/sums.py), updates its part of the weights, and sends that to all. So the optimizer's
moments exist once among all ranks, 1 / size of them in each (ZeRO, stage 1), and every rank has the same weights to the
bit. This sends as many bytes as if each rank got the whole sum: gradients go out once, weights come back once.

The norm is a sum over blocks from the beginning of the flat array. A block that goes over the end of a part is squared
where it begins, so that rank gets the few elements beyond its part too, its tail.

Prerequisites: ranks/, optim/flat_optimizer.py, interrupt.py. Next: parallel.py. Paper: Rajbhandari et al., "ZeRO:
Memory optimizations toward training trillion parameter models" (2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from ..backend import Array, DeviceError, on_device
from ..nn import Module
from ..optim import FlatOptimizer, FlatParameters, grad_norm, grad_norm_on_device
from ..optim.flat import Spread, block_size
from ..optim.flat_clipping import norm_of_squares, squares
from ..ranks import Group, additions
from .interrupt import StopSignals

__all__ = ["Exchange"]

CHUNK = 1 << 22  # elements of a part that are on their way at a time: what arrives needs little memory
Result = TypeVar("Result")


class Exchange:
    """One rank's side of what all ranks do.

    Args:
        group: the ranks.
        flat: weights and gradient.
        bounds: where each rank's part of the flat arrays begins, and N; `FlatOptimizer.cuts` says where.
        stop: what this process's signals ask for. All ranks end after the same step.

    Raises:
        DeviceError: several ranks, and the model is on a GPU.
    """

    def __init__(self, group: Group, flat: FlatParameters, bounds: Sequence[int], stop: StopSignals) -> None:
        if group.size > 1 and flat.device != "cpu":
            raise DeviceError(f"{group.size} ranks train on the CPU, not on {flat.device}: give --device cpu, or start "
                              "one process for the GPU")
        self.group, self.flat, self.bounds, self.stop = group, flat, list(bounds), stop
        self._begun = False
        self._squares: list[Any] = []
        block = block_size(flat.grad)
        self._parts = [slice(start, end) for start, end in zip(bounds, bounds[1:])]
        self._starts = [range(-(-part.start // block) * block, part.stop, block) for part in self._parts]  # of blocks
        self._tails = [slice(part.stop, max(part.stop, min(flat.size, starts[-1] + block) if starts else 0))
                       for part, starts in zip(self._parts, self._starts)]
        with on_device(flat.device):
            self._tail = flat.grad[:0]

    @property
    def alone(self) -> bool:
        """Whether there are no other ranks."""
        return self.group.size == 1

    def begin(self, model: Module, optimizer: FlatOptimizer) -> None:
        """Give all ranks the first one's weights and its optimizer's state, each its own part."""
        if self.alone or self._begun:
            return
        self._begun = True
        for _, parameter in model.named_parameters():
            self.group.spread(parameter.data)
        optimizer.share_out(self.group, self.bounds)

    def of_first(self, function: Callable[[], Result]) -> Result:
        """What a function gives on the first rank, for all; the others do not call it. They also learn of its signals.
        """
        result, asked = self.group.broadcast((function() if self.group.rank == 0 else None, self.stop.asked))
        self.stop.agree(asked)
        return result

    def add_up(self, gradients: Sequence[Array], leaves: int, losses: list[Any], spread: Spread) -> list[Any]:
        """Put the sum over all ranks' gradients into `flat.grad`, as far as this rank needs it.

        Args:
            gradients: this rank's nodes of the tree of sums, (N,) each; the first is `flat.grad`.
            leaves: how many leaves of the tree each rank has.
            losses: of this rank's replicas.

        Returns:
            The losses of all replicas, in their order.
        """
        if self.alone:
            return losses
        nodes = [_nodes(rank, leaves) for rank in range(self.group.size)]
        pairs, _ = additions([node for of_rank in nodes for node in of_rank], whole=True)
        n_nodes = [len(of_rank) for of_rank in nodes]
        own = self._tails[self.group.rank]
        self._tail = np.empty(own.stop - own.start, self.flat.grad.dtype)
        # First, for the sums that follow take the place of what other ranks' tails are made of.
        self._add_stretches(gradients, n_nodes, pairs, self._tails, self._tail, spread)
        for at in range(0, max(part.stop - part.start for part in self._parts), CHUNK):
            stretches = [slice(min(part.start + at, part.stop), min(part.start + at + CHUNK, part.stop))
                         for part in self._parts]
            self._add_stretches(gradients, n_nodes, pairs, stretches, self.flat.grad[stretches[self.group.rank]],
                                spread)
        return self._share_figures(losses, spread)

    def _add_stretches(self, gradients: Sequence[Array], n_nodes: list[int], pairs: list[tuple[int, int]],
                       stretches: list[slice], out: Array, spread: Spread) -> None:
        """Add up, over all ranks, the stretch of the flat array that each rank wants; this one's goes to `out`."""
        rank, empty = self.group.rank, self.flat.grad[:0]
        parts: list[Any] = [[gradient[stretch] for gradient in gradients] for stretch in stretches]
        sends = [empty if p == rank else part[0] if len(part) == 1 else np.concatenate(part)
                 for p, part in enumerate(parts)]
        arrived = [empty if p == rank else np.empty(n * out.size, empty.dtype) for p, n in enumerate(n_nodes)]
        self.group.swap(sends, arrived)
        summands = [part for p, n in enumerate(n_nodes)
                    for part in (parts[p] if p == rank else arrived[p].reshape(n, out.size))]
        block = block_size(empty)

        def add(blocks: list[slice]) -> None:
            for one in blocks:
                sums = [summand[one] for summand in summands]
                for i, j in pairs:
                    sums[i] = sums[i] + sums[j]  # not in place: gradients of a tail belong to another rank's sum too
                out[one] = sums[0]
        spread(add, [slice(start, start + block) for start in range(0, out.size, block)])

    def _share_figures(self, losses: list[Any], spread: Spread) -> list[Any]:
        """Tell all ranks one another's losses, sums of squares, and whether a signal asks to end."""
        n, signals = len(losses), self.stop.SIGNALS
        counts = [n + 1 + len(starts) for starts in self._starts]
        bounds = np.cumsum([0, *counts]).tolist()
        figures, block = np.empty(bounds[-1]), block_size(self.flat.grad)
        end = self._parts[self.group.rank].stop
        blocks = [self.flat.grad[start:min(start + block, end)] for start in self._starts[self.group.rank]]
        if self._tail.size:
            blocks[-1] = np.concatenate([blocks[-1], self._tail])
        asked = [0.0 if self.stop.asked is None else 1.0 + [signal.name for signal in signals].index(self.stop.asked)]
        own = slice(*bounds[self.group.rank:self.group.rank + 2])
        figures[own] = [*losses, *asked, *squares(blocks, spread)]
        self.group.assemble(figures, bounds)
        shares = [figures[start:stop] for start, stop in zip(bounds, bounds[1:])]
        self._squares = [square for share in shares for square in share[n + 1:]]
        wish = int(max(share[n] for share in shares))
        self.stop.agree(signals[wish - 1].name if wish else None)
        return [loss for share in shares for loss in share[:n].tolist()]

    def norm(self, spread: Spread) -> float | Array:
        """The length of the whole gradient, after `add_up`; on a GPU an array (), for which nothing waits."""
        if not self.alone:
            return norm_of_squares(self._squares)
        return grad_norm(self.flat, spread) if self.flat.device == "cpu" else grad_norm_on_device(self.flat)

    def share_weights(self) -> None:
        """Give all ranks the part of the weights that this one has updated, and take theirs."""
        if not self.alone:
            self.group.assemble(self.flat.data, self.bounds)


def _nodes(rank: int, leaves: int) -> list[tuple[int, int]]:
    """The nodes of the tree that a rank sends: first leaf, number of leaves."""
    first = rank * leaves
    _, roots = additions([(first + i, 1) for i in range(leaves)], whole=False)
    return [(first + start, stop - start) for start, stop in zip(roots, [*roots[1:], leaves])]
