"""Texts to labels: running a model with a classification head over a list of texts.

Shapes: N texts, K labels.

Prerequisites: classification.py, data/texts.py, models/bert.py. Next: bleu.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..backend import to_numpy
from ..files.shown import listed, shown
from ..data import encode_within, similar_lengths
from ..models import PretrainedModel
from ..tokenizers import Tokenizer
from .running import Track, side_by_side, untracked

__all__ = ["label_logits", "label_numbers", "label_probabilities"]

MAX_SCORES = 1 << 27  # 512 MB


def label_logits(model: PretrainedModel, rows: Sequence[Sequence[int] | np.ndarray], batch_size: int = 32,
                 keep_going: Callable[[], bool] = lambda: True, track: Track = untracked) -> np.ndarray:
    """(N, K) float32: the score of each label for each row of ids.

    Args:
        model: with a classification head; switched to `eval` for the time being.
        rows: ids, in the tokenizer's template, none longer than the context.
        batch_size: rows read at once; those of similar length go together.
        keep_going: asked after each batch; when it says False, the scores of the rest are 0.
        track: watches the batches.

    Raises:
        ValueError: a model without such a head, or more than MAX_SCORES scores.
    """
    if not model.config.n_labels:
        raise ValueError("labels need a model with a classification head; BERT.for_classification gives it one")
    if len(rows) * model.config.n_labels > MAX_SCORES:
        raise ValueError(f"{len(rows):,} texts with a score for each of {model.config.n_labels:,} labels are too many "
                         f"at once: at most {MAX_SCORES:,} scores; label fewer texts at a time")
    found = np.zeros((len(rows), model.config.n_labels), dtype=np.float32)

    def scored(batch: tuple[Any, Any, Any]) -> tuple[Any, np.ndarray]:
        places, ids, mask = batch
        return places, to_numpy(model(ids, attention_mask=mask).data)
    batches = similar_lengths(rows, batch_size, model.config.pad_token_id or 0)
    for places, scores in side_by_side(scored, model, track(batches, -(-len(rows) // batch_size)), 1):
        found[places] = scores
        if not keep_going():
            break
    return found


def label_probabilities(model: PretrainedModel, tokenizer: Tokenizer, texts: Sequence[str],
                        batch_size: int = 32, track: Track = untracked) -> np.ndarray:
    """(N, K): the probability of each label for each text; labels are numbered as in `model.config.id2label`.

    Args:
        model: with a classification head; switched to `eval` for the time being.
        texts: those longer than the context are cut, with a warning.
        batch_size: texts read at once.
        track: watches the batches.

    Raises:
        ValueError: a model without such a head, or with one that does not choose one label; an empty text that
            nothing stands around.
    """
    model.config.check_one_label()
    logits = label_logits(model, encode_within(tokenizer, texts, model.config.block_size), batch_size,
                          track=track)
    return ops.softmax(logits.astype(np.float64), axis=-1).data


def label_numbers(labels: Sequence[str], names: Sequence[str], places: Sequence[str]) -> list[int]:
    """The number of each label as data write it: by its name, whatever the case; or by its number.

    Args:
        labels: as they stand in the data.
        names: the model's labels, in the order of their numbers.
        places: where each label stands, for the message.

    Raises:
        ValueError: a label that the model does not know.

    >>> label_numbers(["ham", "SPAM"], ["HAM", "SPAM"], ["line 1", "line 2"])
    [0, 1]
    >>> label_numbers(["1", "0"], ["NEGATIVE", "POSITIVE"], ["line 1", "line 2"])
    [1, 0]
    """
    exact = {name: number for number, name in enumerate(names)}
    if set(labels) <= exact.keys():
        return [exact[label] for label in labels]
    folded = {name.casefold(): number for name, number in exact.items()}
    numbers = {str(number): number for number in range(len(names))}
    known = folded if any(label.casefold() in folded for label in labels) else numbers
    for label, place in zip(labels, places):
        if label.casefold() not in known:
            raise ValueError(f"{place}: the model has no label {shown(label)}; its labels are {listed(names)}")
    return [known[label.casefold()] for label in labels]
