"""The training loop: batch, gradient, clip, optimizer; and now and then validate, show a sample, save.

The loop knows neither what is trained nor on what: any model, any source with `batch(step)`, and any loss of the two
will do (losses.py). A step is a function of the weights, the optimizer's state and (seed, step), which is why a run
that was interrupted continues bit for bit. Where validations have a score, the best weights are kept beside the last,
and training ends early when they have not become better for a while.

On a GPU a step is a list of orders that the device works off later, and looking at a number waits until it has come to
it. So loss, norm and clipping stay there, and the figures of READ_EVERY steps are read at once; always before anything
is validated or saved, so that no checkpoint holds weights that a step without a finite loss has touched.

Prerequisites: loop_options.py, parallel.py, checkpoint.py. Next: objectives/base.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..backend import Array, allow_tf32, array_module, device_memory, on_device, to_numpy
from ..blas import blas_can_be_held, blas_threads
from ..kernels.cpu import keep_freed_memory
from ..nn import Module
from ..optim import OPTIMIZERS, FlatParameters, clip_coefficient, cosine_schedule
from ..ranks import Group
from .exchange import Exchange
from .interrupt import StopSignals
from .losses import Criterion
from .metrics import MetricsLog
from .loop_options import TrainingOptions
from .parallel import Replicas, default_threads, processes_pay
from .progress import Progress

__all__ = ["BatchSource", "Best", "DivergedError", "Trainer"]

READ_EVERY = 10  # steps on a GPU; while the host reads and starts anew, the device has nothing to do


@contextmanager
def _tf32(device: str, on: bool) -> Iterator[None]:
    """TF32 inside the block, if it was asked for; CuPy's own setting otherwise."""
    before = allow_tf32(device) if on else False
    try:
        yield
    finally:
        if on:
            allow_tf32(device, before)


class DivergedError(ArithmeticError):
    """The loss or its gradient is no longer a finite number."""


class BatchSource(Protocol):
    """Where batches come from."""

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """What the loss of a step is of, arrays by name with a row for each example; the same whenever it is asked
        for."""


@dataclass(frozen=True)
class _StepFigures:
    """What there is to tell of a step; loss and norm are numbers, or arrays () on a device."""

    step: int
    loss: Any  # float, or an array ()
    norm: Any
    lr: float
    tokens: float
    more: dict[str, float]


@dataclass(frozen=True)
class Best:
    """The best validation so far: its step, its score and figures, and the trained weights of that moment, (N,)."""

    step: int
    score: tuple[float, ...]
    figures: dict[str, float]
    weights: Array


@dataclass
class Trainer:
    """Trains a model.

    Args:
        model: on its device; its parameters move into a FlatParameters, see there.
        criterion: what is minimised: `Criterion(language_loss)`, or an Objective.
        source: where batches come from.
        options: how to train.
        validate: () -> figures to log, "validation_loss" among them; called every `eval_every` steps and at the end.
            It is handed a function that says whether to keep going.
        sample: () -> a text to show after a validation.
        save: (trainer) -> None, called every `save_every` steps, at the end, and when the run is interrupted.
        score: figures -> how good they are: numbers of falling weight, higher is better. With a score there is a
            validation before the first step too. None: not said, and only the last weights matter.
        patience: training ends after so many validations in which no number of the score rose, though not in the first
            half of the steps, for it can take a new model long to begin to learn; None or 0: never.
        metrics, progress: where figures go.
        stop: enter it before `run` where a signal may come that early.
        ranks: those that train together. Each has a Trainer with a model of the same configuration; the first one's
            weights and state count, and it alone keeps the best weights, and saves. `save` is called on all, since all
            have a part of the optimizer's state; `validate` as well, since they share the batches that are measured.

    Attributes:
        step: steps done.
        optimizer: the one that the options name, with the FlatParameters as `.flat`.
        threads: how many replicas train side by side.
        validation: the latest figures of `validate`; validated: the step they are of, or −1.
        best: the best validation, where there is a score; before: the figures before the first step.
        peaks: the highest of each number of the scores so far; waited: validations since one of them last rose.
        interrupted: the signal that ended the run early, or None.
    """

    model: Module
    criterion: Criterion
    source: BatchSource
    options: TrainingOptions
    validate: Callable[[Callable[[], bool]], dict[str, float]] | None = None
    sample: Callable[[], str] | None = None
    save: Callable[[Trainer], None] | None = None
    score: Callable[[dict[str, float]], tuple[float, ...]] | None = None
    patience: int | None = None
    metrics: MetricsLog | None = None
    progress: Progress | None = None
    stop: StopSignals = field(default_factory=StopSignals)
    ranks: Group = field(default_factory=Group)

    def __post_init__(self) -> None:
        o = self.options
        if o.dtype != "float32":  # the parameters' own, otherwise
            self.model.compute_in(o.dtype)
        self.step = 0
        self.interrupted: str | None = None
        self.validation: dict[str, float] = {}
        self.before: dict[str, float] = {}
        self.best: Best | None = None
        self.peaks: tuple[float, ...] = ()
        self.waited = 0
        self.optimizer = OPTIMIZERS[o.optimizer](FlatParameters(self.model), lr=o.lr, betas=(o.beta1, o.beta2),
                                                 weight_decay=o.weight_decay)
        self.validated = self._saved = -1
        self._unread: list[_StepFigures] = []
        self._read_every = 1 if self.optimizer.flat.device == "cpu" else READ_EVERY
        if self.ranks.size > o.batch_size:
            raise ValueError(f"{self.ranks.size} ranks cannot share a batch of {o.batch_size}: start fewer, or give a "
                             "larger --batch-size")
        self.threads = min(o.threads or default_threads(self.model.device, o.batch_size, self.ranks),
                           o.batch_size // self.ranks.size)
        if self.threads > 1 and not blas_can_be_held():  # replicas and BLAS would fight for the cores
            self.threads = 1
            self._log("this system's BLAS chooses its own threads, so training uses one replica (--threads 1)")
        self.stop.alone = self.ranks.size == 1
        flat = self.optimizer.flat
        self.exchange = Exchange(self.ranks, flat, self.optimizer.cuts(self.ranks.size), self.stop, o.fast_sum)

    def lr_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        o = self.options
        warmup = min(100, o.steps // 10) if o.warmup_steps is None else o.warmup_steps
        return cosine_schedule(step, max_lr=o.lr, min_lr=o.lr / 10 if o.min_lr is None else o.min_lr,
                               warmup_steps=min(warmup, o.steps), total_steps=o.steps)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do: all steps are done, or they have long brought nothing."""
        o = self.options
        return self.step == o.steps or bool(
            self.patience and self.waited >= self.patience and 2 * self.step >= o.steps)

    @contextmanager
    def best_weights(self) -> Iterator[None]:
        """Inside the block the model has its best weights, where there is a score, and afterwards its last again."""
        if self.best is None:
            yield
            return
        flat = self.optimizer.flat
        with on_device(flat.device):
            last = flat.data.copy()
            flat.data[...] = self.best.weights
        try:
            yield
        finally:
            with on_device(flat.device):
                flat.data[...] = last

    def run(self) -> None:
        """Train until `options.steps` are done, or until Ctrl-C or SIGTERM, which save and leave.

        Raises:
            DivergedError: the loss is not finite; the last checkpoint is left as it is.
            MemoryError: a step does not fit; the message says what was asked for, what is free, and what to reduce.
        """
        o = self.options
        eval_every = o.eval_every or max(1, o.steps // 10)
        save_every = o.save_every or eval_every
        self.exchange.begin(self.model, self.optimizer)
        keep_freed_memory()
        self.model.train()  # before it is copied
        with (self.stop as stop, on_device(self.optimizer.flat.device), _tf32(self.optimizer.flat.device, o.tf32),
              np.errstate(all="ignore"),  # what is not finite is reported here, once
              blas_threads(1),  # one for each replica
              Replicas(self.model, self.criterion, self.optimizer.flat, self.threads, o.accumulate,
                       processes=self.exchange.alone and processes_pay(self.optimizer.flat, self.threads),
                       exchange=self.exchange) as replicas):
            while True:
                if self.step == o.steps or ((self.step or self.score) and self.step % eval_every == 0):
                    self._evaluate(stop)
                if self.finished or stop.received:
                    break
                if self.step and self.step % save_every == 0:
                    self._save()
                pause = self.step + min(eval_every - self.step % eval_every, save_every - self.step % save_every,
                                        o.steps - self.step)
                if self.progress is not None:
                    self.progress.resume_clock()
                try:
                    while self.step < pause and not stop.received:
                        self._train_step(replicas)
                    self._read()
                except MemoryError as error:
                    raise MemoryError(self._out_of_memory(error)) from None
            self.interrupted = stop.received
            self._save()

    def _train_step(self, replicas: Replicas) -> None:
        o = self.options
        lr = self.lr_at(self.step)
        batch = self.source.batch(self.step)
        loss = replicas.gradient(batch, o.seed, self.step)
        norm = replicas.norm()
        self._unread.append(_StepFigures(self.step + 1, loss, norm, lr, self.criterion.count(batch),
                                         self.criterion.figures(batch)))
        if len(self._unread) >= self._read_every:
            self._read()  # before the optimizer's step: what is not finite stays out of the weights
        self.optimizer.step(lr=lr, grad_scale=clip_coefficient(norm, o.clip), spread=replicas.spread)
        self.exchange.share_weights()
        self.step += 1

    def _read(self) -> None:
        """Look at the figures of the latest steps, and report them.

        Raises:
            DivergedError: one of them is not finite. On a GPU later steps, up to READ_EVERY, have been made with it by
                then: the weights are lost, the last checkpoint is not.
        """
        unread, self._unread = self._unread, []
        seconds = self.progress.lap() / max(1, len(unread)) if self.progress is not None else 0.0
        for figures, (loss, norm) in zip(unread, _on_host(unread)):
            if not math.isfinite(loss) or not math.isfinite(norm):
                raise self._diverged(figures.step, f"the loss is {loss:.4g} and the gradient's norm {norm:.4g}")
            timing = {} if self.progress is None else self.progress.step(
                figures.step, loss, figures.lr, figures.tokens, seconds, figures.more)
            if self.metrics is not None:
                self.metrics.write(step=figures.step, loss=round(loss, 6), lr=figures.lr, grad_norm=round(norm, 6),
                                   **{name: round(value, 6) for name, value in figures.more.items()}, **timing)

    def _evaluate(self, stop: StopSignals) -> None:
        if self.validate is None or self.validated == self.step or stop.received:
            return
        figures = self.exchange.measured(self.validate)
        if stop.received:
            return  # broken off: no figures
        if not math.isfinite(figures.get("validation_loss", 0.0)):
            raise self._diverged(self.step, f"the validation loss is {figures['validation_loss']:.4g}")
        self.validated, self.validation = self.step, figures
        self._compare(figures)
        self._log("before: " * (not self.step) + "  ".join(
            f"{name.replace('_', ' ')} {value:.4f}" for name, value in figures.items()))
        if self.metrics is not None:
            self.metrics.write(step=self.step, **{name: round(value, 6) for name, value in figures.items()})
        if self.finished and self.best is not None and self.step < self.options.steps:
            self._log(f"{self.waited} validations without improvement: stopping early; the best was that of step "
                      f"{self.best.step}")
        elif self.sample is not None and 0 < self.step < self.options.steps and (sample := self.sample()):
            self._log(sample)

    def _compare(self, figures: dict[str, float]) -> None:
        """Keep the weights if these figures are the best so far."""
        if self.score is None:
            return
        score = self.score(figures)
        if not self.step:
            self.before = figures
        peaks = tuple(map(max, score, self.peaks or score))
        rose = peaks != self.peaks  # a loss may fall long before an accuracy rises, and the other way round
        self.peaks, self.waited = peaks, 0 if rose else self.waited + 1
        if self.best is None or score > self.best.score:
            flat = self.optimizer.flat
            with on_device(flat.device):
                self.best = Best(self.step, score, figures, flat.data[:None if self.ranks.rank == 0 else 0].copy())

    def _diverged(self, step: int, what: str) -> DivergedError:
        return DivergedError(f"step {step}: {what}; training has diverged. The last checkpoint is kept; try a lower "
                             "learning rate (--lr) or a longer warmup (--warmup-steps)")

    def _out_of_memory(self, error: MemoryError) -> str:
        device = self.optimizer.flat.device
        memory = device_memory(device)
        free = "" if memory is None else f"; {memory[0] / 2**30:.2f} of its {memory[1] / 2**30:.2f} GiB are free"
        asked = str(error).rstrip(".") or "the requested size is unknown"
        return (f"step {self.step + 1}: out of memory on {device}: {asked}{free}. The last checkpoint is kept; reduce "
                "--batch-size, or cut each batch into more parts with --accumulate, or reduce --block-size")

    def _save(self) -> None:
        if self.save is not None and self._saved != self.step:
            self.save(self)
            self._saved = self.step

    def _log(self, text: str) -> None:
        if self.progress is not None:
            self.progress.line(text)


def _on_host(unread: list[_StepFigures]) -> list[list[float]]:
    """Loss and norm of each step as numbers; from a device, all of them in one transfer."""
    if not unread or isinstance(unread[0].loss, float):
        return [[float(figures.loss), float(figures.norm)] for figures in unread]
    xp = array_module(unread[0].loss)
    pairs = [xp.stack([figures.loss.astype(xp.float64), figures.norm]) for figures in unread]
    return to_numpy(xp.stack(pairs)).tolist()
