"""Objective: everything in which one kind of pretraining differs from another, so that the run itself has no cases.

A run calls the methods in the order in which they stand here: texts become a tokenizer, tokenizer and texts become two
arrays of ids, and these become batches, figures and samples.

Read before: pretrain_options.py, trainer.py. Read next: causal.py, then ../pretrain.py, which uses it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...data import write_tokens
from ...models import PretrainedModel
from ...tokenizers import ByteBPE, CharTokenizer, load_tokenizer
from ...tokenizers.base import Tokenizer
from ..pretrain_options import PretrainOptions
from ..trainer import BatchSource

__all__ = ["KeepGoing", "Objective", "SizedSource", "TextEncoder", "specials_first"]

KeepGoing = Callable[[], bool]


class SizedSource(BatchSource, Protocol):
    """A batch source that knows how many examples it gives at a time."""

    batch_size: int


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer as token files are written with it.

    Attributes:
        template: put around each text what the tokenizer puts around texts.
        separate: put the end-of-text id between texts.
    """

    tokenizer: Tokenizer
    template: bool = True
    separate: bool = True

    @property
    def eos_token_id(self) -> int | None:
        """What separates texts."""
        return self.tokenizer.eos_token_id if self.separate else None

    def __len__(self) -> int:
        return len(self.tokenizer)

    def encode_array(self, text: str) -> np.ndarray:
        """The ids of a text."""
        return self.tokenizer.encode_array(text, self.template)


def specials_first(tokenizer: ByteBPE) -> ByteBPE:
    """The same tokenizer with its special tokens numbered from 0, in their order.

    RoBERTa counts positions from the padding's id on, so a high one would make its position table as much longer.
    """
    names = list(tokenizer.special_tokens)
    vocab = {token: i + len(names) for token, i in tokenizer.vocab.items()}
    return ByteBPE(vocab, tokenizer.merges, {name: i for i, name in enumerate(names)}, tokenizer.splitter)


class Objective(ABC):
    """One kind of pretraining.

    Args:
        options: of the run.
    """

    tokenizer: Tokenizer

    def __init__(self, options: PretrainOptions) -> None:
        self.options = options

    # -- from texts to a tokenizer ------------------------------------------------------------------------------------

    @abstractmethod
    def texts(self) -> tuple[Iterable[str], Iterable[str]]:
        """(training texts, validation texts), read from the data; each can be iterated again."""

    @abstractmethod
    def train_bpe(self, texts: Iterable[str]) -> ByteBPE:
        """A new BPE tokenizer with the special tokens that the objective needs, and their template."""

    @abstractmethod
    def train_characters(self, texts: Iterable[str]) -> CharTokenizer:
        """The same for characters."""

    def new_tokenizer(self, training: Iterable[str], validation: Iterable[str]) -> Tokenizer:
        """The tokenizer that the options name. BPE learns from the training part alone; characters are taken from all
        of the data, so that validation meets no unknown one.

        Raises:
            FileNotFoundError: the options name a folder, and there is none.
        """
        name = self.options.tokenizer
        if name == "char":
            return self.train_characters(chain(training, validation))
        if name == "bpe":
            return self.train_bpe(training)
        if not Path(name).is_dir():
            raise FileNotFoundError(f"--tokenizer is char, bpe, or a folder that holds a tokenizer; there is no folder "
                                    f"{name}")
        return load_tokenizer(name)

    def use(self, tokenizer: Tokenizer) -> None:
        """Take a tokenizer, new or from a checkpoint; from here on the objective has one.

        Raises:
            ValueError: it lacks a special token that the objective needs.
        """
        self.tokenizer = tokenizer

    def _require_roles(self, tokenizer: Tokenizer, *roles: str) -> None:
        if missing := [role for role in roles if tokenizer.special.role_id(f"{role}_token") is None]:
            raise ValueError(f"the objective {self.options.objective} needs a tokenizer with a {missing[0]} token, "
                             f"which {self.options.tokenizer} lacks; its special tokens are "
                             f"{', '.join(tokenizer.special_tokens) or 'none'}")

    # -- from a tokenizer to a model and ids --------------------------------------------------------------------------

    @abstractmethod
    def model(self) -> PretrainedModel:
        """A new model for the tokenizer's vocabulary.

        Raises:
            ValueError: options that contradict each other.
        """

    def _sizes(self, *names: str) -> dict[str, Any]:
        """The model's configuration as far as options and tokenizer give it; `names` are further options."""
        o, t = self.options, self.tokenizer
        same = ("architecture", "block_size", "n_layer", "n_head", "n_embd", "activation", "dropout",
                "initializer_range", *names)
        return dict(vocab_size=len(t), bos_token_id=t.bos_token_id, eos_token_id=t.eos_token_id,
                    pad_token_id=t.pad_token_id, **{name: getattr(o, name) for name in same})

    @abstractmethod
    def encoder(self) -> TextEncoder:
        """How texts become ids in a token file."""

    def write(self, path: Path, texts: Iterable[str]) -> None:
        """Write the ids of texts, as `texts` gives them, into a token file."""
        write_tokens(path, texts, self.encoder())

    # -- from ids to batches, figures and samples ---------------------------------------------------------------------

    @abstractmethod
    def start(self, train: np.ndarray, validation: np.ndarray) -> SizedSource:
        """Take the ids of both parts; give the source of training batches.

        Raises:
            ValueError: there are too few of them.
        """

    @abstractmethod
    def headline(self) -> str:
        """How much there is to train and validate on."""

    @abstractmethod
    def validate(self, model: Any, keep_going: KeepGoing) -> dict[str, float]:
        """Figures on the validation part, "validation_loss" among them; broken off when `keep_going` says False."""

    @abstractmethod
    def sample(self, model: Any, final: bool = False) -> str:
        """What the model can do, to look at; more of it at the end of a run."""
