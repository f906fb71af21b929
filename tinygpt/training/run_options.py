"""What every run can be told, from whichever weights it starts: the data, the tokenizer, the sizes of a new model.

Prerequisites: options.py. Next: pretrain_options.py, finetune_options.py.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ..ops import ACTIVATIONS
from .options import TrainingOptions, option

__all__ = ["ARCHITECTURES", "RunOptions"]

ARCHITECTURES = {  # what is predicted -> the layouts of new models for it, the default first
    "causal": ("gpt2", "llama"),
    "masked": ("roberta", "bert"),
    "seq2seq": ("marian", "bart"),
    "classification": ("roberta", "bert"),
    "instruction": ("gpt2", "llama"),
    "translation": ("marian", "bart"),
}
DECODERS = ("causal", "instruction")


@dataclass(frozen=True, kw_only=True)
class RunOptions(TrainingOptions):
    """What to train on, what to train, and how.

    Attributes:
        command: the subcommand that starts and resumes such a run.

    Raises:
        ValueError: an option outside its range.
    """

    command: ClassVar[str]

    data: tuple[str, ...] = option((), "files, folders, - for standard input, or named corpora")
    tokenizer: str = option("bpe", "char, bpe, or a folder that holds a tokenizer")
    vocab_size: int = option(1024, "tokens of a new bpe tokenizer")
    validation: float = option(0.1, "part of the data that only validates")
    architecture: str = option(None, "the model's layout", choices=tuple(
        dict.fromkeys(name for names in ARCHITECTURES.values() for name in names)))
    n_layer: int = option(4, "transformer blocks; of an encoder-decoder, in each half")
    n_head: int = option(4, "attention heads")
    n_embd: int = option(128, "channels")
    block_size: int = option(64, "longest context, in tokens")
    activation: str | None = option(None, "the nonlinear function of the feed-forward [the layout's]",
                                    choices=tuple(ACTIVATIONS))
    dropout: float = option(0.0, "dropout rate")
    initializer_range: float = option(None, "standard deviation of the initial weights "
                                            "[decoders: GPT-2's, 0.02 * sqrt(768 / n_embd); else 1 / sqrt(n_embd)]")

    @property
    @abstractmethod
    def kind(self) -> str:
        """What is predicted: a key of ARCHITECTURES."""

    def _resolve_sizes(self) -> None:
        """Fill in what a new model's other sizes decide.

        A weight of deviation C^-½ keeps the variance of what goes through; GPT-2's 0.02 is about half of that at its
        768 channels, and next to nothing in a narrow model, whose blocks would long do nothing. Models with the norm
        behind the sum train well only with the whole of it.
        """
        if self.architecture is None and self.kind in ARCHITECTURES:
            object.__setattr__(self, "architecture", ARCHITECTURES[self.kind][0])
        if self.initializer_range is None and self.n_embd > 0:
            std = 0.02 * math.sqrt(768 / self.n_embd) if self.kind in DECODERS else 1 / math.sqrt(self.n_embd)
            object.__setattr__(self, "initializer_range", std)

    def _check_layout(self, what: str) -> None:
        layouts = ARCHITECTURES[self.kind]
        if self.architecture not in layouts:
            raise ValueError(f"the {what} {self.kind} trains the architectures {' and '.join(layouts)}, not "
                             f"{self.architecture!r}")
