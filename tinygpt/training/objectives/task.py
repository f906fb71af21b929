"""Task: an objective that may begin with a model that is there, and may train a part of it.

Fine-tuning is training like any other: the same run, with fewer examples, a smaller step and a start that is worth
keeping. So the weights that are saved are the best of all validations, the one before the first step included.

Prerequisites: base.py, nn/lora.py, models/adapter.py. Next: classification.py.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import Any

from ...models import BERT, GPT, PretrainedModel, load_model, new_model
from ...models.adapter import LoRA, save_adapter
from ...nn.lora import merged_state
from ...pretrained import resolve_folder
from ...tokenizers import load_tokenizer
from ...tokenizers.base import Tokenizer
from .base import Objective

__all__ = ["Task", "classifier_of", "freeze"]

HEADS = ("classifier.", "score.", "lm_head.", "norm.")  # and, where the output is tied to it, the token embedding


def freeze(model: PretrainedModel, n_blocks: int) -> None:
    """Leave the last `n_blocks` blocks and the head trainable (of an encoder-decoder, the decoder's blocks come last).

    Raises:
        ValueError: the model has not so many blocks.
    """
    paths = [name for name, _ in model.named_modules() if name.rpartition(".")[0].endswith("blocks")
             and name.rpartition(".")[2].isdecimal()]
    if not 0 <= n_blocks <= len(paths):
        raise ValueError(f"freeze must be from 0 to {len(paths)}, the number of the model's blocks, got {n_blocks}")
    kept = (*HEADS, *(f"{path}." for path in paths[len(paths) - n_blocks:]))
    classifier = getattr(model.config, "head", None) == "classification"
    output = None if classifier else getattr(model, "output_weight", None)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith(kept) or parameter is output


def classifier_of(model: BERT | GPT, names: dict[int, str]) -> BERT | GPT:
    """The same model with a new classification head, a label for each name."""
    labels: dict[str, Any] = dict(n_labels=len(names), id2label=names)
    if isinstance(model, BERT):
        return model.for_classification(**labels)
    eos = model.config.eos_token_id  # a decoder's label is read at the last token that is no padding
    if model.config.pad_token_id is None and eos is not None:
        labels["pad_token_id"] = eos if isinstance(eos, int) else eos[0]
    if model.config.head == "classification":
        model = model.with_options(head="lm", n_labels=None, id2label=None, problem_type=None)
    return model.with_options(head="classification", **labels)


class Task(Objective):
    """What examples teach, to a new model or to one that is there.

    Args:
        options: of the run.

    Attributes:
        new_parameters: how the names of parameters begin that the task adds to a given model; adapters or not, these
            are trained.
    """

    keeps_best = True
    new_parameters: tuple[str, ...] = ()

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.patience = options.patience or None
        self._n_known = 0  # tokens of the given model's tokenizer, before the task adds its own

    @property
    def _name(self) -> str:
        return f"the task {self.options.kind}"

    @property
    def _tokenizer_name(self) -> str:
        return self.options.model or self.options.tokenizer

    def first_tokenizer(self, training: Any, validation: Any) -> Tokenizer:
        """The given model's tokenizer, or as for any objective."""
        if self.options.model is None:
            return super().first_tokenizer(training, validation)
        tokenizer = load_tokenizer(self.options.model)
        self._n_known = len(tokenizer)
        return tokenizer

    def first_model(self) -> PretrainedModel:
        """The given model, made fit for the task; or a new one.

        Raises:
            ValueError: the task cannot be taught to the given model.
        """
        o = self.options
        if o.model is None:
            return self.new_model()
        model = load_model(o.model)
        model.check_tokenizer(self._n_known, f"the tokenizer in {o.model}")
        if o.dropout is not None:
            model = model.with_options(dropout=o.dropout)
        return self.fit(model)

    @abstractmethod
    def fit(self, model: PretrainedModel) -> PretrainedModel:
        """A given model with the head that the task needs.

        Raises:
            ValueError: it is of a kind that cannot learn the task.
        """

    def _misfit(self, model: PretrainedModel, needed: str) -> ValueError:
        head = getattr(model.config, "head", None)
        return ValueError(f"{self._name} needs {needed}; {self.options.model} holds a {type(model).__name__}"
                          + (f" with the head {head!r}" if head else ""))

    def adapt(self, model: PretrainedModel) -> None:
        """Freeze blocks, or add adapters, as the options say."""
        o = self.options
        if o.freeze is not None:
            freeze(model, o.freeze)
        if o.lora is not None:
            self._lora().add_to(model, self.new_parameters)

    def _lora(self) -> LoRA:
        o = self.options
        assert o.lora is not None
        alpha = 2.0 * o.lora if o.lora_alpha is None else o.lora_alpha
        return LoRA(o.lora, alpha, tuple(name.strip() for name in o.lora_targets.split(",")))

    @staticmethod
    def _base(name: str) -> str | Path:
        """The folder of the model that training began with; its name alone where it is out of reach by now."""
        try:
            return resolve_folder(name)
        except (OSError, ImportError):
            return name

    def n_steps(self, source: Any) -> int:
        """As many as the options say, in steps or in epochs."""
        o = self.options
        if o.steps is not None:
            return o.steps
        epoch = source.steps_per_epoch
        if o.epochs is not None:
            return max(1, math.ceil(o.epochs * epoch))
        most = 5000 if o.model is None else max(800, 3 * epoch)  # a model that is there has less to learn
        return min(max(10 * epoch, 200), most)

    def lr(self, model: PretrainedModel) -> float:
        """From random weights, that of pretraining; from a model, small steps that keep what it knows."""
        o, width = self.options, model.config.n_embd
        if o.model is None:
            return super().lr(model)
        return min(0.001, 0.04 / width) if o.lora is None else min(0.01, 0.4 / width)

    def save(self, model: PretrainedModel, out: Path) -> None:
        """The model; of one with adapters these alone, unless there is no folder that has the rest."""
        o = self.options
        if o.lora is None:
            super().save(model, out)
        elif o.model is not None and not o.merge:
            save_adapter(out, model, self._lora(), self._base(o.model))
            self.tokenizer.save(out)
        else:
            whole = new_model(model.config.to_dict())
            whole.load_state_dict(merged_state(model))
            whole.save_pretrained(out, self.tokenizer)
