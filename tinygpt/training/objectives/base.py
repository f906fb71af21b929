"""Objective: everything in which one kind of training differs from another, so that the run itself has no cases.

A run calls the methods in the order in which they stand here: texts become a tokenizer, tokenizer and texts become two
files of ids, and these become batches, figures and samples.

Prerequisites: losses.py, distillation.py, trainer.py. Next: prepared.py, causal.py, then ../run.py, which uses it.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ...autograd import Tensor
from ...data import TokenFile, write_tokens
from ...data.tokens import TextEncoder
from ...files.atomic_file import write_text
from ...models import PretrainedModel
from ...tokenizers import ByteBPE, CharTokenizer, load_tokenizer
from ...tokenizers.base import Tokenizer
from ...tokenizers.words import train_words
from ..distillation import Teacher
from ..losses import Batch, Criterion
from ..metrics import plot_losses
from ..trainer import BatchSource

__all__ = ["KeepGoing", "Objective", "SizedSource"]

MAX_LAYERS = 10_000

KeepGoing = Callable[[], bool]


class SizedSource(BatchSource, Protocol):
    """A batch source that knows how many examples it gives at a time."""

    batch_size: int


def _specials_first(tokenizer: ByteBPE) -> ByteBPE:
    """The same tokenizer with its special tokens numbered from 0, in their order.

    RoBERTa counts positions from the padding's id on, so a high one would make its position table as much longer.
    """
    names = list(tokenizer.special_tokens)
    vocab = {token: i + len(names) for token, i in tokenizer.vocab.items()}
    return ByteBPE(vocab, tokenizer.merges, {name: i for i, name in enumerate(names)}, tokenizer.splitter)


class Objective(Criterion, ABC):
    """What is learnt, and how that is measured; `data_loss` says what is minimised (losses.py).

    Args:
        options: of the run (run_options.py); what an objective asks of them, `kinds.py` makes sure that they have.

    Attributes:
        unit: what a loss is averaged over, in the plural; counted: what `train` and `validation` hold, if not that.
        special_tokens: of a new tokenizer; frame: those that it puts before and after every text.
        train, validation: the two parts as ids, from `start` on.
        tokenizer: from `use` on. config: the model's, from `use_config` on.
        memory: what else has to be known when a run is resumed, as JSON can hold it.
        teacher: a model to learn from beside the data, or None.
        keeps_best: whether the model that is saved has the best weights of all validations, or the last.
        patience: validations without improvement after which training stops, or None.
    """

    unit: ClassVar[str] = "tokens"
    counted: ClassVar[str] = ""
    special_tokens: ClassVar[tuple[str, ...]] = ()
    frame: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = ((), ())
    keeps_best: ClassVar[bool] = False
    patience: int | None = None
    teacher: Teacher | None = None
    tokenizer: Tokenizer
    config: Any
    train: Any
    validation: Any

    def __init__(self, options: Any) -> None:
        self.options = options
        self.memory: dict[str, Any] = {}

    # -- from texts to a tokenizer ------------------------------------------------------------------------------------

    @abstractmethod
    def parts(self) -> tuple[Any, Any]:
        """(training part, validation part) of the data: texts that can be iterated again, or what `texts` takes."""

    def texts(self, part: Any) -> Iterable[str]:
        """The texts of a part, for a tokenizer to learn from."""
        return part

    def train_bpe(self, texts: Iterable[str], **settings: Any) -> ByteBPE:
        """A new BPE tokenizer with the special tokens that the objective needs, and their template."""
        settings = {"vocab_size": self.options.vocab_size, "special_tokens": self.special_tokens} | settings
        tokenizer = ByteBPE.train(texts, **settings)
        if any(self.frame):
            tokenizer = _specials_first(tokenizer)
            tokenizer.set_template(*self.frame)
        return tokenizer

    def train_characters(self, texts: Iterable[str]) -> CharTokenizer:
        """The same for characters. A special token that stands in no template has no use there: all that is predicted
        is text."""
        tokenizer = CharTokenizer.train(texts, special_tokens=self.special_tokens if any(self.frame) else ())
        tokenizer.set_template(*self.frame)
        return tokenizer

    def train_words(self, texts: Iterable[str]) -> Tokenizer:
        """The same for whole words."""
        tokenizer = train_words(texts, self.special_tokens)
        tokenizer.set_template(*self.frame)
        return tokenizer

    def first_tokenizer(self, training: Any, validation: Any) -> Tokenizer:
        """The tokenizer that the options name. BPE and words come from the training part alone; characters are taken
        from all of the data, so that validation meets no unknown one.

        Raises:
            FileNotFoundError: the options name a folder, and there is none.
        """
        name = self.options.tokenizer
        if name == "char":
            return self.train_characters(chain(self.texts(training), self.texts(validation)))
        if name == "bpe":
            return self.train_bpe(self.texts(training))
        if name == "words":
            return self.train_words(self.texts(training))
        try:
            return load_tokenizer(name)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"--tokenizer is char, bpe, words, or a folder that holds a tokenizer; {error}") from None

    def use(self, tokenizer: Tokenizer) -> None:
        """Take a tokenizer, new or from a checkpoint; from here on the objective has one.

        Raises:
            ValueError: it lacks a special token that the objective needs.
        """
        self.tokenizer = tokenizer

    def _require_roles(self, tokenizer: Tokenizer, *roles: str) -> None:
        if missing := [role for role in roles if tokenizer.special.role_id(f"{role}_token") is None]:
            raise ValueError(f"{self._name} needs a tokenizer with a {missing[0]} token, which {self._tokenizer_name} "
                             f"lacks; its special tokens are {', '.join(tokenizer.special_tokens) or 'none'}")

    @property
    def _name(self) -> str:
        """What this is called in messages."""
        return f"the objective {self.options.kind}"

    @property
    def _tokenizer_name(self) -> str:
        return self.options.tokenizer

    # -- from a tokenizer to a model and ids --------------------------------------------------------------------------

    @abstractmethod
    def new_model(self) -> PretrainedModel:
        """A new model for the tokenizer's vocabulary.

        Raises:
            ValueError: options that contradict each other.
        """

    def first_model(self) -> PretrainedModel:
        """The model that training begins with."""
        return self.new_model()

    def adapt(self, model: PretrainedModel) -> None:
        """Choose what of the model is trained; of one that training begins with, and of one from a checkpoint."""

    def use_config(self, config: Any) -> None:
        """Take the configuration of the model that is trained."""
        self.config = config

    def take(self, model: PretrainedModel) -> None:
        """Take the model itself, on its device, before `start`: for objectives that ask it something. A teacher that
        the options name is read now."""
        o = self.options
        if getattr(o, "teacher", None) is not None:
            self.teacher = Teacher(o.teacher, model, self.tokenizer, self.data_loss, o.teacher_weight,
                                   o.teacher_temperature, self.memory)

    def training_loss(self, model: Any, batch: Batch) -> Tensor:
        """Where there is a teacher, what it says counts too."""
        return self.data_loss(model, batch) if self.teacher is None else self.teacher.loss(model, batch)

    def _sizes(self, *names: str) -> dict[str, Any]:
        """The model's configuration as far as options and tokenizer give it; `names` are further options."""
        o, t = self.options, self.tokenizer
        _check_memory(o, len(t))
        same = ("architecture", "block_size", "n_layer", "n_head", "n_embd", "activation", "dropout",
                "initializer_range", *names)
        return dict(vocab_size=len(t), bos_token_id=t.bos_token_id, eos_token_id=t.eos_token_id,
                    pad_token_id=t.pad_token_id,
                    **{name: getattr(o, name) for name in same if getattr(o, name) is not None})

    def encoder(self) -> TextEncoder:
        """How texts become ids in a token file."""
        return TextEncoder(self.tokenizer)

    def write(self, path: Path, part: Any) -> None:
        """Write a part of the data, as `parts` gives it, into a file of ids."""
        write_tokens(path, part, self.encoder())

    def read(self, path: Path) -> Any:
        """What `write` wrote, as `start` takes it."""
        return TokenFile(path, len(self.tokenizer)).ids

    # -- from ids to batches, figures and samples ---------------------------------------------------------------------

    @abstractmethod
    def start(self, train: Any, validation: Any) -> SizedSource:
        """Take the ids of both parts, as `read` gives them; give the source of training batches.

        Raises:
            ValueError: there are too few of them.
        """

    def headline(self) -> str:
        """How much there is to train and validate on."""
        return f"{len(self.train):,} training and {len(self.validation):,} validation {self.counted or self.unit}"

    def overview(self) -> list[str]:
        """What else to tell of the data before training begins."""
        return []

    @abstractmethod
    def validate(self, model: Any, keep_going: KeepGoing) -> dict[str, float]:
        """Figures on the validation part, "validation_loss" among them; broken off when `keep_going` says False."""

    def lr(self, model: PretrainedModel) -> float:
        """The highest learning rate where the options name none. Wide models want small steps, and so do those with
        the norm behind the sum."""
        return min(0.003, 0.384 / model.config.n_embd) / (1 if self.options.row.pre_norm else 3)

    def n_steps(self, source: SizedSource) -> int:
        """How many training steps there are."""
        return self.options.steps

    def score(self, figures: dict[str, float]) -> tuple[float, ...]:
        """How good validation figures are; higher is better."""
        return (-figures["validation_loss"],)

    @abstractmethod
    def sample(self, model: Any, final: bool = False) -> str:
        """What the model can do, to look at; more of it at the end of a run."""

    def save(self, model: PretrainedModel, out: Path) -> None:
        """Write the model and its tokenizer into a folder that others open."""
        model.save_pretrained(out, self.tokenizer)

    def draw(self, out: Path) -> None:
        """A picture of the losses so far."""
        plot_losses(out / "metrics.jsonl", out / "loss.png", self.unit)

    def finish(self, model: Any, out: Path) -> str:
        """Write beside the finished model what shows how good it is; give that to be looked at."""
        sample = self.sample(model, final=True)
        write_text(out / "sample.txt", sample + "\n")
        return f"a sample:\n{sample}"


def _check_memory(options: Any, vocab_size: int) -> None:
    """Refuse sizes of a new model for which this machine has too little memory whatever else is done.

    Counted is what no kind of model is below: the table of tokens, the products around attention, and one sequence's
    activations. A parameter that is trained takes 16 bytes: itself, its gradient and two moments.
    """
    o: Any = options
    width, n_layer = o.n_embd or 1, o.n_layer or 0
    parameters = width * (vocab_size + 2 * n_layer * width)
    needed = 16 * parameters + 4 * o.block_size * width
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return  # this system does not say
    if needed > memory:
        raise ValueError(f"a model of n_layer {n_layer:,}, n_embd {width:,}, block_size {o.block_size:,} and a "
                         f"vocabulary of {vocab_size:,} needs more than {needed / 1e9:,.0f} GB to be trained, and this "
                         f"machine has {memory / 1e9:,.0f} GB; choose smaller sizes")
    if n_layer > MAX_LAYERS:
        raise ValueError(f"n_layer must be at most {MAX_LAYERS:,}, got {n_layer:,}")
