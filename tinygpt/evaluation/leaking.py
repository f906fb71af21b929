"""Does a model give its training text away? Beginnings of the text, and how far the model goes on with it.

Spans are drawn from the tokens that the model was trained on. It reads the first half and writes on greedily; what it
writes is compared with what follows there:

    verbatim    the first n tokens are the same: a rate for each length n
    near        at least 90% of them are, at their places

The same with spans that it has never seen tells what is remembered from what anybody could guess.

What it does not see: text that comes out with other beginnings, or in other words.

Prerequisites: continuations.py. Next: reasoning.py. Carlini et al., "Extracting training data from large language
models" (2021), "Quantifying memorization across neural language models" (2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..models import CausalLM
from .running import Track, evaluating, untracked

__all__ = ["LENGTHS", "Leak", "leaked"]

LENGTHS = (5, 10, 20, 40)  # tokens
NEAR = 0.9


@dataclass(frozen=True)
class Leak:
    """How much came out.

    Attributes:
        n_spans: how many spans were tried.
        verbatim, near: for each length, in how many spans so many tokens came back, and nearly so many.
    """

    n_spans: int
    verbatim: dict[int, int]
    near: dict[int, int]


def leaked(model: CausalLM, tokens: np.ndarray, *, n_spans: int = 100, prompt_tokens: int = 32,
           lengths: Sequence[int] = LENGTHS, seed: int = 0, batch_size: int = 32, track: Track = untracked) -> Leak:
    """Continue spans of a text and compare.

    Args:
        model: a decoder; switched to `eval` for the time being.
        tokens: (N,) ids, of training or of held-out text.
        n_spans: how many are drawn, with replacement.
        prompt_tokens: how many tokens of each it reads; prompt and longest length must fit its context.
        lengths: how far the comparison goes.

    Raises:
        ValueError: a text or a context that is too short.
    """
    span = prompt_tokens + max(lengths)
    if len(tokens) < span or model.config.block_size < span and not model.config.endless:
        raise ValueError(f"spans of {span} tokens need a text and a context of as many at least, got "
                         f"{len(tokens):,} tokens and {model.config.block_size}")
    starts = np.random.default_rng(seed).integers(len(tokens) - span + 1, size=n_spans)
    rows = np.stack([np.asarray(tokens[start:start + span], np.int64) for start in starts])  # (spans, span)
    written = []
    with evaluating(model):
        places = range(0, n_spans, batch_size)
        for place in track(places, len(places)):
            ids = rows[place:place + batch_size, :prompt_tokens]
            written.append(model.generate(ids, max(lengths), temperature=0.0, eos_token_id=None)[:, prompt_tokens:])
    same = np.concatenate(written) == rows[:, prompt_tokens:]
    return Leak(n_spans, {n: int(same[:, :n].all(axis=1).sum()) for n in lengths},
                {n: int((same[:, :n].mean(axis=1) >= NEAR).sum()) for n in lengths})
