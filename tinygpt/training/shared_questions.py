"""Answers to the same question: the question is read once, and each answer goes on from there, with all gradients.

Preferences have two answers to a question, groups of GRPO eight or more; and questions are often longer than answers.
Attention sees the earlier tokens of a row through their keys and values alone. So one pass reads each question, and a
second one all answers, which look at its keys and values beside their own; what flows back into these is added up over
the answers, as it is where the question stands before each of them.

Shapes: N rows, T time, Q questions, P tokens of the longest, L of the longest answer, C channels.

Prerequisites: nn/cache.py, models/decoder.py. Next: losses.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import to_device
from ..data.sampler import IGNORE, pad
from ..generation import left_pad

__all__ = ["answer_features"]

WORTH = 0.8  # of the tokens that are read otherwise; two passes and a gather cost something themselves


class _Questions:
    """Keys and values of the questions, shown to the answers; for a pass, this is a cache.

    Attributes:
        owners: the question of each answer, once all questions have been read.
    """

    def __init__(self) -> None:
        self.length, self.owners = 0, None
        self._of: dict[int, tuple[Tensor, Tensor]] = {}

    def kept(self, layer: int = 0) -> int:
        """How many tokens a pass looks at beside its own."""
        return self.length

    def advance(self, n: int) -> None:
        """Count tokens."""
        self.length += n

    def append(self, layer: object, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """A layer's keys and values of the questions, (Q, Hkv, P, D); later with the answers', (N, Hkv, P + L, D)."""
        if self.owners is None:
            self._of[id(layer)] = k, v
            return k, v
        k_before, v_before = self._of[id(layer)]
        return (ops.concatenate([k_before[self.owners], k], axis=2),
                ops.concatenate([v_before[self.owners], v], axis=2))


def answer_features(model: Any, ids: np.ndarray, targets: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """What the targets are predicted from, and where they stand.

    A row's question is what stands before its first target. Where rows share none, or hardly any, and where a question
    and an answer beside each other would not fit the context, each row is read as it is; the result is the same.

    Args:
        model: a decoder.
        ids, targets: (N, T); rows may be filled up at the end; targets of −100 do not count.

    Returns:
        Features (M, C) of the M targets that count, row by row, and their places among the N·T.
    """
    counted = targets != IGNORE
    places = np.flatnonzero(counted)  # (M,)
    rows = np.flatnonzero(counted.any(axis=1))
    starts = counted.argmax(axis=1)  # the last token of a question predicts the first of its answer
    stops = counted.shape[1] - counted[:, ::-1].argmax(axis=1)
    numbers: dict[bytes, int] = {}
    owners = np.array([numbers.setdefault(ids[row, :starts[row] + 1].tobytes(), len(numbers)) for row in rows], int)
    questions = [np.frombuffer(question, ids.dtype) for question in numbers]
    rests = [ids[row, starts[row] + 1:stops[row]] for row in rows]
    width, length = (max(map(len, some), default=0) for some in (questions, rests))
    if (len(questions) * width + len(rows) * length > WORTH * ids.size or width + length > model.config.block_size
            or not len(rows) or model.config.feed_forward == "experts"):  # experts count the tokens of one pass
        x = model.features(ids)  # (N, T, C)
        return x.reshape(-1, x.shape[-1])[to_device(places, model.device)], places

    memory = _Questions()
    before, mask = left_pad([question.tolist() for question in questions])  # (Q, P)
    asked = model.features(before, mask, memory)  # (Q, P, C)
    x = asked[:, -1]  # (Q, C)
    if length:
        memory.owners = to_device(owners, model.device)
        mask = np.concatenate([mask[owners], np.ones((len(rows), length), mask.dtype)], axis=1)
        answered = model.features(pad(rests, 0), mask, memory)  # (rows, L, C)
        x = ops.concatenate([x, answered.reshape(-1, x.shape[-1])], axis=0)  # (Q + rows · L, C)
    at, after = np.nonzero(counted[rows])
    after = after - starts[rows][at]
    where = np.where(after == 0, owners[at], len(questions) + at * length + after - 1)  # (M,)
    return x[to_device(where, model.device)], places
