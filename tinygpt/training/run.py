"""A run: one folder, from data to a model that others open; tokenizer, ids, model, trainer, checkpoints.

What is learnt, and with it all that depends on it, is the objective's; the run is the same for each, whether it begins
with random weights or with a model that is there.

    DIR/options.json   what the run was told: written first, so that a run killed before its first checkpoint is known
    DIR/training_state.safetensors   weights, moments, step, options: all that --resume reads (see checkpoint.py)
    DIR/config.json, model.safetensors, tokenizer.json, …   the model, as Hugging Face's libraries open it too
    DIR/tokens/train.npy, validation.npy   the data as ids; made again from the data if they are lost
    DIR/metrics.jsonl, loss.png, sample.txt   how it went

Prerequisites: trainer.py, objectives/causal.py, run_options.py. Next: start.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from ..backend import manual_seed, resolve_device, resolve_dtype, to_device
from ..files import read_json, write_json
from ..models import ADAPTER, PretrainedModel, new_model
from ..tokenizers import load_tokenizer
from ..tokenizers.base import Tokenizer
from .checkpoint import STATE_FILE, Checkpoint, read_checkpoint, write_checkpoint
from .lock import locked
from .metrics import MetricsLog, plot_losses
from .objectives import Objective, SizedSource
from .loop_options import TrainingOptions
from .parallel import default_threads
from .progress import Progress
from .run_options import RunOptions
from .trainer import Best, Trainer

__all__ = ["RunResult", "holds_run", "saved_options", "start_run"]

OPTIONS_FILE = "options.json"

SomeOptions = TypeVar("SomeOptions", bound=RunOptions)


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        step: steps done; steps: of how many.
        validation: figures of the weights that were saved as the model; best_step: how many steps they had.
        before: where the best weights are kept, the figures before the first step.
        interrupted: the signal that ended the run early, or None.
    """

    step: int
    steps: int
    validation: dict[str, float]
    best_step: int
    before: dict[str, float]
    interrupted: str | None


# ---------------------------------------------------------------------------------------------------------------------
# Tokenizers and files of ids


def _tokenizer_files(tokenizer: Tokenizer) -> dict[str, str]:
    """The files that the tokenizer saves itself to, so that a checkpoint can hold them."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(folder)
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).iterdir())}


def _tokenizer_from(files: dict[str, str]) -> Tokenizer:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / Path(name).name).write_text(text, encoding="utf-8")
        return load_tokenizer(folder)


def _file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


PARTS = ("train", "validation")


def _token_hashes(folder: Path) -> dict[str, str | None]:
    """sha256 of each token file, None for one that is not there."""
    return {part: _file_hash(path) if (path := folder / f"{part}.npy").is_file() else None for part in PARTS}


# ---------------------------------------------------------------------------------------------------------------------
# The run


def start_run(options: RunOptions, out: str | Path, *, resume: bool = False,
              stream: TextIO | None = None) -> RunResult:
    """Train into the folder `out`.

    Args:
        options: what and how.
        resume: go on from the folder's last complete checkpoint, or start if there is none. The options must then be
            those of the run: `saved_options` gives them.
        stream: where progress is shown; standard error by default.

    Raises:
        FileExistsError: `out` holds a model or a run already, and `resume` is not asked for; or another process is
            writing into it.
        ValueError, FileNotFoundError: options or data that cannot be trained with.
        DivergedError: the loss is no longer finite.
        OSError: the disk is full, say; the last checkpoint is whole.
    """
    out = Path(out)
    state = out / STATE_FILE
    with contextlib.ExitStack() as held:
        lock: contextlib.AbstractContextManager[None] = locked(out)
        if out.is_dir():
            held.enter_context(lock)
            lock = contextlib.nullcontext()
        checkpoint = read_checkpoint(state) if resume and state.is_file() else None
        if checkpoint is None:
            _refuse_used(out)
            options = _resolved(options)
        run = _Run(options, out, checkpoint, stream, lambda: held.enter_context(lock))
        if resume and checkpoint is None:
            run.notes.append(f"{out} holds no checkpoint yet: starting at step 0")
        return run.go()


def holds_run(out: str | Path) -> bool:
    """Whether a folder holds a run that --resume can go on with: a checkpoint, or at least the run's options."""
    return any((Path(out) / name).is_file() for name in (STATE_FILE, OPTIONS_FILE))


def _refuse_used(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out {out} is a file; name a folder")
    for name in (STATE_FILE, ADAPTER, "model.safetensors", "config.json"):
        if (out / name).exists():
            raise FileExistsError(
                f"{out} holds a training run already: continue it with --resume, or choose another --out"
                if name == STATE_FILE else
                f"{out} holds a model ({name}) and no training run to continue: choose another --out")


def _resolved(options: RunOptions) -> RunOptions:
    """Options with what depends on the machine filled in, so that a run is the same wherever it is resumed."""
    device = resolve_device(options.device)  # an error, where there is none, comes before any work
    resolve_dtype(options.dtype, device)
    return dataclasses.replace(options, device=options.device or device,
                               threads=options.threads or default_threads(device, options.batch_size))


def saved_options(out: str | Path, kind: type[SomeOptions]) -> SomeOptions | None:
    """The options of the run in a folder, which must be of one kind; None if it holds no run.

    They stand in the checkpoint; of a run that was killed before its first one, in the file of its options.

    Raises:
        ValueError: the run is of another kind, or its options are damaged.
    """
    state = Path(out) / STATE_FILE
    if not holds_run(out):
        return None
    if state.is_file():
        run = read_checkpoint(state).run
    else:
        state = Path(out) / OPTIONS_FILE
        run = read_json(state)
    if run.get("command") != kind.command:
        raise ValueError(f"{out} holds a run of another command, and `tinygpt {run.get('command')} --resume` goes on "
                         f"with it, not `tinygpt {kind.command}`")
    saved: Any = run.get("options")
    try:
        return kind(**{**saved, "data": tuple(saved["data"])})
    except (TypeError, KeyError) as error:
        raise ValueError(f"{state} holds no options of a run: {error}") from None


class _Run:
    """One run and its folder. Half-written files of a process that was killed there are removed."""

    model: PretrainedModel

    def __init__(self, options: RunOptions, out: Path, checkpoint: Checkpoint | None, stream: TextIO | None,
                 lock: Callable[[], None]) -> None:
        self.options, self.out, self.checkpoint, self.stream = options, out, checkpoint, stream
        self.lock = lock  # takes the lock of the folder, where it was not there to be locked before
        self.objective: Objective = options.row.objective(options)
        self.notes: list[str] = []  # to be shown once there is something to show them on

    def go(self) -> RunResult:
        """Prepare, train, and leave everything saved."""
        for stray in itertools.chain(self.out.glob(".*.[0-9]*.tmp"), self.out.glob("tokens/.*.[0-9]*.tmp")):
            stray.unlink(missing_ok=True)
        manual_seed(self.options.seed)
        source = self._prepare()
        o = self._training_options(source)
        self.progress = Progress(o.steps, 0 if self.checkpoint is None else self.checkpoint.step, self.stream,
                                 unit=self.objective.unit)
        metrics = None
        try:
            trainer = Trainer(
                self.model, self.objective, source, o,
                validate=lambda keep_going: self.objective.validate(self.model, keep_going),
                sample=lambda: self.objective.sample(self.model), save=self._save, progress=self.progress,
                score=self.objective.score if self.objective.keeps_best else None, patience=self.objective.patience)
            with trainer.stop:  # from the first state on, a signal is answered by saving
                if self.checkpoint is not None:
                    self._restore(trainer, self.checkpoint)
                    self.notes.append(f"resuming {self.out} at step {trainer.step} of {o.steps}")
                else:
                    self._write_state(trainer)  # from here on --resume needs nothing but the folder
                    self.notes += [self._headline(o), *self.objective.overview()]
                metrics = trainer.metrics = MetricsLog(self.out / "metrics.jsonl", trainer.step)
                for note in self.notes:
                    self.progress.line(note)
                trainer.run()
                best = trainer.best
                return RunResult(trainer.step, o.steps, trainer.validation if best is None else best.figures,
                                 trainer.step if best is None else best.step, trainer.before, trainer.interrupted)
        finally:
            self.progress.close()
            if metrics is not None:
                metrics.close()

    def _prepare(self) -> SizedSource:
        """Tokenizer, ids and model, made anew or as the checkpoint has them; gives the training batches."""
        o, tokens = self.options, self.out / "tokens"
        if self.checkpoint is not None:
            run: Any = self.checkpoint.run
            self.objective.memory = run["memory"]
            self.objective.use(_tokenizer_from(run["tokenizer"]))
            self._take(new_model(run["config"]))
            self.token_hashes = run["tokens"]
            if _token_hashes(tokens) != self.token_hashes:
                self.notes.append("the token files are missing or damaged: making them again from the data")
                self._write_token_files(self.objective.parts())
                if _token_hashes(tokens) != self.token_hashes:
                    raise ValueError(f"the data of this run ({' '.join(o.data) or 'the embedded corpus'}) has changed "
                                     "since it began, so it cannot continue; start another with a new --out")
            return self._start()
        parts = self.objective.parts()
        self.objective.use(self.objective.first_tokenizer(*parts))
        self._take(self.objective.first_model())  # contradictions are found before anything is written
        fresh = not self.out.exists()
        self.out.mkdir(parents=True, exist_ok=True)
        self.lock()
        _refuse_used(self.out)  # another run may have come and gone since
        known = (self.out / OPTIONS_FILE).is_file()  # a run that was killed before its first checkpoint
        try:
            write_json(self.out / OPTIONS_FILE, {"command": o.command, "options": dataclasses.asdict(o)})
            self._write_token_files(parts)
            source = self._start()
        except BaseException:
            if fresh:
                shutil.rmtree(self.out, ignore_errors=True)
            for part in PARTS:
                (tokens / f"{part}.npy").unlink(missing_ok=True)
            if not known:
                (self.out / OPTIONS_FILE).unlink(missing_ok=True)
            raise
        self.token_hashes = _token_hashes(tokens)
        return source

    def _take(self, model: PretrainedModel) -> None:
        self.objective.adapt(model)
        self.objective.use_config(model.config)
        self.model = model.to(self.options.device)

    def _write_token_files(self, parts: tuple[Any, Any]) -> None:
        for name, part in zip(PARTS, parts):
            self.objective.write(self.out / "tokens" / f"{name}.npy", part)

    def _start(self) -> SizedSource:
        return self.objective.start(*(self.objective.read(self.out / "tokens" / f"{part}.npy") for part in PARTS))

    def _training_options(self, source: SizedSource) -> TrainingOptions:
        """The options with what depends on model and data filled in; worked out again whenever a run is resumed."""
        o = self.options
        known: dict[str, Any] = {field.name: getattr(o, field.name) for field in dataclasses.fields(TrainingOptions)}
        return TrainingOptions(**known | dict(
            batch_size=source.batch_size, steps=self.objective.n_steps(source),
            lr=self.objective.lr(self.model) if o.lr is None else o.lr))

    def _headline(self, o: TrainingOptions) -> str:
        trained = sum(parameter.size for parameter in self.model.parameters() if parameter.requires_grad)
        part = "" if trained == self.model.n_parameters \
            else f" ({trained:,} trained, {trained / self.model.n_parameters:.1%})"
        return (f"{self.model.n_parameters:,} parameters{part}, {self.objective.headline()} of a vocabulary of "
                f"{len(self.objective.tokenizer):,}, {o.steps:,} steps of {o.batch_size} x "
                f"{self.objective.config.block_size} tokens, into {self.out}")

    def _save(self, trainer: Trainer) -> None:
        """The training state first, then everything that is made from it."""
        self._write_state(trainer)
        with trainer.best_weights():
            self.objective.save(self.model, self.out)
            plot_losses(self.out / "metrics.jsonl", self.out / "loss.png", self.objective.unit)
            if trainer.finished:
                self.progress.line(self.objective.finish(self.model, self.out))

    def _write_state(self, trainer: Trainer) -> None:
        best = trainer.best
        write_checkpoint(self.out / STATE_FILE, self.model, trainer.optimizer, trainer.step, {
            "command": self.options.command, "options": dataclasses.asdict(self.options),
            "config": self.model.config.to_dict(), "tokenizer": _tokenizer_files(self.objective.tokenizer),
            "tokens": self.token_hashes, "memory": self.objective.memory,
            "validated": trainer.validated, "validation": trainer.validation,
            "before": trainer.before, "peaks": trainer.peaks, "waited": trainer.waited,
            "best": None if best is None else {"step": best.step, "score": best.score, "figures": best.figures},
        }, None if best is None else best.weights)

    def _restore(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        checkpoint.restore(self.model, trainer.optimizer)
        trainer.step = checkpoint.step
        run: Any = checkpoint.run
        trainer.validated, trainer.validation = run["validated"], run["validation"]
        trainer.before, trainer.peaks, trainer.waited = run["before"], tuple(run["peaks"]), run["waited"]
        if (best := run["best"]) is not None:
            trainer.best = Best(best["step"], tuple(best["score"]), best["figures"],
                                to_device(checkpoint.best(), self.model.device))
