"""Pretraining, from text to a folder that generates: tokenizer, token files, model, trainer, checkpoints.

    DIR/training_state.safetensors   weights, moments, step, options: all that --resume reads (see checkpoint.py)
    DIR/config.json, model.safetensors, tokenizer.json, …   the model, as Hugging Face's libraries open it too
    DIR/tokens/train.npy, validation.npy   the text as ids; made again from the data if they are lost
    DIR/metrics.jsonl, loss.png, sample.txt   how it went

Read before: trainer.py, data/__init__.py. Read next: cli/pretrain.py.
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

import numpy as np

from ..backend import manual_seed, resolve_device
from ..data import Documents, TokenFile, WindowSampler, require_block, split_documents, write_tokens
from ..evaluation import byte_lengths, text_loss
from ..models import GPT, GPTConfig
from ..tokenizers import ByteBPE, CharTokenizer, load_tokenizer
from ..tokenizers.base import Tokenizer
from .checkpoint import STATE_FILE, Checkpoint, read_checkpoint, write_checkpoint
from .metrics import MetricsLog, plot_losses
from .options import TrainingOptions, option
from .parallel import physical_cores
from .progress import Progress
from .trainer import Trainer

__all__ = ["PretrainOptions", "PretrainResult", "pretrain", "saved_options"]

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(TrainingOptions):
    """What to train on, what to train, and how."""

    data: tuple[str, ...] = option((), "files, folders, - for standard input, or named corpora [the embedded corpus]")
    objective: str = option("causal", "what to predict: the next token", choices=("causal",))
    tokenizer: str = option("bpe", "char, bpe, or a folder that holds a tokenizer")
    vocab_size: int = option(1024, "tokens of a new bpe tokenizer")
    validation: float = option(0.1, "part of the text, at its end, that only validates")
    architecture: str = option("gpt2", "the model's layout", choices=("gpt2", "llama"))
    n_layer: int = option(4, "transformer blocks")
    n_head: int = option(4, "attention heads")
    n_kv_head: int | None = option(None, "heads of keys and values [n_head]")
    n_embd: int = option(128, "channels")
    block_size: int = option(128, "longest context, in tokens")
    bias: bool | None = option(None, "biases in linear layers and norms [the layout's]")
    activation: str | None = option(None, "gelu, gelu_tanh, relu or silu [the layout's]")
    dropout: float = option(0.0, "dropout rate")

    def config(self, tokenizer: Tokenizer) -> GPTConfig:
        """The model's configuration."""
        same = ("block_size", "n_layer", "n_head", "n_kv_head", "n_embd", "architecture", "activation", "bias",
                "dropout")
        return GPTConfig(
            vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id, **{name: getattr(self, name) for name in same})


@dataclass(frozen=True)
class PretrainResult:
    """How a run ended: steps done, the latest validation figures, and the signal that ended it early, or None."""

    step: int
    validation: dict[str, float]
    interrupted: str | None


# ---------------------------------------------------------------------------------------------------------------------
# From text to ids


def _make_tokenizer(options: PretrainOptions, documents: Documents) -> Tokenizer:
    """A tokenizer for the text. BPE learns from the training part alone; characters are taken from all of it, so that
    validation meets no unknown one."""
    if options.tokenizer == "char":
        return CharTokenizer.train(documents)
    if options.tokenizer == "bpe":
        training, _ = split_documents(documents, options.validation)
        return ByteBPE.train(training, vocab_size=options.vocab_size, special_tokens=[END_OF_TEXT])
    if not Path(options.tokenizer).is_dir():
        raise FileNotFoundError(f"--tokenizer is char, bpe, or a folder that holds a tokenizer; there is no folder "
                                f"{options.tokenizer}")
    return load_tokenizer(options.tokenizer)


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


def _write_token_files(folder: Path, options: PretrainOptions, documents: Iterable[str], tokenizer: Tokenizer) -> None:
    for part, text in zip(PARTS, split_documents(documents, options.validation)):
        write_tokens(folder / f"{part}.npy", text, tokenizer)


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
    return dataclasses.replace(options, device=options.device or resolve_device(),
                               threads=options.threads or min(physical_cores(), options.batch_size))


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
        self.progress = Progress(options.steps, 0 if checkpoint is None else checkpoint.step, stream)

    def go(self) -> PretrainResult:
        """Prepare, train, and leave everything saved."""
        files = []
        metrics = None
        for stray in itertools.chain(self.out.glob(".*.[0-9]*.tmp"), self.out.glob("tokens/.*.[0-9]*.tmp")):
            stray.unlink(missing_ok=True)
        try:
            self._prepare()
            files = [TokenFile(self.out / "tokens" / f"{part}.npy", len(self.tokenizer)) for part in PARTS]
            train, validation = (file.ids for file in files)
            require_block(len(train), self.options.block_size, "the training text")
            require_block(len(validation), 1, "the validation text")
            o = self.options
            batch_size = min(o.batch_size, len(train) - o.block_size)
            trainer = Trainer(
                self.model, WindowSampler(train, o.block_size, batch_size, o.seed),
                dataclasses.replace(o, batch_size=batch_size),
                validate=lambda keep_going: self._validate(validation, keep_going), sample=self._sample,
                save=self._save, progress=self.progress)
            if self.checkpoint is not None:
                self.checkpoint.restore(self.model, trainer.optimizer)
                trainer.step = self.checkpoint.step
                trainer.validated, trainer.validation = self.checkpoint.run["validated"], self.checkpoint.run["validation"]
                headline = f"resuming {self.out} at step {trainer.step} of {o.steps}"
            else:
                self._write_state(trainer)  # from here on --resume needs nothing but the folder
                headline = self._headline(train, validation)
            metrics = trainer.metrics = MetricsLog(self.out / "metrics.jsonl", trainer.step)
            self.progress.line(headline)
            trainer.run()
            return PretrainResult(trainer.step, trainer.validation, trainer.interrupted)
        finally:
            self.progress.close()
            if metrics is not None:
                metrics.close()
            del files

    def _prepare(self) -> None:
        """Tokenizer, token files and model: made anew, or as the checkpoint has them."""
        o, tokens = self.options, self.out / "tokens"
        if self.checkpoint is not None:
            run: Any = self.checkpoint.run
            self.tokenizer = _tokenizer_from(run["tokenizer"])
            self.token_hashes = run["tokens"]
            if _token_hashes(tokens) != self.token_hashes:
                self.progress.line("the token files are missing or damaged: making them again from the data")
                _write_token_files(tokens, o, Documents(o.data), self.tokenizer)
                if _token_hashes(tokens) != self.token_hashes:
                    raise ValueError(f"the data of this run ({' '.join(o.data) or 'the embedded corpus'}) has changed "
                                     "since it began, so it cannot continue; start another with a new --out")
        else:
            documents = Documents(o.data)
            self.tokenizer = _make_tokenizer(o, documents)
            o.config(self.tokenizer)  # contradictions are found before anything is written
            fresh = not self.out.exists()
            try:
                _write_token_files(tokens, o, documents, self.tokenizer)
                for part, least in zip(PARTS, (o.block_size, 1)):
                    with TokenFile(tokens / f"{part}.npy", len(self.tokenizer)) as file:
                        require_block(len(file), least, f"the {'training' if part == 'train' else part} text")
            except BaseException:
                if fresh:
                shutil.rmtree(self.out, ignore_errors=True)
            for part in PARTS:
                (tokens / f"{part}.npy").unlink(missing_ok=True)
                raise
            self.token_hashes = _token_hashes(tokens)
        manual_seed(o.seed)
        self.model = GPT(o.config(self.tokenizer)).to(o.device)
        self.lengths = byte_lengths(self.tokenizer)

    def _headline(self, train: np.ndarray, validation: np.ndarray) -> str:
        o = self.options
        return (f"{self.model.n_parameters:,} parameters, {len(train):,} training and {len(validation):,} validation "
                f"tokens of a vocabulary of {len(self.tokenizer):,}, {o.steps:,} steps of {o.batch_size} x "
                f"{o.block_size} tokens, into {self.out}")

    def _validate(self, tokens: np.ndarray, keep_going: Any) -> dict[str, float]:
        found = text_loss(self.model, tokens, self.options.block_size, lengths=self.lengths, keep_going=keep_going)
        return {"validation_loss": found.loss, "bits_per_byte": found.bits_per_byte}

    def _sample(self, n: int = 60) -> str:
        """A text that the model makes up from nothing: from the end of another text, or from a line's end."""
        start = self.tokenizer.eos_token_id
        prompt = [start] if start is not None else self.tokenizer.encode("\n") if self._knows("\n") else [0]
        ids = self.model.eval().generate([prompt], n, temperature=0.8, top_k=200, seed=self.options.seed,
                                         eos_token_id=None)
        self.model.train()
        return self.tokenizer.decode(ids[0, len(prompt):].tolist(), skip_special_tokens=True)

    def _knows(self, text: str) -> bool:
        try:
            return bool(self.tokenizer.encode(text))
        except ValueError:
            return False

    def _save(self, trainer: Trainer) -> None:
        """The training state first, then everything that is made from it."""
        self._write_state(trainer)
        self.model.save_pretrained(self.out, self.tokenizer)
        plot_losses(self.out / "metrics.jsonl", self.out / "loss.png")
        if trainer.step == self.options.steps:
            sample = self._sample(200)
            (self.out / "sample.txt").write_text(sample + "\n", encoding="utf-8")
            self.progress.line(f"a sample:\n{sample}")

    def _write_state(self, trainer: Trainer) -> None:
        write_checkpoint(self.out / STATE_FILE, self.model, trainer.optimizer, trainer.step, {
            "options": dataclasses.asdict(self.options), "tokenizer": _tokenizer_files(self.tokenizer),
            "tokens": self.token_hashes, "validated": trainer.validated, "validation": trainer.validation})
