"""What a text must and must not say, whatever the model finds likely: one small function per rule, and `Rules`.

A rule changes the scores of the next token, (B, V), logits or log-probabilities, by the ids that stand so far, (B, T),
-1 at padding: -inf for a token that must not follow. The order is that of Hugging Face transformers; what is forced
comes last and so has the last word.

Prerequisites: strategies.py. Next: text.py. Source: Paulus et al., "A deep reinforced model for abstractive
summarization" (2017), section 2.5, for texts that repeat no n-gram.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Rules", "absent", "check_suppressed", "force", "no_repeated_ngrams", "suppress"]


def absent(ids: Iterable[int], n_vocab: int) -> tuple[int, ...]:
    """The ids below `n_vocab` that are none of a tokenizer's `ids`.

    A model's vocabulary may be padded to a round size. Nothing can be written with the padding, however likely the
    model finds it.

    >>> absent([0, 1, 2, 5], n_vocab=8)
    (3, 4, 6, 7)
    """
    return tuple(sorted(set(range(n_vocab)) - set(ids)))


def check_suppressed(tokens: Sequence[int], n_vocab: int) -> None:
    """Raise IndexError if one of them is outside the vocabulary."""
    for token in tokens:
        if not 0 <= token < n_vocab:
            raise IndexError(f"suppress_tokens holds the id {token}, expected ids of this vocabulary of {n_vocab} "
                             "tokens")


def suppress(scores: np.ndarray, tokens: Sequence[int]) -> None:
    """Never one of these tokens."""
    scores[:, list(tokens)] = -np.inf


def force(scores: np.ndarray, token: int) -> None:
    """This token and no other."""
    scores[...] = -np.inf
    scores[:, token] = 0.0


def no_repeated_ngrams(scores: np.ndarray, ids: np.ndarray, n: int) -> None:
    """No n tokens in a row that stood in a row before: what followed the last n − 1 tokens earlier may not again.

    >>> scores = np.zeros((1, 6))
    >>> no_repeated_ngrams(scores, np.array([[3, 4, 5, 3, 4]]), n=3)
    >>> scores
    array([[  0.,   0.,   0.,   0.,   0., -inf]])
    """
    if ids.shape[1] < n:
        return
    grams = np.lib.stride_tricks.sliding_window_view(ids, n, axis=1)  # (B, T − n + 1, n)
    tail = ids[:, None, ids.shape[1] - (n - 1):]  # (B, 1, n − 1); of no tokens for n = 1, which all begin with
    row, at = ((grams[:, :, :-1] == tail).all(axis=2) & (grams >= 0).all(axis=2)).nonzero()
    scores[row, grams[row, at, -1]] = -np.inf


@dataclass(frozen=True)
class Rules:
    """All rules of a text; called with the scores of the next token, which it changes and returns, and the ids so far.

    Attributes:
        suppressed: tokens that are never written; of `ends` none counts.
        absent: tokens that are never written, of `ends` neither.
        no_repeat_ngram_size: no n-gram of this size is repeated; 0 for no such rule.
        ends: tokens that end a text.
        min_length: before so many tokens, a prompt's included, no text ends.
        max_length: how many tokens a text has, a prompt's included, where it is cut.
        forced_first: the token after the first one, or None.
        forced_last: the last token of a text that is cut at `max_length`, or None.
    """

    max_length: int
    suppressed: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()
    no_repeat_ngram_size: int = 0
    ends: tuple[int, ...] = ()
    min_length: int = 0
    forced_first: int | None = None
    forced_last: int | None = None

    def __call__(self, scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
        length = ids.shape[1]
        if self.no_repeat_ngram_size:
            no_repeated_ngrams(scores, ids, self.no_repeat_ngram_size)
        suppress(scores, [token for token in self.suppressed if token not in self.ends])
        suppress(scores, self.absent)
        if length < self.min_length:
            suppress(scores, self.ends)
        if self.forced_first is not None and length == 1:
            force(scores, self.forced_first)
        if self.forced_last is not None and length == self.max_length - 1:
            force(scores, self.forced_last)
        return scores
