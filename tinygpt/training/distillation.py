"""Distillation: a model learns from a larger one, its teacher, what was probable, and not only what came.

A text says which token came. A teacher says of every token how probable it was: that "cat" would have done nearly as
well as "dog" is worth knowing. A temperature τ above 1 brings the small probabilities out:

    p, q   softmax(the teacher's logits / τ), softmax(the model's logits / τ)
    soft   τ² Σ p log(p / q)
    hard   −log softmax(the model's logits)[target]
    loss   w soft + (1 − w) hard

In the model's logits, Σ p log(p / q) has the gradient (q − p) / τ, which for a large τ is the difference of the logits
by τ² K; times τ², the weight w means the same at every temperature.

Whatever the data are, the targets that count have logits, the model's and the teacher's. LESSONS has a row for each
kind of data, so any objective whose loss is in it can have a teacher. Validations look at the hard loss alone, and can
be compared with those of a model that learnt without one.

Shapes: B batch, T time, C channels, N targets that count, K classes (V tokens, or labels).

Prerequisites: losses.py, models/adapter.py. Next: objectives/base.py. Hinton, Vinyals and Dean, "Distilling the
knowledge in a neural network" (2015); Sanh et al., "DistilBERT" (2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..autograd import Tensor, no_grad
from ..backend import to_device
from ..files.shown import listed
from ..models import BERT, CausalLM, EncoderDecoder, load_model
from ..models.adapter import fingerprint
from ..models.inputs import targets_on
from ..tokenizers import load_tokenizer
from ..tokenizers.base import Tokenizer
from .losses import Batch, DataLoss, classification_loss, decoder_ids_of, language_loss, masked_loss, seq2seq_loss

__all__ = ["LESSONS", "Lesson", "Teacher", "soft_loss"]


def soft_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """τ² times the divergence of the model's softened probabilities from the teacher's, for each row.

    Args:
        logits, teacher: (N, K).
        temperature: τ.

    Returns:
        (N,), in nats; 0 where both are the same.
    """
    log_q, log_p = ops.log_softmax(logits / temperature), ops.log_softmax(teacher / temperature)  # (N, K)
    return (ops.exp(log_p) * (log_p - log_q)).sum(axis=-1) * temperature ** 2


# ---------------------------------------------------------------------------------------------------------------------
# What there is to learn from each kind of data


@dataclass(frozen=True)
class Lesson:
    """What a teacher says of one kind of data.

    Attributes:
        logits: (model, batch) -> (N, K), those of the targets that count, in their order.
        fits: whether a model can be asked for them. needed: what it has to be, in words.
    """

    logits: Callable[[Any, Batch], Tensor]
    fits: Callable[[Any], bool]
    needed: str


def _counted(batch: Batch) -> np.ndarray:
    return np.flatnonzero(np.asarray(batch["targets"]).reshape(-1) != ops.IGNORE_INDEX)


def _rows(x: Tensor, batch: Batch) -> Tensor:
    """Of (B, T, C) or (B, K) the rows of targets that count: (N, C) or (N, K)."""
    return x.reshape(-1, x.shape[-1])[to_device(_counted(batch), x.device)]


def _next_tokens(model: Any, batch: Batch) -> Tensor:
    x = model.features(batch["ids"], batch.get("attention_mask"))  # (B, T, C)
    return ops.linear(_rows(x, batch), model.output_weight)


def _hidden_tokens(model: Any, batch: Batch) -> Tensor:
    x = model.features(batch["ids"], batch.get("attention_mask"), batch.get("token_type_ids"))  # (B, T, C)
    return ops.linear(model.lm_head(_rows(x, batch)), model.output_weight, model.lm_head.bias)


def _targets(model: Any, batch: Batch) -> Tensor:
    memory = model.encode(batch["ids"], batch.get("attention_mask"))
    x = model.decode(decoder_ids_of(model, batch), *memory)  # (B, T, C)
    return ops.linear(_rows(x, batch), model.output_weight, model.lm_head.bias)


def _labels(model: Any, batch: Batch) -> Tensor:
    more = {name: batch[name] for name in ("attention_mask", "token_type_ids") if name in batch}
    return _rows(model(batch["ids"], **more), batch)


LESSONS: dict[DataLoss, Lesson] = {
    language_loss: Lesson(
        _next_tokens, lambda model: isinstance(model, CausalLM) and getattr(model.config, "head", "lm") == "lm",
        "a model that writes texts"),
    masked_loss: Lesson(
        _hidden_tokens, lambda model: isinstance(model, BERT) and model.lm_head is not None,
        "an encoder that guesses hidden words"),
    seq2seq_loss: Lesson(
        _targets, lambda model: isinstance(model, EncoderDecoder), "an encoder-decoder"),
    classification_loss: Lesson(
        _labels, lambda model: getattr(model.config, "n_labels", 0) > 1, "a classifier"),
}


# ---------------------------------------------------------------------------------------------------------------------
# The teacher


class Teacher:
    """A model that is asked what it thinks, and does not change.

    Args:
        name: its folder, or its name.
        student: the model that learns. tokenizer: the student's.
        data_loss: the hard loss, a key of LESSONS.
        weight: w, of the soft loss. temperature: τ.
        memory: of the objective; takes the teacher's fingerprint, so that a resumed run has the same one.

    Raises:
        ValueError: it cannot teach the student: another kind of model, other tokens or labels, a shorter context; or
            it is not the model any more that the run began with.
        FileNotFoundError: there is no such model.
    """

    def __init__(self, name: str, student: Any, tokenizer: Tokenizer, data_loss: DataLoss, weight: float,
                 temperature: float, memory: dict[str, Any]) -> None:
        self.name, self.weight, self.temperature = name, weight, temperature
        self.model: Any = load_model(name, device=student.device).eval()
        self.lesson = LESSONS[data_loss]
        self._check(tokenizer, student.config.block_size)
        self._columns = self._same_labels(student) if data_loss is classification_loss else None
        found = fingerprint(self.model.named_parameters())
        if memory.setdefault("teacher", found) != found:
            raise ValueError(f"the teacher {name} is not the model any more that this run began with; put it back, or "
                             "start another run with a new --out")

    def _check(self, tokenizer: Tokenizer, block_size: int) -> None:
        if not self.lesson.fits(self.model):
            raise ValueError(f"the teacher must be {self.lesson.needed}; {self.name} holds a "
                             f"{type(self.model).__name__}")
        own = load_tokenizer(self.name)
        if own.ids != tokenizer.ids or any(own.token_bytes(i) != tokenizer.token_bytes(i) for i in own.ids):
            raise ValueError(f"the teacher {self.name} has other tokens than the model that learns: a new model has "
                             "the teacher's tokenizer unless --tokenizer names another; one that is given needs the "
                             "same")
        if self.model.config.block_size < block_size:
            raise ValueError(f"the teacher {self.name} has a context of {self.model.config.block_size:,} tokens, and "
                             f"the model that learns one of {block_size:,}; give --block-size "
                             f"{self.model.config.block_size} or less")

    def _same_labels(self, student: Any) -> np.ndarray:
        """The teacher's number of each of the student's labels, (K,)."""
        mine, its = (list((model.config.id2label or {}).values()) for model in (student, self.model))
        if sorted(mine) != sorted(its):
            raise ValueError(f"the teacher {self.name} has the labels {listed(its)}, and the model that learns "
                             f"{listed(mine)}; they must be the same")
        return np.array([its.index(name) for name in mine])

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """w soft + (1 − w) hard, the sum over the targets that count, ()."""
        with no_grad():
            said = self.lesson.logits(self.model, batch)  # (N, K)
        logits = self.lesson.logits(model, batch)
        if self._columns is not None:
            said = said[:, to_device(self._columns, said.device)]
        rows, weights = _counted(batch), batch.get("weights")
        targets, weights = targets_on(
            np.asarray(batch["targets"]).reshape(-1)[rows],
            None if weights is None else np.asarray(weights).reshape(-1)[rows], logits.shape[-1], logits.device)
        soft = soft_loss(logits, Tensor(said.data.astype(logits.dtype)), self.temperature)  # (N,)
        soft = (soft if weights is None else soft * weights.astype(logits.dtype)).sum()
        hard = ops.cross_entropy(logits, targets, weights, reduction="sum")
        return soft * self.weight + hard * (1 - self.weight)
