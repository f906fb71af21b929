"""What fine-tuning can be told beyond any other run: the task, the model to start from, and how much of it to train.

Prerequisites: run_options.py, pretrain_options.py. Next: objectives/task.py.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .options import option
from .run_options import ARCHITECTURES, RunOptions

__all__ = ["FinetuneOptions", "TASK_NAMES"]

TASK_NAMES = ("classification", "instruction", "translation")

# What a new model is like, task by task, where nothing is said.
NEW: dict[str, dict[str, Any]] = {
    "classification": dict(n_layer=2, n_head=4, n_embd=64, block_size=64, dropout=0.1),
    "instruction": dict(n_layer=4, n_head=4, n_embd=128, block_size=128, dropout=0.0),
    "translation": dict(n_layer=2, n_head=4, n_embd=128, block_size=64, dropout=0.1),
}


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(RunOptions):
    """What to fine-tune, on what, and how. None stands for a default that depends on the task, the model or the data.

    Raises:
        ValueError: an option outside its range, or options that contradict each other.
    """

    command: ClassVar[str] = "finetune"

    task: str = option("classification", "what the examples teach: a label for a text, an answer to an instruction, or "
                                         "a translation", choices=TASK_NAMES)
    model: str | None = option(None, "folder of the model to start from [random weights]")
    data: tuple[str, ...] = option((), "a table of examples: a CSV, TSV, JSON or JSON Lines file, or a named corpus")
    text_column: str = option("text", "classification: the column of texts; a number from 0 if there is no header line")
    label_column: str = option("label", "classification: the column of labels, likewise")
    add_prefix_space: bool = option(False, "classification: a new bpe tokenizer puts a space before each text, so that "
                                           "its first word is a token like any other")
    freeze: int | None = option(None, "train only the last N blocks and the head [all]")
    lora: int | None = option(None, "train only adapters of rank N and a new head; they are saved alone")
    lora_alpha: float | None = option(None, "scale of the adapters, divided by their rank [2 * rank]")
    lora_targets: str = option(None, "what has an adapter: any of q, k, v, out, up, gate, down, embedding "
                                     "[classification q,v,embedding; else q,v]")
    merge: bool = option(False, "save the model with its adapters worked into the weights")
    steps: int = option(None, "training steps [10 epochs, but at least 200 steps and at most 5000]")
    epochs: float | None = option(None, "passes over the training examples, instead of --steps")
    batch_size: int = option(32, "examples in a step")
    lr: float = option(None, "highest learning rate [from random weights as for pretrain; else 0.04 / n_embd, at most "
                             "0.001, and ten times that for adapters, at most 0.01]")
    patience: int = option(4, "stop after so many validations without improvement, but not before half of the "
                              "steps; 0: never")
    architecture: str = option(None, f"the layout of a new model [the task's: "
                                     f"{', '.join(ARCHITECTURES[name][0] for name in TASK_NAMES)}]",
                               choices=tuple(dict.fromkeys(
                                   layout for name in TASK_NAMES for layout in ARCHITECTURES[name])))
    n_layer: int = option(None, "transformer blocks of a new model [classification, translation 2; instruction 4]")
    n_head: int = option(None, "attention heads of a new model [4]")
    n_embd: int = option(None, "channels of a new model [classification 64; else 128]")
    block_size: int = option(None, "longest context of a new model, in tokens [64; instruction 128]")
    dropout: float = option(None, "dropout rate [new models 0.1, for instructions 0.0; else the model's own]")
    validation: float = option(0.1, "part of the examples that only validates")

    @property
    def kind(self) -> str:
        """The task."""
        return self.task

    def __post_init__(self) -> None:
        if self.task in NEW and self.model is None:
            for name, value in NEW[self.task].items():
                if getattr(self, name) is None:
                    object.__setattr__(self, name, value)
            self._resolve_sizes()
        if self.lora is not None and self.lora_targets is None:  # a label is told by the words that are there
            object.__setattr__(self, "lora_targets", "q,v,embedding" if self.task == "classification" else "q,v")
        super().__post_init__()
        if self.model is None:
            self._check_layout("task")
        self._check_model()
        self._check_ranges()

    def _check_model(self) -> None:
        """A model that is given has its sizes and its tokenizer."""
        own = {field.name: field.default for field in dataclasses.fields(self)}
        for name in ("architecture", "n_layer", "n_head", "n_embd", "block_size", "activation", "initializer_range",
                     "tokenizer", "vocab_size", "add_prefix_space"):
            if self.model is not None and getattr(self, name) != own[name]:
                raise ValueError(f"{name} is an option for a new model; {self.model} has its own")

    def _check_ranges(self) -> None:
        if not self.data:
            raise ValueError("fine-tuning needs examples: give --data a CSV, TSV, JSON or JSON Lines file, or a named "
                             "corpus such as synthetic-sentiment")
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs say the same thing twice; give one of them")
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise ValueError(f"epochs must be more than 0, got {self.epochs}")
        if self.add_prefix_space and (self.task != "classification" or self.tokenizer != "bpe"):
            raise ValueError("add_prefix_space is an option of a new bpe tokenizer for classification")
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
