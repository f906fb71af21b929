"""Where runs begin: pretraining from random weights, fine-tuning on examples, learning from
preferences and rewards; and presets, settings under a name.

Prerequisites: run.py. Next: cli/pretrain.py, cli/finetune.py, cli/align.py.
"""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path
from typing import Any, TextIO

from .run import RunResult, start_run
from .run_options import AlignOptions, FinetuneOptions, PretrainOptions

__all__ = ["PRESETS", "align", "finetune", "preset", "pretrain"]


def pretrain(options: PretrainOptions, out: str | Path, *, resume: bool = False,
             stream: TextIO | None = None) -> RunResult:
    """Train a new model on text into the folder `out`; arguments and errors as for `run.start_run`."""
    return start_run(options, out, resume=resume, stream=stream)


def finetune(options: FinetuneOptions, out: str | Path, *, resume: bool = False,
             stream: TextIO | None = None) -> RunResult:
    """Train on examples into the folder `out`; arguments and errors as for `run.start_run`."""
    if options.model is None and (options.lora is not None or options.freeze is not None):
        what = "freeze" if options.lora is None else "lora"
        warnings.warn(f"{what} without a model leaves random weights as they are; name one that was trained before "
                      "(--model)", stacklevel=2)
    return start_run(options, out, resume=resume, stream=stream)


def align(options: AlignOptions, out: str | Path, *, resume: bool = False, stream: TextIO | None = None) -> RunResult:
    """Teach a model what is preferred, into the folder `out`; arguments and errors as for `run.start_run`."""
    return start_run(options, out, resume=resume, stream=stream)


# Settings for `tinygpt pretrain --preset`; whatever is given beside them takes precedence.
PRESETS: dict[str, dict[str, Any]] = {
    # nanoGPT's CPU run (its README's "I only have a macbook"), with every option as PyTorch has it there.
    "shakespeare-char-cpu": dict(
        data=["tinyshakespeare"], tokenizer="char", n_layer=4, n_head=4, n_embd=128, block_size=64, batch_size=12,
        bias=False, activation="gelu", dropout=0.0, initializer_range=0.02, steps=2000,
        lr=1e-3, min_lr=1e-4, warmup_steps=100, beta2=0.99,
        weight_decay=0.1, clip=1.0, eval_every=250),
    # nanoGPT's GPU run on the same text.
    "shakespeare-char": dict(
        data=["tinyshakespeare"], tokenizer="char", n_layer=6, n_head=6, n_embd=384, block_size=256, batch_size=64,
        bias=False, activation="gelu", dropout=0.2, initializer_range=0.02, steps=5000,
        lr=1e-3, min_lr=1e-4, warmup_steps=100, beta2=0.99,
        weight_decay=0.1, clip=1.0, eval_every=250),
    # A BERT that guesses hidden words of the embedded corpus. In a short window attention finds the neighbours sooner.
    "masked-words": dict(
        objective="masked", n_layer=2, n_head=4, n_embd=128, block_size=24, batch_size=96, steps=3000, lr=2e-3),
    # English to Spanish, in sentences of up to 31 tokens.
    "translation": dict(
        objective="seq2seq", data=["spa-eng"], validation=0.02, vocab_size=4000, n_layer=2, n_head=4, n_embd=192,
        block_size=32, dropout=0.1, batch_size=64, steps=7500, lr=1e-3, warmup_steps=400, beta2=0.98,
        weight_decay=0.01),
    # GPT-2 small, for a GPU and a corpus of one's own.
    "gpt2": dict(
        vocab_size=50257, n_layer=12, n_head=12, n_embd=768, block_size=1024, batch_size=480, accumulate=40,
        steps=600_000, lr=6e-4, min_lr=6e-5, warmup_steps=2000, beta2=0.95),
}


def preset(name: str) -> dict[str, Any]:
    """The settings of that name.

    Raises:
        ValueError: there is no such preset.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        raise ValueError(f"unknown preset {name!r}{f'; did you mean {near[0]!r}?' if near else ';'} "
                         f"the presets are {', '.join(PRESETS)}")
    return dict(PRESETS[name])
