"""Texts to labels: running a model with a classification head over a list of texts.

Shapes: N texts, K labels, B batch, T time.

Read before: classification.py, models/bert.py. Read next: bleu.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from ..autograd import no_grad
from ..backend import to_numpy
from ..data import pad
from ..models import BERT, GPT
from ..tokenizers import Tokenizer

__all__ = ["encode_within", "label_logits", "label_numbers", "label_probabilities"]


def encode_within(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> list[list[int]]:
    """The ids of texts in the tokenizer's template, none longer than `length`: long texts lose their end.

    Raises:
        ValueError: a text without tokens, or no room for text beside the template.

    Warns:
        UserWarning: how many texts were cut.
    """
    prefix, suffix = list(tokenizer.prefix_ids), list(tokenizer.suffix_ids)
    room = length - len(prefix) - len(suffix)
    if room < 1:
        raise ValueError(f"the context of {length} tokens leaves no room for text beside the tokenizer's template")
    found = tokenizer.encode_batch(texts, add_special_tokens=False)
    if empty := [number for number, ids in enumerate(found) if not ids]:
        raise ValueError(f"text {empty[0]} is empty; leave empty texts out")
    if n_long := sum(len(ids) > room for ids in found):
        warnings.warn(f"{n_long:,} of {len(found):,} texts are longer than the model's context of {length} tokens and "
                      "were cut", stacklevel=2)
    return [prefix + ids[:room] + suffix for ids in found]


@no_grad()
def label_logits(model: BERT | GPT, rows: Sequence[Sequence[int]], batch_size: int = 32,
                 keep_going: Callable[[], bool] = lambda: True) -> np.ndarray:
    """(N, K): the score of each label for each text's ids.

    Args:
        model: with a classification head; switched to `eval` for the time being.
        rows: ids, in the tokenizer's template, none longer than the context.
        batch_size: texts read at once; texts of similar length go together.
        keep_going: asked after each batch; when it says False, the scores of the rest are 0.
    """
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    found = np.zeros((len(rows), model.config.n_labels))
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            places = order[start:start + batch_size]
            ids = pad([rows[place] for place in places], model.config.pad_token_id or 0)  # (B, T)
            mask = pad([[1] * len(rows[place]) for place in places], 0)
            found[places] = to_numpy(model(ids, attention_mask=mask).data)
            if not keep_going():
                break
    finally:
        model.train(training)
    return found


def label_probabilities(model: BERT | GPT, tokenizer: Tokenizer, texts: Sequence[str],
                        batch_size: int = 32) -> np.ndarray:
    """(N, K): the probability of each label for each text; labels are numbered as in `model.config.id2label`.

    Args:
        model: with a classification head; switched to `eval` for the time being.
        texts: none empty; those longer than the context are cut, with a warning.
        batch_size: texts read at once; texts of similar length go together.

    Raises:
        ValueError: a model without such a head, or with one that does not choose one label; an empty text.
    """
    if not model.config.n_labels:
        raise ValueError("labels need a model with a classification head; BERT.for_classification gives it one")
    model.config.check_one_label()
    rows = encode_within(tokenizer, texts, model.config.block_size)
    logits = label_logits(model, rows, batch_size)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


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
            raise ValueError(f"{place}: the model has no label {label!r}; its labels are {', '.join(names)}")
    return [known[label.casefold()] for label in labels]
