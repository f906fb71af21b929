"""What the ranks of a run do together in a step: add up the gradient, and share the optimizer's work.

    gradient of rank r ──swap──> sum of its own part ──norm, clip, AdamW──> its own part of the weights ──swap──> all

The flat arrays are cut into a part for each rank. A rank gets from the others what belongs to its part, adds it up in
the order of replicas (ranks/sums.py), updates its part of the weights, and sends that to all. So the optimizer's
moments exist once among all ranks, 1 / size of them in each (ZeRO, stage 1), and every rank has the same weights to the
bit. This sends as many bytes as if each rank got the whole sum: gradients go out once, weights come back once.

With `fast_sum` MPI or NCCL adds up, in an order of its own.

The norm is a sum over blocks from the beginning of the flat array. A block that goes over the end of a part is squared
where it begins, so that rank gets the few elements beyond its part too, its tail. (With `fast_sum` a block ends where
its part does.)

On a GPU losses, squares and the norm stay there, as in one process: no step waits for the device.

Prerequisites: ranks/, optim/flat_optimizer.py, interrupt.py. Next: parallel.py. Paper: Rajbhandari et al., "ZeRO:
Memory optimizations toward training trillion parameter models" (2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from ..backend import Array, DeviceError, array_module, on_device
from ..evaluation.running import Sharing, shared_among
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
        fast_sum: whether the group may add up in any order.

    Raises:
        DeviceError: several ranks, and the model is where their arrays cannot be.
    """

    def __init__(self, group: Group, flat: FlatParameters, bounds: Sequence[int], stop: StopSignals,
                 fast_sum: bool = False) -> None:
        if group.size > 1 and flat.device not in ("cpu", group.device):
            raise DeviceError(f"{group.size} ranks reach one another's arrays on {group.device}, and the model is on "
                              f"{flat.device}: move it")
        self.group, self.flat, self.bounds, self.stop = group, flat, list(bounds), stop
        self.fast_sum = fast_sum and group.size > 1
        self._begun = False
        self._squares: list[Any] = []
        block = block_size(flat.grad)
        self._parts = [slice(start, end) for start, end in zip(bounds, bounds[1:])]
        grid = 1 if self.fast_sum else block  # on which blocks begin
        self._starts = [range(-(-part.start // grid) * grid, part.stop, block) for part in self._parts]  # of blocks
        ends = [min(flat.size, starts[-1] + block) if starts and not self.fast_sum else 0 for starts in self._starts]
        self._tails = [slice(part.stop, max(part.stop, end)) for part, end in zip(self._parts, ends)]
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
        with on_device(self.flat.device):
            for _, parameter in model.named_parameters():
                self.group.spread(parameter.data)
        optimizer.share_out(self.group, self.bounds)

    def collect(self, value: Any) -> list[Any]:
        """The value of each rank, in their order. They also learn of one another's signals."""
        answers = self.group.collect((value, self.stop.asked))
        for _, asked in answers:
            self.stop.agree(asked)
        return [theirs for theirs, _ in answers]

    def measured(self, function: Callable[[Callable[[], bool]], Result]) -> Result:
        """What a function measures, for all: its batches are shared out (evaluation/running.py), and the first rank's
        answer counts. It is handed a function that says whether to keep going."""
        def keep_going() -> bool:
            return not self.stop.received
        if self.alone:
            return function(keep_going)
        with shared_among(Sharing(self.group.rank, self.group.size, self.collect)):
            result = function(keep_going)
        return self.collect(result)[0]  # of processors that compute alike, it is everybody's

    def add_up(self, gradients: Sequence[Array], leaves: int, losses: list[Any], spread: Spread) -> list[Any]:
        """Put the sum over all ranks' gradients into `flat.grad`, as far as this rank needs it.

        Args:
            gradients: this rank's nodes of the tree of sums, (N,) each; the first is `flat.grad`. With `fast_sum` that
                one alone, the sum of all of this rank.
            leaves: how many leaves of the tree each rank has.
            losses: of this rank's replicas.

        Returns:
            The losses of all replicas, in their order.
        """
        if self.alone:
            return losses
        with on_device(self.flat.device):
            self._add_parts(gradients, leaves, spread)
            return self._share_figures(losses, spread)

    def _chunks(self) -> Iterator[list[slice]]:
        """The stretches of all ranks' parts that are on their way at the same time."""
        for at in range(0, max(part.stop - part.start for part in self._parts), CHUNK):
            yield [slice(min(part.start + at, part.stop), min(part.start + at + CHUNK, part.stop))
                   for part in self._parts]

    def _add_parts(self, gradients: Sequence[Array], leaves: int, spread: Spread) -> None:
        """Add up, over all ranks, this one's part and tail."""
        grad, rank = self.flat.grad, self.group.rank
        if self.fast_sum:
            for stretches in self._chunks():
                out = array_module(grad).empty_like(grad[stretches[rank]])
                self.group.add([grad[stretch] for stretch in stretches], out)
                grad[stretches[rank]] = out
            return
        nodes = [_nodes(rank, leaves) for rank in range(self.group.size)]
        pairs, _ = additions([node for of_rank in nodes for node in of_rank], whole=True)
        n_nodes = [len(of_rank) for of_rank in nodes]
        self._tail = array_module(grad).empty_like(grad[self._tails[rank]])
        # First, for the sums that follow take the place of what other ranks' tails are made of.
        self._add_stretches(gradients, n_nodes, pairs, self._tails, self._tail, spread)
        for stretches in self._chunks():
            self._add_stretches(gradients, n_nodes, pairs, stretches, grad[stretches[rank]], spread)

    def _add_stretches(self, gradients: Sequence[Array], n_nodes: list[int], pairs: list[tuple[int, int]],
                       stretches: list[slice], out: Array, spread: Spread) -> None:
        """Add up, over all ranks, the stretch of the flat array that each rank wants; this one's goes to `out`."""
        rank, empty, xp = self.group.rank, self.flat.grad[:0], array_module(self.flat.grad)
        parts: list[Any] = [[gradient[stretch] for gradient in gradients] for stretch in stretches]
        sends = [empty if p == rank else part[0] if len(part) == 1 else xp.concatenate(part)
                 for p, part in enumerate(parts)]
        arrived = [empty if p == rank else xp.empty(n * out.size, empty.dtype) for p, n in enumerate(n_nodes)]
        self.group.swap(sends, arrived)
        summands = [part for p, n in enumerate(n_nodes)
                    for part in (parts[p] if p == rank else arrived[p].reshape(n, out.size))]
        block = block_size(empty)

        def add(blocks: list[slice]) -> None:
            with on_device(self.flat.device):
                for one in blocks:
                    sums = [summand[one] for summand in summands]
                    for i, j in pairs:
                        sums[i] = sums[i] + sums[j]  # not in place: gradients of a tail are of another rank's sum too
                    out[one] = sums[0]
        spread(add, [slice(start, start + block) for start in range(0, out.size, block)])

    def _share_figures(self, losses: list[Any], spread: Spread) -> list[Any]:
        """Tell all ranks one another's losses, sums of squares, and whether a signal asks to end."""
        xp, n, signals = array_module(self.flat.grad), len(losses), [signal.name for signal in self.stop.SIGNALS]
        bounds = np.cumsum([0, *(n + 1 + len(starts) for starts in self._starts)]).tolist()
        figures, block = xp.empty(bounds[-1], "float64"), block_size(self.flat.grad)
        end = self._parts[self.group.rank].stop
        blocks = [self.flat.grad[start:min(start + block, end)] for start in self._starts[self.group.rank]]
        if self._tail.size:
            blocks[-1] = xp.concatenate([blocks[-1], self._tail])
        asked = 0.0 if self.stop.asked is None else 1.0 + signals.index(self.stop.asked)
        for place, figure in enumerate([*losses, asked, *squares(blocks, spread)], bounds[self.group.rank]):
            figures[place] = figure
        self.group.assemble(figures, bounds)
        shares = [figures[start:stop] for start, stop in zip(bounds, bounds[1:])]
        self._squares = [share[i] for share in shares for i in range(n + 1, len(share))]
        if xp is not np:
            self.collect(None)  # of signals, for to look at the figures would be to wait for the device
            return [share[i].astype(losses[0].dtype) for share in shares for i in range(n)]
        wish = int(max(share[n] for share in shares))
        self.stop.agree(signals[wish - 1] if wish else None)
        return [loss for share in shares for loss in share[:n].tolist()]

    def norm(self, spread: Spread) -> float | Array:
        """The length of the whole gradient, after `add_up`; on a GPU an array (), for which nothing waits."""
        if self.alone:
            return grad_norm(self.flat, spread) if self.flat.device == "cpu" else grad_norm_on_device(self.flat)
        with on_device(self.flat.device):
            return norm_of_squares(self._squares)

    def share_weights(self) -> None:
        """Give all ranks the part of the weights that this one has updated, and take theirs."""
        if not self.alone:
            self.group.assemble(self.flat.data, self.bounds)


def _nodes(rank: int, leaves: int) -> list[tuple[int, int]]:
    """The nodes of the tree that a rank sends: first leaf, number of leaves."""
    first = rank * leaves
    _, roots = additions([(first + i, 1) for i in range(leaves)], whole=False)
    return [(first + start, stop - start) for start, stop in zip(roots, [*roots[1:], leaves])]
