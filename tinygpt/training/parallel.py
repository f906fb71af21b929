"""Data parallelism: replicas that share the weights, each with a part of the batch and a gradient array of its own.

    batch ──┬─ rows 0 … k ──> replica 0 ──> flat gradient 0 ─┐
            └─ rows k … B ──> replica 1 ──> flat gradient 1 ─┴─> sum ──> clip, AdamW

The loss of a step is a sum over what counts (tokens, say) divided by how many these are in the whole step, so replicas
(and micro-batches, which are the same thing one after the other) with unequal numbers of them weigh what they should.

Each replica uses one BLAS thread, because the elementwise half of a step, which BLAS threads would leave alone, then
runs in parallel too. How they live depends on the size of the model:

    small    in processes of their own, where that is safe: they do not queue for Python's lock (workers.py)
    medium   in threads: NumPy lets go of the lock while it computes
    large    in threads that add to one gradient array in turn (turns.py), each taking its rows in micro-batches of a
             few hundred tokens: so a step needs little more memory than weights, gradient and moments

A run's numbers depend on the number of replicas and on the size of the model, never on whether there are processes.

Further replicas may live in other ranks, which a launcher such as mpiexec started. Replicas are numbered through all
ranks, and their gradients are added up in an order that these numbers alone decide: 4 ranks of one replica give the
bits of one rank with 4. (Of a large model, whose replicas share a gradient, each rank has one sum.)

Prerequisites: losses.py, optim/flat.py, workers.py, turns.py, exchange.py. Next: checkpoint.py.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..backend import Array, on_device
from ..nn import Module, seed_dropout
from ..optim import FlatParameters
from ..optim.flat import block_size, in_one
from ..ranks import Group, additions
from .exchange import Exchange
from .interrupt import StopSignals
from .losses import Criterion
from .turns import SharedParameter, Turns
from .workers import Processes, Threads, can_fork, shared_array

__all__ = ["Replicas", "default_threads", "physical_cores", "processes_pay", "split_batch"]

Batch = dict[str, np.ndarray]
SMALL, LARGE = 16 << 20, 128 << 20  # bytes of parameters
MICRO = 256  # tokens: matrix products of so many rows run at 95 % of the speed of large ones


def physical_cores() -> int:
    """How many cores this process may use, hyper-threads counted once where the system tells."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/devices/system/cpu/smt/active", encoding="ascii") as file:
            siblings = 2 if file.read().strip() == "1" else 1
    except OSError:
        siblings = 1
    return max(1, usable // siblings)


def default_threads(device: str, batch_size: int, group: Group = Group()) -> int:
    """How many replicas train side by side in this rank unless a number is given: one on a GPU, which is parallel by
    itself; on the CPU the ranks of a machine share its cores."""
    return max(1, min(physical_cores() // len(group.local), batch_size // group.size)) if device == "cpu" else 1


def _n_rows(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def split_batch(batch: Batch, n: int) -> list[Batch]:
    """The rows of a batch in n parts of nearly equal size; fewer where there are fewer rows."""
    rows = _n_rows(batch)
    n = max(1, min(n, rows))
    bounds = [rows * i // n for i in range(n + 1)]
    return [{name: array[start:stop] for name, array in batch.items()}
            for start, stop in zip(bounds, bounds[1:]) if stop > start]


def processes_pay(flat: FlatParameters, n: int) -> bool:
    """Whether n replicas should run as processes, and can.

    Processes do not wait for one another's lock (docs/performance.md says what that costs a small model). They need a
    gradient array each, which for a large model is much memory and little time.
    """
    return n > 1 and flat.device == "cpu" and flat.data.nbytes <= SMALL and can_fork()


def _tokens_of_a_row(batch: Batch) -> int:
    return max(array.size for array in batch.values()) // _n_rows(batch)


class Replicas:
    """`n` copies of a model that share its weights.

    Args:
        model: its parameters live in `flat`.
        criterion: what is minimised, a Criterion or an Objective; all replicas share it.
        flat: the weights, and the gradient that `gradient` fills.
        n: how many.
        accumulate: micro-batches that each replica takes one after the other, to need less memory; a large model's
            are as many as MICRO asks for.
        processes: whether all replicas but the first live in processes of their own, forked here. The numbers are the
            same; see `processes_pay`.
        exchange: with further ranks, which have n replicas each. None: there are no others.
    """

    def __init__(self, model: Module, criterion: Criterion, flat: FlatParameters, n: int = 1, accumulate: int = 1, *,
                 processes: bool = False, exchange: Exchange | None = None) -> None:
        self.exchange = exchange or Exchange(Group(), flat, (0, flat.size), StopSignals())
        self._first = self.exchange.group.rank * n  # the number of this rank's first replica
        self.criterion, self.flat, self.accumulate = criterion, flat, accumulate
        self.large = flat.device == "cpu" and flat.data.nbytes > LARGE
        self._workers: Threads | Processes | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._turns: Turns | None = None
        if n > 1 and processes:
            flat.move_into(shared_array(flat.data), shared_array(flat.grad))
            self.gradients = [flat.grad, *(shared_array(flat.grad) for _ in range(n - 1))]
        elif n > 1 and self.large:
            self.gradients, self._turns = [flat.grad], Turns(n)
        else:
            self.gradients = [flat.grad, *(flat.new_gradient() for _ in range(n - 1))]
        if self._turns is None:
            self.models = [model, *(self._replica(model, flat.views(gradient)) for gradient in self.gradients[1:])]
        else:
            self.models = [self._replica_in_turn(model, i) for i in range(n)]
        self._trained: list[list[Any]] = [
            [parameter for parameter in each.parameters() if parameter.requires_grad] for each in self.models]
        if n > 1:
            self._workers = (Processes if processes else Threads)(self._work, n)
            self._threads = ThreadPoolExecutor(n, thread_name_prefix="stripe")  # it starts none before the fork

    def _replica(self, model: Module, gradients: dict[str, Any]) -> Module:
        return _copy(model, lambda name, p: p.share(gradients[name]) if name in gradients else p)

    def _replica_in_turn(self, model: Module, i: int) -> Module:
        turns = self._turns
        assert turns is not None
        return _copy(model, lambda name, p: SharedParameter.of(name, p, turns, i) if name in self.flat.slots else p)

    def gradient(self, batch: Batch, seed: int, step: int) -> float | Array:
        """Put the gradient of the batch's mean loss into `flat.grad`; return that loss.

        On a GPU the loss is an array () that has not been looked at: reading it waits for the device.
        """
        total = self.criterion.count(batch)
        if not total:
            raise ValueError(f"training step {step}: no target in the batch counts")
        n = len(self.models)
        own = split_batch(batch, n * self.exchange.group.size)[self._first:self._first + n]
        shares = [split_batch(part, self._micro_batches(part)) for part in own]
        shares += [[]] * (n - len(shares))  # no rows for everybody
        jobs = [(i, share, total, seed, step) for i, share in enumerate(shares)]
        if self._turns is not None:
            self._turns.begin()
        losses = [self._work(*jobs[0])] if self._workers is None else self._workers.map(jobs)
        if self._turns is not None:
            for parameter in self._trained[0]:
                parameter.settle_after()
        losses = self._add_up(losses)
        with on_device(self.flat.device):
            return sum(losses) / total

    def _micro_batches(self, part: Batch) -> int:
        n_tokens = _n_rows(part) * _tokens_of_a_row(part)
        return max(self.accumulate, -(-n_tokens // MICRO) if self.large else 1)

    def _add_up(self, losses: list[Any]) -> list[Any]:
        """flat.grad = the sum of all replicas' gradients; gives all replicas' losses."""
        n = len(self.gradients)
        pairs, left = additions([(self._first + i, 1) for i in range(n)],
                                whole=self.exchange.alone or self.exchange.fast_sum)

        def add(blocks: list[tuple[slice, bool]]) -> None:
            with on_device(self.flat.device):
                for block, _ in blocks:
                    for i, j in pairs:
                        self.gradients[i][block] += self.gradients[j][block]
        if pairs:
            self.spread(add, list(self.flat.blocks(block_size(self.flat.grad))))
        return self.exchange.add_up([self.gradients[i] for i in left], n, losses, self.spread)

    def norm(self) -> float | Array:
        """The length of the gradient that `gradient` made; on a GPU an array ()."""
        return self.exchange.norm(self.spread)

    def spread(self, function: Callable[[list], Any], items: list) -> list[Any]:
        """The `Spread` of as many threads as there are replicas, which are idle between two gradients."""
        if self._threads is None:
            return in_one(function, items)

        def quietly(part: list) -> Any:
            with np.errstate(all="ignore"):
                return function(part)
        n, n_parts = len(items), len(self.models)
        parts = [items[n * i // n_parts:n * (i + 1) // n_parts] for i in range(n_parts)]
        return list(self._threads.map(quietly, parts))

    def _work(self, i: int, parts: list[Batch], total: float, seed: int, step: int) -> float | Array:
        try:
            with on_device(self.flat.device):  # each thread has a current device of its own
                return self._share(i, parts, total, seed, step)
        finally:
            if self._turns is not None:
                self._turns.finish(i)

    def _share(self, i: int, parts: list[Batch], total: float, seed: int, step: int) -> float | Array:
        model = self.models[i]
        for parameter in self._trained[i]:
            parameter.vacate()
        seed_dropout(model, seed, step, first_call=(self._first + i) << 32)
        loss_sum: Any = 0.0
        with np.errstate(all="ignore"):  # the caller looks at the result; NumPy's warnings are off per thread
            for part in parts:
                loss, _ = self.criterion.loss(model, part)
                loss.backward(1 / total)
                loss_sum = loss_sum + (float(loss) if loss.device == "cpu" else loss.data)
        for parameter in self._trained[i]:
            parameter.settle()
        return loss_sum

    def __enter__(self) -> Replicas:
        return self

    def __exit__(self, *exception: object) -> None:
        """End the threads and processes."""
        if self._workers is not None:
            self._workers.close()
        if self._threads is not None:
            self._threads.shutdown()


def _copy(model: Module, replaced: Callable[[str, Any], Any]) -> Module:
    """A copy of the tree in which `replaced(name, parameter)` stands for each parameter."""
    shared = {id(parameter): replaced(name, parameter) for name, parameter in model.named_parameters()}
    return copy.deepcopy(model, shared)  # deepcopy takes what `shared` holds for what it would have copied
