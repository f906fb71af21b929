"""What a run can be told beside how its loop trains: the data, the tokenizer, the model; a class for each command.

Choices, defaults that depend on what is learnt, and their help texts come from the table in objectives/kinds.py.

Prerequisites: loop_options.py, objectives/kinds.py. Next: run.py.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ..models.kinds import FEED_FORWARDS, POSITIONS
from ..ops import ACTIVATIONS
from .loop_options import TrainingOptions, option
from .objectives.kinds import KINDS, Kind, kinds_of
from .rewards import REWARDS, SUPERVISION

__all__ = ["AlignOptions", "FinetuneOptions", "PretrainOptions", "RunOptions"]

OBJECTIVES, TASKS, METHODS = kinds_of("pretrain"), kinds_of("finetune"), kinds_of("align")


NEW_MODEL = ("n_layer", "n_head", "n_embd", "block_size", "activation", "dropout", "initializer_range", "vocab_size",
             "tokenizer", "freeze", "lora",
             *dict.fromkeys(name for kind in KINDS.values() if kind.layouts for name in kind.own_options))


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value of JSON is what a field's annotation says: int, float, bool, str, tuple[str, ...], or None."""
    if isinstance(kind, types.UnionType):
        return any(_is_a(value, one) for one in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    if kind is float:
        return type(value) in (int, float)
    return value is None if kind is type(None) else type(value) is kind


def _one_of(kinds: dict[str, Kind]) -> str:
    """What they learn: "the next token, hidden tokens, or a source's target"."""
    *first, last = (kind.learns for kind in kinds.values())
    return f"{', '.join(first)}, or {last}"


@dataclass(frozen=True, kw_only=True)
class RunOptions(TrainingOptions):
    """What to train on, what to train, and how.

    Attributes:
        command: the subcommand that starts and resumes such a run.

    Raises:
        ValueError: an option outside its range, or options that contradict each other.
    """

    command: ClassVar[str]

    data: tuple[str, ...] = option((), "files, folders, - for standard input, or named corpora")
    validation: float = option(0.1, "part of the data that only validates")

    @property
    @abstractmethod
    def kind(self) -> str:
        """What is learnt: a key of KINDS."""

    @property
    def row(self) -> Kind:
        """What the table says of that kind."""
        return KINDS[self.kind]

    @classmethod
    def described(cls, field: dataclasses.Field[Any]) -> str:
        """The help text of an option; a default that depends on the kind is told for each: "[a, b 2; c 4]"."""
        rows = kinds_of(cls.command)
        kinds_by_value: dict[Any, list[str]] = {}
        for name, row in rows.items():
            defaults = {"architecture": next(iter(row.layouts), None), **row.new}
            if field.name in defaults:
                kinds_by_value.setdefault(defaults[field.name], []).append(name)
        if not kinds_by_value:
            return super().described(field)
        said = "; ".join(f"{', '.join(names)} {value}" for value, names in kinds_by_value.items()) \
            if len(kinds_by_value) > 1 else str(next(iter(kinds_by_value)))
        return f"{field.metadata['help']} [{said}]"

    @classmethod
    def from_saved(cls, saved: Any) -> Self:
        """The options that JSON has, each checked for its type; `dataclasses.asdict` made them.

        Raises:
            ValueError: an option that there is not, one of another type, or one outside its range.
        """
        if not isinstance(saved, dict) or "data" not in saved:
            raise ValueError("no options with their data")
        hints, default = typing.get_type_hints(cls), {field.name: field.default for field in dataclasses.fields(cls)}
        for name, value in saved.items():
            if name not in default:
                raise ValueError(f"an unknown option {name!r:.80}")
            if not (value is None and default[name] is None) and not _is_a(value, hints[name]):
                raise ValueError(f"the option {name} {value!r:.80}, which is of another type")
        return cls(**{**saved, "data": tuple(saved["data"])})

    def _default(self, name: str, value: Any) -> None:
        if getattr(self, name) is None:
            object.__setattr__(self, name, value)  # the dataclass is frozen for everybody else

    def _check_kind(self, what: str) -> None:
        """Options that belong to another kind are refused; `what` is what this command calls a kind."""
        for field in dataclasses.fields(self):
            owners = [name for name, row in KINDS.items() if field.name in row.own_options]
            if owners and self.kind not in owners and getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name} is an option of the {what} {' and '.join(owners)}, not of {self.kind}")


@dataclass(frozen=True, kw_only=True)
class NewModelOptions(RunOptions):
    """What a new model is like."""

    tokenizer: str = option(None, "char, bpe, words, or a folder that holds a tokenizer [words for wide, bag and cnn; "
                                  "else bpe]")
    vocab_size: int = option(1024, "tokens of a new bpe tokenizer")
    architecture: str = option(None, "the layout of a new model", choices=tuple(dict.fromkeys(
        layout for kind in KINDS.values() for layout in kind.layouts)))
    n_layer: int = option(None, "transformer blocks of a new model; of an encoder-decoder, in each half")
    n_head: int = option(None, "attention heads of a new model")
    n_embd: int = option(None, "channels of a new model")
    block_size: int = option(None, "longest context of a new model, in tokens")
    activation: str | None = option(None, "the nonlinear function of the feed-forward [the layout's]",
                                    choices=tuple(ACTIVATIONS))
    dropout: float = option(None, "dropout rate")
    initializer_range: float = option(None, "standard deviation of the initial weights "
                                            "[decoders: GPT-2's, 0.02 * sqrt(768 / n_embd); else 1 / sqrt(n_embd)]")

    teacher: str | None = option(None, "a larger model to learn from, beside the data: a folder or a name; a new model "
                                       "has its tokenizer")
    teacher_weight: float = option(None, "what the teacher's probabilities count for, from 0 to 1; the data have the "
                                         "rest [0.5]")
    teacher_temperature: float = option(None, "what its logits are divided by, to bring small probabilities out [2.0]")

    def _resolve_teacher(self) -> None:
        """Fill in what a teacher decides.

        Raises:
            ValueError: how to learn from a teacher is told, but not from which; or a number outside its range.
        """
        settings = ("teacher_weight", 0.5, 0.0, 1.0), ("teacher_temperature", 2.0, 1e-3, 1e3)
        for name, usual, least, most in settings:
            if self.teacher is None and getattr(self, name) is not None:
                raise ValueError(f"{name} is an option of learning from a teacher; give --teacher too")
            if self.teacher is not None:
                self._default(name, usual)
                if not least <= getattr(self, name) <= most:
                    raise ValueError(f"{name} must be from {least} to {most}, got {getattr(self, name)}")
        if self.teacher is not None and getattr(self, "model", None) is None:
            self._default("tokenizer", self.teacher)

    def _resolve_new_model(self) -> None:
        """Fill in what the kind of a new model decides, and its other sizes.

        A weight of deviation C^-½ keeps the variance of what goes through; GPT-2's 0.02 is about half of that at its
        768 channels, and next to nothing in a narrow model, whose blocks would long do nothing. Models with the norm
        behind the sum train well only with the whole of it.
        """
        if self.kind not in kinds_of(self.command):
            return  # which the check of choices reports
        given = [name for name in NEW_MODEL if getattr(self, name, None) != self._own_default(name)]
        if self.architecture is None:
            object.__setattr__(self, "architecture", next(
                layout for layout in self.row.layouts
                if layout not in self.row.others or {*given} <= {*self.row.others[layout]}))
        if self.architecture in self.row.others:
            sizes = self.row.others[self.architecture]
            if other := [name for name in given if name not in sizes and name != "vocab_size"]:
                raise ValueError(f"{other[0]} is no option of the architecture {self.architecture}; it has "
                                 f"{', '.join(sizes)}")
        for name, value in self.row.sizes(self.architecture).items():
            self._default(name, value)
        if self.architecture not in self.row.others and self.n_embd > 0:
            self._default("initializer_range", 0.02 * math.sqrt(768 / self.n_embd) if self.row.pre_norm
                          else 1 / math.sqrt(self.n_embd))

    @classmethod
    def _own_default(cls, name: str) -> Any:
        return next((field.default for field in dataclasses.fields(cls) if field.name == name), None)

    def _check_layout(self, what: str) -> None:
        if self.architecture not in self.row.layouts:
            raise ValueError(f"the {what} {self.kind} trains the architectures {' and '.join(self.row.layouts)}, not "
                             f"{self.architecture!r}")


@dataclass(frozen=True, kw_only=True)
class TuneOptions(RunOptions):
    """Which part of a model is trained, and for how long. None stands for a default that depends on model or data."""

    freeze: int | None = option(None, "train only the last N blocks and the head [all]")
    lora: int | None = option(None, "train only adapters of rank N and a new head; they are saved alone")
    lora_alpha: float | None = option(None, "scale of the adapters, divided by their rank [2 * rank]")
    lora_targets: str = option(None, "what has an adapter: any of q, k, v, out, up, gate, down, embedding")
    merge: bool = option(False, "save the model with its adapters worked into the weights")
    steps: int = option(None, "training steps [10 epochs, but at least 200 steps and at most 5000]")
    epochs: float | None = option(None, "passes over the training examples, instead of --steps")
    patience: int = option(4, "stop after so many validations without improvement, but not before half of the "
                              "steps; 0: never")
    validation: float = option(0.1, "part of the examples that only validates")

    def _resolve_adapters(self) -> None:
        if self.lora is not None and self.kind in kinds_of(self.command):
            self._default("lora_targets", self.row.adapters)

    def _check_tuning(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs say the same thing twice; give one of them")
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise ValueError(f"epochs must be more than 0, got {self.epochs}")
        if self.freeze is not None and self.lora is not None:
            raise ValueError("freeze and lora are two ways to train a part of a model; give one of them")
        if self.lora is None:
            for name in ("merge", "lora_alpha", "lora_targets"):
                if getattr(self, name):
                    raise ValueError(f"{name} is an option of adapters; give --lora too")
        for name, least in (("freeze", 0), ("lora", 1), ("patience", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation must be more than 0 and less than 1, got {self.validation}")


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(NewModelOptions):
    """What to pretrain, on what, and how.

    Raises:
        ValueError: an option outside its range, or an architecture that the objective cannot train.
    """

    command: ClassVar[str] = "pretrain"

    data: tuple[str, ...] = option((), "files, folders, - for standard input, or named corpora [the embedded corpus]; "
                                       "for causal also folders of tokens, with weights as in a:0.7 b:0.3; "
                                       "for seq2seq tables of pairs, the source in the first column")
    objective: str = option("causal", f"what to predict: {_one_of(OBJECTIVES)}", choices=tuple(OBJECTIVES))
    validation: float = option(0.1, "part of the text, at its end, that only validates; for seq2seq, of the sources")
    steps: int = option(1600, "training steps")
    batch_size: int = option(16, "sequences in a step")
    lr: float = option(None, "highest learning rate [decoders: 0.384 / n_embd, at most 0.003; else a third of that]")
    n_kv_head: int | None = option(None, "heads of keys and values [n_head]")
    bias: bool | None = option(None, "biases in linear layers and norms [the layout's]")
    positions: str | None = option(None, "how a token knows its place [the layout's]", choices=tuple(POSITIONS))
    window: int | None = option(None, "how many tokens a token may look at, its own included [all]")
    feed_forward: str | None = option(None, "the layer after attention [the layout's]", choices=tuple(FEED_FORWARDS))

    @property
    def kind(self) -> str:
        """The objective."""
        return self.objective

    def __post_init__(self) -> None:
        self._resolve_teacher()
        self._resolve_new_model()
        super().__post_init__()
        self._check_layout("objective")
        self._check_kind("objective")


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(TuneOptions, NewModelOptions):
    """What to fine-tune, on what, and how. None stands for a default that depends on the task, the model or the data.

    Raises:
        ValueError: an option outside its range, or options that contradict each other.
    """

    command: ClassVar[str] = "finetune"

    task: str = option("classification", f"what the examples teach: {_one_of(TASKS)}", choices=tuple(TASKS))
    model: str | None = option(
        None, "model to start from: a folder, a GGUF file, or owner/name on the Hub [random weights]")
    data: tuple[str, ...] = option((), "a table of examples: a CSV, TSV, JSON or JSON Lines file, or a named corpus")
    text_column: str = option("text", "classification: the column of texts; a number from 0 if there is no header line")
    label_column: str = option("label", "classification: the column of labels, likewise")
    add_prefix_space: bool = option(False, "classification: a new bpe tokenizer puts a space before each text, so that "
                                           "its first word is a token like any other")
    lora_targets: str = option(None, "what has an adapter: any of q, k, v, out, up, gate, down, embedding ["
                               + "; ".join(f"{name} {kind.adapters}" for name, kind in TASKS.items()) + "]")
    steps: int = option(None, "training steps [10 epochs, but at least 200 steps, and at most 5000; of a model that is "
                              "given, at most 800, or 3 epochs if that is more]")
    batch_size: int = option(32, "examples in a step")
    lr: float = option(None, "highest learning rate [from random weights as for pretrain; else 0.04 / n_embd, at most "
                             "0.001, and ten times that for adapters, at most 0.01]")
    dropout: float = option(None, "dropout rate; of a model that is given, its own")

    @property
    def kind(self) -> str:
        """The task."""
        return self.task

    def __post_init__(self) -> None:
        self._resolve_teacher()
        if self.model is None:
            self._resolve_new_model()
        self._resolve_adapters()
        super().__post_init__()
        if self.model is None:
            self._check_layout("task")
        self._check_model()
        self._check_kind("task")
        self._check_tuning()
        self._check_examples()

    def _check_model(self) -> None:
        """A model that is given has its sizes and its tokenizer."""
        own = {field.name: field.default for field in dataclasses.fields(self)}
        for name in ("architecture", "n_layer", "n_head", "n_embd", "block_size", "activation", "initializer_range",
                     "tokenizer", "vocab_size", "add_prefix_space"):
            if self.model is not None and getattr(self, name) != own[name]:
                raise ValueError(f"{name} is an option for a new model; {self.model} has its own")

    def _check_examples(self) -> None:
        if not self.data:
            raise ValueError("fine-tuning needs examples: give --data a CSV, TSV, JSON or JSON Lines file, or a named "
                             "corpus such as synthetic-sentiment")
        if self.add_prefix_space and self.tokenizer != "bpe":
            raise ValueError("add_prefix_space is an option of a new bpe tokenizer")


def _losses(said: Callable[[str, Any], str]) -> str:
    """What `said` makes of the losses of each method: "dpo: a, b; grpo: c"."""
    return "; ".join(f"{name}: {', '.join(said(loss, row) for loss, row in kind.losses.items())}"
                     for name, kind in METHODS.items() if kind.losses)


@dataclass(frozen=True, kw_only=True)
class AlignOptions(TuneOptions):
    """How a model learns what people prefer. None stands for a default that depends on method, model or data.

    Raises:
        ValueError: an option outside its range, or options that contradict each other.
    """

    command: ClassVar[str] = "align"

    method: str = option("dpo", f"what is learnt: {_one_of(METHODS)}", choices=tuple(METHODS))
    model: str | None = option(None, "model to start from: a folder, a GGUF file, or owner/name on the Hub")
    data: tuple[str, ...] = option((), "reward, dpo: pairs with prompt, chosen and rejected; grpo: questions with "
                                       "prompt and answer; JSON, JSON Lines or a table, or a named corpus")
    reference: str | None = option(None, "dpo, grpo: the model to stay near [the one to start from]")
    reward: str | None = option(None, f"grpo: what an answer is worth: {', '.join(REWARDS)}, or the folder of a reward "
                                      "model; several with weights: exact,length=-0.1")
    loss: str = option(None, f"{_losses(lambda loss, row: loss)} [the first]",
                       choices=tuple(loss for kind in METHODS.values() for loss in kind.losses))
    beta: float = option(None, "dpo: scale of the scores; grpo: weight of the divergence from the reference ["
                         + _losses(lambda loss, row: f"{loss} {row.beta}") + "]")
    label_smoothing: float = option(0.0, "dpo: the probability that a label is wrong")
    gamma: float = option(0.5, "dpo, loss simpo: the margin between the two scores")
    supervision: str = option("outcome", "grpo: what is praised: the answer as a whole (outcome), or each token for "
                                         "what it adds (process)", choices=tuple(SUPERVISION))
    discount: float = option(1.0, "grpo, supervision process: how much what the next token adds counts for a token")
    entropy_bonus: float = option(0.0, "grpo: how much a nat of entropy is worth; keeps answers different")
    clip_range: float = option(0.2, "grpo: how far a ratio of probabilities may move")
    normalize: bool = option(True, "grpo: divide advantages by the deviation of their group")
    group_size: int = option(8, "grpo: answers to each question")
    updates: int = option(1, "grpo: steps that learn from the same answers")
    temperature: float = option(1.0, "grpo: at which answers are drawn")
    max_new_tokens: int = option(64, "dpo, grpo: tokens of an answer that the model writes")
    steps: int = option(None, "training steps [one epoch, but at least 200 steps and at most 2000; grpo: 200]")
    batch_size: int = option(16, "pairs in a step; of grpo, questions")
    lr: float = option(None, "highest learning rate [0.04 / n_embd, at most 0.001, and ten times that for adapters, at "
                             "most 0.01]")
    dropout: float = option(0.0, "dropout rate while the model is trained")

    @property
    def kind(self) -> str:
        """The method."""
        return self.method

    def __post_init__(self) -> None:
        self._resolve_adapters()
        super().__post_init__()
        self._check_kind("method")
        if losses := self.row.losses:
            self._default("loss", next(iter(losses)))
            if self.loss not in losses:
                raise ValueError(f"the method {self.method} has the losses {' and '.join(losses)}, not {self.loss!r}")
            self._default("beta", losses[self.loss].beta)
        self._check_tuning()
        self._check_alignment()

    def _check_alignment(self) -> None:
        if self.model is None:
            raise ValueError("align needs a model to start from: give --model a folder, a GGUF file, or a name on the "
                             "Hub")
        if not self.data:
            raise ValueError("align needs examples: give --data a JSON Lines file, or a named corpus such as "
                             "synthetic-preferences")
        if self.method == "grpo" and not self.reward:
            raise ValueError(f"grpo needs a reward: give --reward {', '.join(REWARDS)}, or the folder of a reward "
                             "model")
        for name, least, most in (("label_smoothing", 0.0, 0.5), ("gamma", 0.0, 1e6), ("clip_range", 0.0, 1e6),
                                  ("beta", 0.0, 1e6), ("temperature", 1e-3, 1e3), ("group_size", 2, 10_000),
                                  ("updates", 1, 10_000), ("entropy_bonus", 0.0, 1e6), ("discount", 0.0, 1.0),
                                  ("max_new_tokens", 1, 1 << 20)):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{name} must be from {least} to {most}, got {value}")
        if self.method == "dpo" and not self.beta:
            raise ValueError("beta must be more than 0 for dpo: it scales the scores, and at 0 nothing is learnt")
