"""What a decoder thinks of given tokens: the price of each, and whether it was the first choice.

Two things are built on it: how well a text is predicted (next_token.py), and which of several continuations is the
likeliest (multiple_choice.py).

Shapes: B batch, T time, C channels, V vocabulary, N targets that count.

Prerequisites: language_modeling.py. Next: next_token.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import ops
from ..autograd import no_grad
from ..backend import to_device, to_numpy
from ..blas import chooses_threads
from ..data import IGNORE, pad
from ..models import CausalLM
from .running import Track, evaluating, untracked

__all__ = ["continuation_nats", "predict_targets"]

LOGITS = 1 << 24  # how many may exist at once: 64 MiB in float32

IdPair = tuple[Sequence[int], Sequence[int]]


@no_grad()
@chooses_threads
def predict_targets(model: CausalLM, ids: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict the targets of ids, both (B, T); those of −100 do not count.

    Only features that a target needs become logits, a few rows at a time, so a large vocabulary costs no memory.

    Returns:
        For each of the N targets that count, row by row: −log p in nats, (N,) float64; and whether it was the
        likeliest token, (N,) booleans.
    """
    x = model.features(ids)  # (B, T, C)
    wanted = targets.reshape(-1)
    places = np.flatnonzero(wanted != IGNORE)  # (N,)
    x = x.reshape(-1, x.shape[-1])[to_device(places, model.device)]  # (N, C)
    wanted = wanted[places]
    nats, first = np.empty(len(places)), np.empty(len(places), dtype=bool)
    step = max(1, LOGITS // model.config.vocab_size)
    for start in range(0, len(places), step):
        rows = slice(start, start + step)
        logits = to_numpy(ops.linear(x[rows], model.output_weight).data)  # (at most step, V)
        nats[rows] = ops.cross_entropy(logits, wanted[rows], reduction="none").data
        first[rows] = logits.argmax(axis=1) == wanted[rows]
    return nats, first


def _windows(context: Sequence[int], continuation: Sequence[int], block_size: int) -> list[tuple[list[int], int]]:
    """Windows of at most block_size + 1 ids, and how many ids at the end of each are to be predicted.

    As a rule it is one window; a context that does not fit loses its beginning. A continuation longer than that is
    predicted in pieces of half a window, so that each id has half a window before it.
    """
    ids, n = [*context, *continuation], len(continuation)
    step = n if n <= block_size else max(1, block_size // 2)
    ends = [min(start + step, n) for start in range(0, n, step)]
    return [(ids[max(0, len(context) + end - block_size - 1):len(context) + end], end - start)
            for start, end in zip([0, *ends], ends)]


def continuation_nats(model: CausalLM, pairs: Sequence[IdPair], batch_size: int = 32,
                      track: Track = untracked) -> np.ndarray:
    """−log p of each continuation after its context, in nats: (len(pairs),) float64.

    Args:
        model: switched to `eval` for the time being.
        pairs: ids of contexts and of continuations, at least one each.
        batch_size: windows read at once; windows of similar length go together.
        track: watches the batches.

    Raises:
        ValueError: an empty context or continuation.
    """
    if any(not len(context) or not len(continuation) for context, continuation in pairs):
        raise ValueError("a likelihood needs a context and a continuation of at least one token each")
    windows = [(owner, window, n_predicted) for owner, (context, continuation) in enumerate(pairs)
               for window, n_predicted in _windows(context, continuation, model.config.block_size)]
    windows.sort(key=lambda entry: len(entry[1]))
    total = np.zeros(len(pairs))
    with evaluating(model):
        starts = range(0, len(windows), batch_size)
        for start in track(starts, len(starts)):
            batch = windows[start:start + batch_size]
            ids = pad([window[:-1] for _, window, _ in batch], 0)  # (B, T); no token looks to its right, at filling
            targets = pad([[IGNORE] * (len(window) - 1 - n) + window[-n:] for _, window, n in batch], IGNORE)
            nats, _ = predict_targets(model, ids, targets)
            owners = np.repeat([owner for owner, _, _ in batch], [n for _, _, n in batch])
            np.add.at(total, owners, nats)
    return total
