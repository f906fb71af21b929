"""Texts to batches for a model that reads them whole: ids within the context, similar lengths side by side.

A text longer than the context loses its end, and somebody must be told. Texts as they come make batches that are half
filling; sorted by length they hardly have any, and each result goes back to its text's place.

Shapes: N texts, B batch, T time.

Prerequisites: padding.py, tokenizers/base.py. Next: masking.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from ..tokenizers.base import Tokenizer
from ..tokenizers.special import AllowedSpecial
from .padding import pad

__all__ = ["encode_within", "similar_lengths"]


def encode_within(tokenizer: Tokenizer, texts: Sequence[str], length: int, *, truncation: bool | None = None,
                  allowed_special: AllowedSpecial = ()) -> list[list[int]]:
    """The ids of texts in the tokenizer's template, none longer than `length`: long texts lose their end.

    Args:
        tokenizer: its template stays whole.
        texts: any; an empty one is the template alone.
        length: the model's context.
        truncation: None cuts long texts with a warning, True without one, False raises.
        allowed_special: as for `Tokenizer.encode`.

    Raises:
        ValueError: a text without a single id, no room for text beside the template, or, with truncation=False, a
            text that is too long.

    Warns:
        UserWarning: how many texts were cut.
    """
    prefix, suffix = list(tokenizer.prefix_ids), list(tokenizer.suffix_ids)
    room = length - len(prefix) - len(suffix)
    if room < 1:
        raise ValueError(f"the context of {length} tokens leaves no room for text beside the tokenizer's template")
    found = [tokenizer.encode(text, add_special_tokens=False, allowed_special=allowed_special) for text in texts]
    if room == length and (empty := [number for number, ids in enumerate(found) if not ids]):
        raise ValueError(f"text {empty[0]} is empty, and this tokenizer puts nothing around a text: there is nothing "
                         "to read")
    if n_long := sum(len(ids) > room for ids in found):
        which = f"{n_long:,} of {len(found):,} texts are longer than the model's context of {length} tokens"
        if truncation is False:
            raise ValueError(which)
        if truncation is None:
            warnings.warn(f"{which} and were cut", stacklevel=2)
    return [prefix + ids[:room] + suffix for ids in found]


def similar_lengths(rows: Sequence[Sequence[int] | np.ndarray], batch_size: int,
                    pad_id: int) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """Every row once, the short ones first, in batches.

    Yields:
        (places, ids, attention_mask): which rows they are, and the rows filled up at the end, (B, T) int64 each.

    >>> for places, ids, mask in similar_lengths([[5, 6, 7], [8], [9, 9, 9]], batch_size=2, pad_id=0):
    ...     print(places, ids.tolist(), mask.tolist())
    [1, 0] [[8, 0, 0], [5, 6, 7]] [[1, 0, 0], [1, 1, 1]]
    [2] [[9, 9, 9]] [[1, 1, 1]]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    for start in range(0, len(order), batch_size):
        places = order[start:start + batch_size]
        yield (places, pad([rows[place] for place in places], pad_id),
               pad([[1] * len(rows[place]) for place in places], 0))
