"""Training and validation text: the model is judged on what it has not seen.

The last tenth of the characters validates, as in nanoGPT. The cut is made in the running text, before tokenization, so
it does not depend on the tokenizer, and a tokenizer can be trained on the training part alone.

Prerequisites: sources.py. Next: tokens.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

__all__ = ["TextSlice", "split_by", "split_documents"]


T = TypeVar("T")


class TextSlice:
    """Characters `start` to `stop` of documents laid end to end, as documents; iterate as often as you like."""

    def __init__(self, documents: Iterable[str], start: int, stop: int) -> None:
        self.documents, self.start, self.stop = documents, start, stop

    def __iter__(self) -> Iterator[str]:
        position = 0  # of the document's first character
        for document in self.documents:
            part = document[max(self.start - position, 0):max(self.stop - position, 0)]
            if part:
                yield part
            position += len(document)
            if position >= self.stop:
                return


def split_documents(documents: Collection[str] | Iterable[str], validation: float = 0.1) -> tuple[TextSlice, TextSlice]:
    """(training documents, validation documents) by characters; the document at the boundary is cut in two.

    Reads the documents once to count their characters.

    Args:
        documents: a list, or `Documents`; not a one-time iterator, which the count would use up.
        validation: fraction of the characters, in [0, 1): the first int((1 - validation)·N) of N train.

    >>> [list(part) for part in split_documents(["abcde", "fghij"])]
    [['abcde', 'fghi'], ['j']]
    """
    if isinstance(documents, Iterator):
        raise TypeError("split_documents reads its documents more than once; pass a list or Documents, not an iterator")
    length = sum(map(len, documents))
    if not 0 <= validation < 1:
        raise ValueError(f"the validation fraction must be in [0, 1), got {validation}")
    boundary = int(length * (1 - validation))
    return TextSlice(documents, 0, boundary), TextSlice(documents, boundary, length)


def split_by(examples: Sequence[T], key: Callable[[T], Hashable], validation: float, seed: int,
             what: str) -> tuple[list[T], list[T]]:
    """(training, held-out) examples, each in the order given; no key is on both sides.

    Args:
        key: example -> what must not be met in training if it validates: the source of a pair, say.
        validation: the fraction of the different keys to hold out, in (0, 1); at least one is, and one is not.
        seed: which ones.
        what: what a key is called in messages.

    Raises:
        ValueError: a fraction outside (0, 1), or fewer than two different keys.
    """
    if not 0 < validation < 1:
        raise ValueError(f"the validation fraction must be in (0, 1), got {validation}")
    keys = list(dict.fromkeys(map(key, examples)))
    if len(keys) < 2:
        raise ValueError(f"holding out a {what} needs at least two different ones, got {len(keys)}")
    n_held = min(max(1, round(validation * len(keys))), len(keys) - 1)
    held = {keys[index] for index in np.random.default_rng([seed, len(keys)]).permutation(len(keys))[:n_held]}
    return ([example for example in examples if key(example) not in held],
            [example for example in examples if key(example) in held])
