"""A run: one folder, from data to a model that others open; tokenizer, ids, model, trainer, checkpoints.

What is learnt, and with it all that depends on it, is the objective's; the run is the same for each, whether it begins
with random weights or with a model that is there.

    DIR/options.json   what the run was told: written first, so that a run killed before its first checkpoint is known
    DIR/training_state.safetensors   weights, moments, step, options: all that --resume reads (see checkpoint.py)
    DIR/training_state.previous.safetensors   the one before it, in case that one is damaged
    DIR/config.json, model.safetensors, tokenizer.json, …   the model, as Hugging Face's libraries open it too
    DIR/tokens/train.npy, validation.npy   the data as ids; made again from the data if they are lost
    DIR/metrics.jsonl, loss.png, sample.txt   how it went

A folder may come from somebody else. What is read of it is checked, nothing is written through a link in it, and every
file is written by one function (files/atomic_file.py).

Prerequisites: trainer.py, objectives/causal.py, run_state.py. Next: start.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from ..backend import own_generator, resolve_device, resolve_dtype, to_device
from ..blas import numerics
from ..data.prepare import PARTS_FOLDER
from ..data.sources import TOKEN_INDEX
from ..files import printable, read_json
from ..files.atomic_file import refuse_link, remove_strays, second_name, write_text
from ..models import ADAPTER, PretrainedModel, new_model
from ..ranks import Group, together, with_own_gpus
from ..tokenizers.base import Tokenizer
from .checkpoint import PREVIOUS_FILE, STATE_FILE, Checkpoint, write_checkpoint
from .follow import PARTS, follow_run, hand_over, lend_files, share_plan, tokenizer_from
from .lock import FolderLock
from .metrics import MetricsLog
from .objectives import Objective, SizedSource
from .loop_options import TrainingOptions
from .parallel import default_threads
from .progress import Progress
from .run_options import RunOptions
from .run_state import BestState, RunState, find_state
from .trainer import Best, Trainer

__all__ = ["OPTIONS_FILE", "RUN_FILES", "RunResult", "holds_run", "saved_options", "start_run"]

OPTIONS_FILE = "options.json"
DRAW_EVERY = 10.0  # seconds, at least, between two pictures of the losses: drawing may take longer than small steps
RUN_FILES = (STATE_FILE, PREVIOUS_FILE, OPTIONS_FILE)  # by which a folder is known to hold a run

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


def _tokenizer_from(files: dict[str, str], where: Path) -> Tokenizer:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return tokenizer_from(files, folder)
        except (ValueError, OSError) as error:
            raise ValueError(f"{where}: its tokenizer: {str(error).replace(folder + os.sep, ''):.300}") from None


def _file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _token_hashes(folder: Path) -> dict[str, str | None]:
    """sha256 of each token file, None for one that is not there."""
    return {part: _file_hash(path) if (path := folder / f"{part}.npy").is_file() else None for part in PARTS}


# ---------------------------------------------------------------------------------------------------------------------
# The run


def start_run(options: RunOptions, out: str | Path, *, resume: bool = False,
              stream: TextIO | None = None) -> RunResult:
    """Train into the folder `out`. Where a launcher started several ranks, all of them call this; the first one's
    arguments count, and it alone reads and writes.

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
    if not str(out):
        raise ValueError("the folder to write has no name")
    out, ranks = Path(out), together()
    if ranks.rank:
        return _result(follow_run(ranks))
    if ranks.size > options.batch_size:  # before anything is written
        raise ValueError(f"{ranks.size} ranks cannot share a batch of {options.batch_size}: start fewer, or give a "
                         "larger --batch-size")
    with FolderLock(out) as lock, own_generator(options.seed):
        found = find_state(out) if resume else None
        if found is None:
            _refuse_used(out)
            options = _resolved(options, ranks)
        else:
            options = _agreed(options, found[1], out)
        ranks = with_own_gpus(ranks, options.device)
        run = _Run(options, out, found, stream, lock, ranks)
        if resume and found is None:
            run.notes.append(f"{out} holds no checkpoint yet: starting at step 0")
        return run.go()


def _result(trainer: Trainer) -> RunResult:
    best = trainer.best
    return RunResult(trainer.step, trainer.options.steps, trainer.validation if best is None else best.figures,
                     trainer.step if best is None else best.step, trainer.before, trainer.interrupted)


def holds_run(out: str | Path) -> bool:
    """Whether a folder holds a run that --resume can go on with: a checkpoint, or at least its options."""
    return any((Path(out) / name).is_file() for name in RUN_FILES)


def _refuse_used(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out {out} is a file; name a folder")
    for name in (STATE_FILE, PREVIOUS_FILE, ADAPTER, "model.safetensors", "config.json", TOKEN_INDEX, PARTS_FOLDER):
        if (out / name).exists():
            raise FileExistsError(
                f"{out} holds tokens that tinygpt data has made, or is making: choose another --out"
                if name in (TOKEN_INDEX, PARTS_FOLDER) else
                f"{out} holds a training run already: continue it with --resume, or choose another --out"
                if name in RUN_FILES else
                f"{out} holds a model ({name}) and no training run to continue: choose another --out")


def _resolved(options: RunOptions, ranks: Group) -> RunOptions:
    """Options with what depends on the machine filled in, so that a run is the same wherever it is resumed."""
    device = resolve_device(options.device)  # an error, where there is none, comes before any work
    resolve_dtype(options.dtype, device)
    return dataclasses.replace(options, device=options.device or device,
                               threads=options.threads or default_threads(device, options.batch_size, ranks))


def saved_options(out: str | Path, kind: type[SomeOptions]) -> SomeOptions | None:
    """The options of the run in a folder, which must be of one kind; None if it holds no run.

    They stand in the checkpoint; of a run that was killed before its first one, in the file of its options.

    Raises:
        ValueError: the run is of another kind, or its options are damaged.
    """
    found = find_state(out, whole=False)
    if found is not None:
        checkpoint, state, _ = found
        return _options_of(kind, state.command, state.options, checkpoint.path)
    path = Path(out) / OPTIONS_FILE
    if not path.is_file():
        return None
    saved = read_json(path)
    return _options_of(kind, saved.get("command"), saved.get("options"), path)


def _options_of(kind: type[SomeOptions], command: Any, options: Any, path: Path) -> SomeOptions:
    """The options that a file of a run holds."""
    if command != kind.command:
        name = command if isinstance(command, str) and command.isalpha() and len(command) < 20 else f"{command!r:.40}"
        raise ValueError(f"{path.parent} holds a run of another command, and `tinygpt {name} --resume` goes on with "
                         f"it, not `tinygpt {kind.command}`")
    try:
        return kind.from_saved(options)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} holds no options of a run: {error!s:.300}") from None


def _agreed(options: SomeOptions, state: RunState, out: Path) -> SomeOptions:
    """The options of the run that is resumed; the given ones may leave open what the run has worked out.

    Raises:
        ValueError: they are another run's.
    """
    saved = _options_of(type(options), state.command, state.options, out / STATE_FILE)
    for field in dataclasses.fields(options):
        given, has = getattr(options, field.name), getattr(saved, field.name)
        if given is not None and given != has:
            raise ValueError(f"{field.name} is {has!r:.80} in the run in {out}, not {given!r:.80}: a run is resumed "
                             "with its own options")
    return saved


class _Run:
    """One run and its folder. Half-written files of a process that was killed there are removed."""

    model: PretrainedModel

    def __init__(self, options: RunOptions, out: Path, found: tuple[Checkpoint, RunState, str | None] | None,
                 stream: TextIO | None, lock: FolderLock, ranks: Group) -> None:
        self.options, self.out, self.stream, self.lock, self.ranks = options, out, stream, lock, ranks
        self.notes: list[str] = []  # to be shown once there is something to show them on
        self.checkpoint: Checkpoint | None = None
        self.numerics = numerics()
        self._drawn = -math.inf
        if found is not None:
            self.checkpoint, self.state, why = found
            self.numerics = self.state.numerics
            if why is not None:
                self.notes.append(f"{why}; going on from the checkpoint before it, of step {self.checkpoint.step}")
        self.objective: Objective = options.row.objective(options)

    def go(self) -> RunResult:
        """Prepare, train, and leave everything saved."""
        refuse_link(self.out / "tokens")
        remove_strays(self.out)
        remove_strays(self.out / "tokens")
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
                score=self.objective.score if self.objective.keeps_best else None, patience=self.objective.patience,
                ranks=self.ranks)
            with trainer.stop:  # from the first state on, a signal is answered by saving
                if self.checkpoint is not None:
                    now = numerics()
                    self._restore(trainer, self.checkpoint)
                    self.notes.append(f"resuming {self.out} at step {trainer.step} of {o.steps}")
                    if self.numerics not in ("", now):
                        self.notes.append(
                            f"this run began with {printable(self.numerics):.120} and goes on with {now}: its numbers "
                            "may differ in their last digits from those of a run left alone")
                else:
                    self._written(lambda: self._write_state(trainer))  # from here on --resume needs the folder alone
                    self.notes += [self._headline(o), *self.objective.overview()]
                metrics = trainer.metrics = MetricsLog(self.out / "metrics.jsonl", trainer.step)
                for note in self.notes:
                    self.progress.line(note)
                if self.ranks.size > 1:
                    share_plan(self.ranks, trainer, self.options, config=self.model.config.to_dict(),
                               tokenizer=_tokenizer_files(self.objective.tokenizer), memory=self.objective.memory)
                    with lend_files(self.ranks, self.out / "tokens"):
                        pass
                trainer.run()
                return _result(trainer)
        finally:
            self.progress.close()
            if metrics is not None:
                metrics.close()

    def _prepare(self) -> SizedSource:
        """Tokenizer, ids and model, made anew or as the checkpoint has them; gives the training batches."""
        o, tokens = self.options, self.out / "tokens"
        if self.checkpoint is not None:
            state, path = self.state, self.checkpoint.path
            self.objective.memory = state.memory
            self.objective.use(_tokenizer_from(state.tokenizer, path))
            state.check_model(self.checkpoint)
            model = new_model(state.config)
            model.check_tokenizer(len(self.objective.tokenizer), f"the tokenizer in {path}")
            self._take(model)
            self._mend()
            self.token_hashes = state.tokens
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
        self._check_savable()
        fresh = not self.out.exists()
        self.out.mkdir(parents=True, exist_ok=True)
        self.lock.take()
        _refuse_used(self.out)  # another run may have come and gone since
        known = (self.out / OPTIONS_FILE).is_file()  # a run that was killed before its first checkpoint
        try:
            self._write_options()
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

    def _told(self) -> dict[str, Any]:
        """What the run was told, as JSON has it."""
        return {"command": self.options.command, "options": dataclasses.asdict(self.options)}

    def _write_options(self) -> None:
        write_text(self.out / OPTIONS_FILE, json.dumps(self._told(), indent=2, sort_keys=True) + "\n")

    def _mend(self) -> None:
        """Make the folder of a run that is resumed what its checkpoint says."""
        assert self.checkpoint is not None
        if self.checkpoint.path.name != STATE_FILE:
            second_name(self.checkpoint.path, self.out / STATE_FILE)  # instead of what is damaged
        path = self.out / OPTIONS_FILE
        told = json.loads(json.dumps(self._told()))
        if path.is_file():
            try:
                saved = read_json(path)
            except ValueError:
                saved = {}
            if saved == told:
                return
            self.notes.append(f"{path} is damaged or says other things than the checkpoint: those of the checkpoint "
                              "count, and it is written again")
        self._write_options()

    def _check_savable(self) -> None:
        """Refuse what could never be saved, before anything is written.

        Raises:
            ValueError: a name, a label or the like holds half of a surrogate pair, which no file of UTF-8 can hold.
        """
        whole = {**self._told(), "config": self.model.config.to_dict()}
        try:
            json.dumps(whole, ensure_ascii=False).encode("utf-8")
            _tokenizer_files(self.objective.tokenizer)
        except UnicodeEncodeError as error:
            at = error.start
            raise ValueError(f"{error.object[max(0, at - 20):at + 20]!r} holds half of a character (a lone surrogate), "
                             "which cannot be saved: mend that file name, label, template or text") from None

    def _take(self, model: PretrainedModel) -> None:
        self.model = hand_over(model, self.objective, self.options.device)

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
        parts: list[Callable[[], Any]] = [
            lambda: self._write_state(trainer),
            lambda: self.objective.save(self.model, self.out)]
        if trainer.finished or time.monotonic() - self._drawn >= DRAW_EVERY:
            parts.append(lambda: self.objective.draw(self.out))
            self._drawn = time.monotonic()
        if trainer.finished:
            parts.append(lambda: self.progress.line(self.objective.finish(self.model, self.out)))
        self._written(parts.pop(0))
        with trainer.best_weights():
            for part in parts:
                self._written(part)

    def _written(self, write: Callable[[], Any]) -> None:
        """Write, if the folder is still what it was; and say so if it has stopped to be while this wrote.

        Raises:
            OSError: the folder was moved or replaced.
        """
        self.lock.require()
        try:
            write()
        except OSError:
            self.lock.require()
            raise

    def _write_state(self, trainer: Trainer) -> None:
        best = trainer.best
        state = RunState(
            **self._told(), config=self.model.config.to_dict(), numerics=self.numerics,
            tokenizer=_tokenizer_files(self.objective.tokenizer), tokens=self.token_hashes,
            memory=self.objective.memory, validated=trainer.validated, validation=_finite(trainer.validation),
            before=_finite(trainer.before), peaks=trainer.peaks, waited=trainer.waited,
            best=None if best is None else BestState(best.step, best.score, _finite(best.figures)))
        write_checkpoint(self.out / STATE_FILE, self.model, trainer.optimizer, trainer.step, state.to_json(),
                         None if best is None else best.weights)

    def _restore(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        """Take up where the checkpoint stands.

        Raises:
            ValueError: its arrays are another model's, or its step is beyond the last.
        """
        steps, state = trainer.options.steps, self.state
        if checkpoint.step > steps:
            raise ValueError(f"{checkpoint.path} is of step {checkpoint.step:,}, and this run has {steps:,}")
        checkpoint.restore(self.model, trainer.optimizer)
        if trainer.optimizer.steps != checkpoint.step:
            raise ValueError(f"{checkpoint.path} is of step {checkpoint.step:,}, but its optimizer has made "
                             f"{trainer.optimizer.steps:,} steps")
        trainer.step = checkpoint.step
        trainer.validated, trainer.validation = state.validated, state.validation
        trainer.before, trainer.peaks, trainer.waited = state.before, state.peaks, state.waited
        weights, flat = checkpoint.best(), trainer.optimizer.flat
        if state.best is not None and weights is not None:
            if weights.shape != flat.data.shape or weights.dtype != flat.data.dtype or not self.objective.keeps_best:
                raise ValueError(f"{checkpoint.path}: its best weights, {weights.dtype} {weights.shape}, are another "
                                 f"model's or another task's; expected {flat.data.dtype} {flat.data.shape}")
            trainer.best = Best(state.best.step, state.best.score, state.best.figures,
                                to_device(weights, self.model.device))


def _finite(figures: dict[str, float]) -> dict[str, float]:
    """Those that JSON can hold."""
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}
