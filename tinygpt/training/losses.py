"""What a model is trained to make small: the loss of each kind of data, and the criterion that the loop takes.

A model gives features and logits; what is wrong with them depends on the task. So the losses stand here, one function
for each kind of data, and each objective names its own (objectives/). All of them are cross entropies in nats, and all
are *sums* over the targets that count: sums of parts of a batch can be added up, means cannot.

    loss, count = Criterion(language_loss).loss(model, batch)
    (loss / count).backward()

Shapes: B batch, T time, S source time, C channels, V vocabulary, K labels.

Prerequisites: ops/loss.py, models/. Next: parallel.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import to_device
from ..models.encoder_decoder import shift_right
from ..models.inputs import targets_on
from ..nn import Module
from .shared_questions import answer_features

__all__ = ["Batch", "Criterion", "DataLoss", "answer_log_probs", "auxiliary_losses", "classification_loss",
           "count_targets", "decoder_ids_of", "language_loss", "masked_loss", "seq2seq_loss"]

Batch = Mapping[str, Any]  # arrays by name, each with a row for each example
DataLoss = Callable[[Any, Batch], Tensor]  # (model, batch) -> the sum of the losses of the targets that count, ()


# ---------------------------------------------------------------------------------------------------------------------
# One loss for each kind of data


def language_loss(model: Any, batch: Batch) -> Tensor:
    """Of the next token at each position: "ids" and "targets" (B, T); targets of −100 do not count.

    Logits (B, T, V) are the largest array of a step; `linear_cross_entropy` makes them a few rows at a time.

    Args:
        model: a decoder.
        batch: may hold "attention_mask" (B, T), 0 at padding, and "weights" (B, T), how much each target counts.

    Raises:
        ValueError: a model that writes no texts.
        IndexError: a target outside the vocabulary.
    """
    if getattr(model.config, "head", "lm") != "lm":
        raise ValueError(f"the loss of texts needs a model with head='lm', got head={model.config.head!r}")
    x = model.features(batch["ids"], batch.get("attention_mask"))  # (B, T, C)
    targets, weights = targets_on(batch["targets"], batch.get("weights"), model.config.vocab_size, model.device)
    return ops.linear_cross_entropy(x, model.output_weight, None, targets, weights, reduction="sum")


def answer_log_probs(model: Any, ids: Any, targets: Any) -> Tensor:
    """log p of each target after the ids before it, (N, T), and 0 where the target is −100.

    What preferences and rewards are about is made of these: the sum of a row is the log-probability of an answer.

    Args:
        model: a decoder. ids, targets: (N, T); rows may be filled up at the end.
    """
    ids, targets = np.asarray(ids), np.asarray(targets)
    at, _ = targets_on(targets, None, model.config.vocab_size, model.device)
    x, places = answer_features(model, ids, targets)  # (M, C)
    at = at.reshape(-1)[to_device(places, model.device)]  # (M,)
    log_p = -ops.linear_cross_entropy(x, model.output_weight, None, at, reduction="none")  # (M,)
    back = np.full(targets.size, len(places))
    back[places] = np.arange(len(places))
    rest = to_device(np.zeros(1, log_p.dtype), log_p.device)
    return ops.concatenate([log_p, rest])[to_device(back.reshape(targets.shape), model.device)]


def masked_loss(model: Any, batch: Batch) -> Tensor:
    """Of the tokens that were hidden: "targets" (B, T) has them, and −100 everywhere else.

    Only the positions that count go through the head: one in seven.

    Args:
        model: an encoder with a masked-word head.
        batch: as for `language_loss`; may hold "token_type_ids" (B, T).

    Raises:
        ValueError: a model without that head, or targets of another shape than the ids.
        IndexError: a target outside the vocabulary.
    """
    if model.lm_head is None:
        raise ValueError("the loss of hidden words needs a model with a masked-word head; BERT.for_masked_lm gives it "
                         "one")
    x = model.features(batch["ids"], batch.get("attention_mask"), batch.get("token_type_ids"))  # (B, T, C)
    targets, weights = np.asarray(batch["targets"]), batch.get("weights")
    if targets.shape != x.shape[:2]:
        raise ValueError(f"targets must have the shape {x.shape[:2]} of the ids, got {targets.shape}")
    counted = np.flatnonzero(targets != ops.IGNORE_INDEX)  # (N,)
    x = x.reshape(-1, x.shape[-1])[to_device(counted, model.device)]  # (N, C)
    flat = targets_on(targets.reshape(-1)[counted],
                      None if weights is None else np.asarray(weights).reshape(-1)[counted],
                      model.config.vocab_size, model.device)
    return ops.linear_cross_entropy(model.lm_head(x), model.output_weight, model.lm_head.bias, *flat, reduction="sum")


def seq2seq_loss(model: Any, batch: Batch) -> Tensor:
    """Of each token of a target, from its source and the target's tokens before it.

    Args:
        model: an encoder-decoder.
        batch: "ids" (B, S), the sources, and "targets" (B, T); may hold "attention_mask" (B, S), "weights" (B, T), and
            "decoder_ids" (B, T), what the decoder reads: by default the targets, shifted to the right by one.

    Raises:
        IndexError: a target outside the vocabulary.
    """
    memory, memory_mask = model.encode(batch["ids"], batch.get("attention_mask"))  # (B, S, C)
    x = model.decode(decoder_ids_of(model, batch), memory, memory_mask)  # (B, T, C)
    targets, weights = targets_on(batch["targets"], batch.get("weights"), model.config.vocab_size, model.device)
    return ops.linear_cross_entropy(x, model.output_weight, model.lm_head.bias, targets, weights, reduction="sum")


def decoder_ids_of(model: Any, batch: Batch) -> Any:
    """What the decoder reads, (B, T): "decoder_ids", or the targets, shifted to the right by one."""
    if batch.get("decoder_ids") is not None:
        return batch["decoder_ids"]
    return shift_right(np.asarray(batch["targets"]), model.config.decoder_start_token_id, model.config.pad_token_id)


def classification_loss(model: Any, batch: Batch) -> Tensor:
    """Of each text's label: "ids" (B, T) and "targets" (B,).

    Args:
        model: with a classification head.
        batch: may hold "attention_mask" and "token_type_ids" (B, T), and "weights" (B,).

    Raises:
        ValueError: a model without such a head, or with one that does not choose one label.
        IndexError: a target that is none of the labels.
    """
    if not model.config.n_labels:
        raise ValueError("the loss of labels needs a model with a classification head; BERT.for_classification gives "
                         "it one")
    model.config.check_one_label()
    more = {name: batch[name] for name in ("attention_mask", "token_type_ids") if name in batch}
    logits = model(batch["ids"], **more)  # (B, K)
    targets, weights = targets_on(batch["targets"], batch.get("weights"), model.config.n_labels, model.device)
    return ops.cross_entropy(logits, targets, weights, reduction="sum")


# ---------------------------------------------------------------------------------------------------------------------
# What the loop takes


def count_targets(batch: Batch) -> float:
    """How many targets of a batch count: those that are not −100, or the sum of their weights.

    >>> count_targets({"targets": np.array([[5, -100, 2]])})
    2.0
    """
    counted = np.asarray(batch["targets"]) != ops.IGNORE_INDEX
    return float(np.asarray(batch["weights"])[counted].sum() if "weights" in batch else np.count_nonzero(counted))


def auxiliary_losses(model: Module) -> Iterator[Tensor]:
    """The further terms that parts of a model ask for, each once.

    A module asks by an attribute `auxiliary_loss`: a Tensor () that its last forward pass in training left there, per
    target; or None. A mixture of experts asks so for experts that are used alike.
    """
    seen: set[int] = set()
    for module in model.modules():
        term = getattr(module, "auxiliary_loss", None)
        if term is not None and id(module) not in seen:
            seen.add(id(module))
            yield term


class Criterion:
    """What the loop makes small: a loss of the data, with what the model asks for beside it.

    The two methods are all that the loop knows of it. Replicas share one criterion, so it keeps nothing between calls.

    Args:
        data_loss: one of the functions above, or any other of their kind.
    """

    data_loss: DataLoss

    def __init__(self, data_loss: DataLoss) -> None:
        self.data_loss = data_loss

    def count(self, batch: Batch) -> float:
        """How many losses the sum of a batch is over: its targets that count. Counts of the parts of a batch add up."""
        return count_targets(batch)

    def training_loss(self, model: Any, batch: Batch) -> Tensor:
        """What training makes small of the data: their loss, unless there is more to learn from than they say."""
        return self.data_loss(model, batch)

    def figures(self, batch: Batch) -> dict[str, float]:
        """What else there is to tell of a step's batch, by name."""
        return {}

    def loss(self, model: Any, batch: Batch) -> tuple[Tensor, float]:
        """(the sum over what counts of the data's losses and of the model's auxiliary ones, (); how many count)."""
        count = self.count(batch)
        loss = self.training_loss(model, batch)
        for term in auxiliary_losses(model):
            loss = loss + term * count
        return loss, count
