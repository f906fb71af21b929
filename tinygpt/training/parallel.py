"""Data parallelism: replicas that share the weights, each with a part of the batch and a gradient array of its own.

    batch ──┬─ rows 0 … k ──> replica 0 ──> flat gradient 0 ─┐
            └─ rows k … B ──> replica 1 ──> flat gradient 1 ─┴─> sum ──> clip, AdamW

The loss of a step is a sum over tokens divided by the tokens of the whole step, so replicas (and micro-batches, which
are the same thing one after the other) with unequal numbers of tokens weigh what they should.

Replicas run in threads: NumPy lets go of Python's lock while it computes. Each uses one BLAS thread, because the
elementwise half of a step, which BLAS threads would leave alone, then runs in parallel too.

Read before: optim/flat.py, options.py. Read next: checkpoint.py.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..backend import Array, on_device
from ..nn import Module, seed_dropout
from ..optim import FlatParameters

__all__ = ["Replicas", "blas_can_be_held", "blas_threads", "default_threads", "physical_cores", "split_batch",
           "token_weight"]

Batch = dict[str, np.ndarray]


def physical_cores() -> int:
    """How many cores this process may use, hyper-threads counted once where the system tells."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/devices/system/cpu/smt/active", encoding="ascii") as file:
            siblings = 2 if file.read().strip() == "1" else 1
    except OSError:
        siblings = 1
    return max(1, usable // siblings)


def default_threads(device: str, batch_size: int) -> int:
    """How many replicas train side by side unless a number is given: one on a GPU, which is parallel by itself."""
    return min(physical_cores(), batch_size) if device == "cpu" else 1


@contextlib.contextmanager
def blas_threads(n: int) -> Iterator[None]:
    """Hold BLAS to n threads inside the block."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=n, user_api="blas"):
        yield


def blas_can_be_held() -> bool:
    """Whether `blas_threads` has a BLAS to hold; macOS's Accelerate is none."""
    from threadpoolctl import ThreadpoolController

    return bool(ThreadpoolController().select(user_api="blas").lib_controllers)


def token_weight(batch: Batch) -> float:
    """How many targets of a batch count: those that are not −100, or the sum of their weights."""
    counted = batch["targets"] >= 0
    return float(batch["weights"][counted].sum() if "weights" in batch else np.count_nonzero(counted))


def split_batch(batch: Batch, n: int) -> list[Batch]:
    """The rows of a batch in n parts of nearly equal size; fewer where there are fewer rows."""
    rows = len(batch["targets"])
    bounds = [rows * i // n for i in range(n + 1)]
    return [{name: array[start:stop] for name, array in batch.items()}
            for start, stop in zip(bounds, bounds[1:]) if stop > start]


class Replicas:
    """`n` copies of a model that share its weights.

    Args:
        model: its parameters live in `flat`.
        flat: the weights, and the gradient that `gradient` fills.
        n: how many.
        accumulate: micro-batches that each replica takes one after the other, to need less memory.
    """

    def __init__(self, model: Module, flat: FlatParameters, n: int = 1, accumulate: int = 1) -> None:
        self.flat, self.accumulate = flat, accumulate
        self.gradients = [flat.grad] + [flat.new_gradient() for _ in range(n - 1)]
        self.models = [model] + [self._replica(model, gradient) for gradient in self.gradients[1:]]
        self._trained = [[parameter for parameter in each.parameters() if parameter.requires_grad]
                         for each in self.models]
        self._pool = ThreadPoolExecutor(n, thread_name_prefix="replica") if n > 1 else None

    def _replica(self, model: Module, gradient: Any) -> Module:
        views = self.flat.views(gradient)
        shared: dict[int, Any] = {}
        for name, parameter in model.named_parameters():
            shared[id(parameter)] = parameter._share(views[name]) if name in views else parameter
        return copy.deepcopy(model, shared)  # deepcopy takes what `shared` holds for what it would have copied

    def gradient(self, batch: Batch, seed: int, step: int) -> float | Array:
        """Put the gradient of the batch's mean loss into `flat.grad`; return that loss.

        On a GPU the loss is an array () that has not been looked at: reading it waits for the device.
        """
        total = token_weight(batch)
        if not total:
            raise ValueError(f"training step {step}: no target in the batch counts")
        parts = split_batch(batch, len(self.models) * self.accumulate)
        shares = [parts[i * self.accumulate:(i + 1) * self.accumulate] for i in range(len(self.models))]
        jobs = [(i, share, total, seed, step) for i, share in enumerate(shares)]
        if self._pool is None:
            losses = [self._work(*jobs[0])]
        else:
            losses = [future.result() for future in [self._pool.submit(self._work, *job) for job in jobs]]
        with on_device(self.flat.device):
            for gradient in self.gradients[1:]:
                self.flat.grad += gradient
            return sum(losses) / total

    def _work(self, i: int, parts: list[Batch], total: float, seed: int, step: int) -> float | Array:
        with on_device(self.flat.device):  # each thread has a current device of its own
            return self._share(i, parts, total, seed, step)

    def _share(self, i: int, parts: list[Batch], total: float, seed: int, step: int) -> float | Array:
        model: Any = self.models[i]
        for parameter in self._trained[i]:
            parameter._vacate()
        seed_dropout(model, seed, step, replica=i)
        loss_sum: Any = 0.0
        with np.errstate(all="ignore"):  # the caller looks at the result; NumPy's warnings are off per thread
            for part in parts:
                loss = model.loss(**part, reduction="sum")
                loss.backward(1 / total)
                loss_sum = loss_sum + (float(loss) if loss.device == "cpu" else loss.data)
        for parameter in self._trained[i]:
            parameter._settle()
        return loss_sum

    def __enter__(self) -> Replicas:
        return self

    def __exit__(self, *exception: object) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
