"""Pretraining, from text to a folder that generates: tokenizer, token files, model, trainer, checkpoints.

What is predicted, and with it all that depends on it, is the objective's; the run below is the same for each.

    DIR/training_state.safetensors   weights, moments, step, options: all that --resume reads (see checkpoint.py)
    DIR/config.json, model.safetensors, tokenizer.json, …   the model, as Hugging Face's libraries open it too
    DIR/tokens/train.npy, validation.npy   the text as ids; made again from the data if they are lost
    DIR/metrics.jsonl, loss.png, sample.txt   how it went

Read before: trainer.py, objectives/causal.py. Read next: cli/pretrain.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ..backend import manual_seed, resolve_device
from ..data import TokenFile
from ..tokenizers import load_tokenizer
from ..tokenizers.base import Tokenizer
from .checkpoint import STATE_FILE, Checkpoint, read_checkpoint, write_checkpoint
from .metrics import MetricsLog, plot_losses
from .objectives import SizedSource, objective_of
from .pretrain_options import PretrainOptions
from .parallel import default_threads
from .progress import Progress
from .trainer import Trainer

__all__ = ["PretrainOptions", "PretrainResult", "pretrain", "saved_options"]


@dataclass(frozen=True)
class PretrainResult:
    """How a run ended: steps done, the latest validation figures, and the signal that ended it early, or None."""

    step: int
    validation: dict[str, float]
    interrupted: str | None


# ---------------------------------------------------------------------------------------------------------------------
# From text to ids


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


def pretrain(options: PretrainOptions, out: str | Path, *, resume: bool = False,
             stream: TextIO | None = None) -> PretrainResult:
    """Train a model on text into the folder `out`.

    Args:
        options: what and how.
        resume: go on from the folder's last complete checkpoint, or start if there is none. The options must then be
            those of the run: `saved_options` gives them.
        stream: where progress is shown; standard error by default.

    Raises:
        FileExistsError: `out` holds a model or a run already, and `resume` is not asked for.
        ValueError, FileNotFoundError: options or data that cannot be trained with.
        DivergedError: the loss is no longer finite.
        OSError: the disk is full, say; the last checkpoint is whole.
    """
    out = Path(out)
    state = out / STATE_FILE
    checkpoint = read_checkpoint(state) if resume and state.is_file() else None
    if checkpoint is None:
        _refuse_used(out)
        options = _resolved(options)
    return _Run(options, out, checkpoint, stream).go()


def _refuse_used(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out {out} is a file; name a folder")
    for name in (STATE_FILE, "model.safetensors", "config.json"):
        if (out / name).exists():
            raise FileExistsError(
                f"{out} holds a training run already: continue it with --resume, or choose another --out"
                if name == STATE_FILE else
                f"{out} holds a model ({name}) and no training run to continue: choose another --out")


def _resolved(options: PretrainOptions) -> PretrainOptions:
    """Options with what depends on the machine filled in, so that a run is the same wherever it is resumed."""
    device = resolve_device(options.device)  # an error, where there is none, comes before any work
    return dataclasses.replace(options, device=options.device or device,
                               threads=options.threads or default_threads(device, options.batch_size))


def saved_options(out: str | Path) -> PretrainOptions | None:
    """The options of the run in a folder; None if it has no complete checkpoint."""
    state = Path(out) / STATE_FILE
    if not state.is_file():
        return None
    saved: Any = read_checkpoint(state).run.get("options")
    try:
        return PretrainOptions(**{**saved, "data": tuple(saved["data"])})
    except (TypeError, KeyError) as error:
        raise ValueError(f"{state} holds no options of a pretraining run: {error}") from None


class _Run:
    """One pretraining run and its folder. Half-written files of a process that was killed there are removed."""

    def __init__(self, options: PretrainOptions, out: Path, checkpoint: Checkpoint | None,
                 stream: TextIO | None) -> None:
        self.options, self.out, self.checkpoint = options, out, checkpoint
        self.objective = objective_of(options)
        self.progress = Progress(options.steps, 0 if checkpoint is None else checkpoint.step, stream)

    def go(self) -> PretrainResult:
        """Prepare, train, and leave everything saved."""
        metrics = None
        for stray in itertools.chain(self.out.glob(".*.[0-9]*.tmp"), self.out.glob("tokens/.*.[0-9]*.tmp")):
            stray.unlink(missing_ok=True)
        try:
            source = self._prepare()
            o = self.options
            trainer = Trainer(
                self.model, source, dataclasses.replace(o, batch_size=source.batch_size),
                validate=lambda keep_going: self.objective.validate(self.model, keep_going),
                sample=lambda: self.objective.sample(self.model), save=self._save, progress=self.progress)
            with trainer.stop:  # from the first state on, a signal is answered by saving
                if self.checkpoint is not None:
                    self.checkpoint.restore(self.model, trainer.optimizer)
                    trainer.step = self.checkpoint.step
                    run = self.checkpoint.run
                    trainer.validated, trainer.validation = run["validated"], run["validation"]
                    headline = f"resuming {self.out} at step {trainer.step} of {o.steps}"
                else:
                    self._write_state(trainer)  # from here on --resume needs nothing but the folder
                    headline = self._headline(source.batch_size)
                metrics = trainer.metrics = MetricsLog(self.out / "metrics.jsonl", trainer.step)
                self.progress.line(headline)
                trainer.run()
                return PretrainResult(trainer.step, trainer.validation, trainer.interrupted)
        finally:
            self.progress.close()
            if metrics is not None:
                metrics.close()

    def _prepare(self) -> SizedSource:
        """Tokenizer, token files and model, made anew or as the checkpoint has them; gives the training batches."""
        o, tokens = self.options, self.out / "tokens"
        if self.checkpoint is not None:
            run: Any = self.checkpoint.run
            self.objective.use(_tokenizer_from(run["tokenizer"]))
            self.token_hashes = run["tokens"]
            if _token_hashes(tokens) != self.token_hashes:
                self.progress.line("the token files are missing or damaged: making them again from the data")
                self._write_token_files(self.objective.texts())
                if _token_hashes(tokens) != self.token_hashes:
                    raise ValueError(f"the data of this run ({' '.join(o.data) or 'the embedded corpus'}) has changed "
                                     "since it began, so it cannot continue; start another with a new --out")
            self._make_model()
            return self._start()
        texts = self.objective.texts()
        self.objective.use(self.objective.new_tokenizer(*texts))
        self._make_model()  # contradictions are found before anything is written
        fresh = not self.out.exists()
        try:
            self._write_token_files(texts)
            source = self._start()
        except BaseException:
            if fresh:
                shutil.rmtree(self.out, ignore_errors=True)
            for part in PARTS:
                (tokens / f"{part}.npy").unlink(missing_ok=True)
            raise
        self.token_hashes = _token_hashes(tokens)
        return source

    def _make_model(self) -> None:
        manual_seed(self.options.seed)
        self.model = self.objective.model().to(self.options.device)

    def _write_token_files(self, texts: tuple[Iterable[str], Iterable[str]]) -> None:
        for part, text in zip(PARTS, texts):
            self.objective.write(self.out / "tokens" / f"{part}.npy", text)

    def _start(self) -> SizedSource:
        n_vocab = len(self.objective.tokenizer)
        train, validation = (TokenFile(self.out / "tokens" / f"{part}.npy", n_vocab).ids for part in PARTS)
        return self.objective.start(train, validation)

    def _headline(self, batch_size: int) -> str:
        o = self.options
        return (f"{self.model.n_parameters:,} parameters, {self.objective.headline()} of a vocabulary of "
                f"{len(self.objective.tokenizer):,}, {o.steps:,} steps of {batch_size} x {o.block_size} tokens, "
                f"into {self.out}")

    def _save(self, trainer: Trainer) -> None:
        """The training state first, then everything that is made from it."""
        self._write_state(trainer)
        self.model.save_pretrained(self.out, self.objective.tokenizer)
        plot_losses(self.out / "metrics.jsonl", self.out / "loss.png")
        if trainer.step == self.options.steps:
            sample = self.objective.sample(self.model, final=True)
            (self.out / "sample.txt").write_text(sample + "\n", encoding="utf-8")
            self.progress.line(f"a sample:\n{sample}")

    def _write_state(self, trainer: Trainer) -> None:
        write_checkpoint(self.out / STATE_FILE, self.model, trainer.optimizer, trainer.step, {
            "options": dataclasses.asdict(self.options), "tokenizer": _tokenizer_files(self.objective.tokenizer),
            "tokens": self.token_hashes, "validated": trainer.validated, "validation": trainer.validation})
