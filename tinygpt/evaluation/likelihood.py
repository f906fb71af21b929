"""What a decoder thinks of given tokens: the price of each, and whether it was the first choice.

Two things are built on it: how well a text is predicted (next_token.py), and which of several continuations is the
likeliest (text_pairs.py). The continuations of one question share its context. It is read once, and what attention has
computed for it is copied for each of them: with a context of 60 tokens and four endings of 25, 160 tokens are read
instead of 340.

Shapes: B batch, T time, C channels, V vocabulary, N targets that count.

Prerequisites: language_modeling.py. Next: next_token.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from .. import ops
from ..autograd import no_grad
from ..backend import to_device, to_numpy
from ..blas import chooses_threads
from ..data import IGNORE, pad
from ..generation import left_pad
from ..models import CausalLM
from .running import Track, evaluating, untracked

__all__ = ["predict_targets", "score_continuations"]

LOGITS = 1 << 24  # how many may exist at once: 64 MiB in float32

IdPair = tuple[Sequence[int], Sequence[int]]


@no_grad()
@chooses_threads
def predict_targets(model: CausalLM, ids: np.ndarray, targets: np.ndarray, attention_mask: np.ndarray | None = None,
                    cache: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Predict the targets of ids, both (B, T); those of −100 do not count.

    Only features that a target needs become logits, a few rows at a time, so a large vocabulary costs no memory.

    Args:
        attention_mask, cache: as for the model.

    Returns:
        For each of the N targets that count, row by row: −log p in nats, (N,) float64; and whether it was the
        likeliest token, (N,) booleans.
    """
    x = model.features(ids, attention_mask, cache)  # (B, T, C)
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


@dataclass(frozen=True)
class _Window:
    """Ids that fit the context and one target more, of which the last `n` are to be predicted for pair `owner`."""

    owner: int
    ids: list[int]
    n: int


def _windows(owner: int, context: Sequence[int], continuation: Sequence[int], block_size: int) -> list[_Window]:
    """The windows of a pair.

    As a rule it is one window; a context that does not fit loses its beginning. A continuation longer than that is
    predicted in pieces of half a window, so that each id has half a window before it.
    """
    ids, n = [*context, *continuation], len(continuation)
    step = n if n <= block_size else max(1, block_size // 2)
    ends = [min(start + step, n) for start in range(0, n, step)]
    return [_Window(owner, ids[max(0, len(context) + end - block_size - 1):len(context) + end], end - start)
            for start, end in zip([0, *ends], ends)]


def _n_shared(windows: Sequence[_Window]) -> int:
    """How many ids all windows begin with and may be read once, so that each has one left to read and its target."""
    first, *others = (window.ids for window in windows)
    if not others:
        return 0
    length = min(map(len, (first, *others))) - 1
    for other in others:
        length = next((place for place, (a, b) in enumerate(zip(first[:length], other)) if a != b), length)
    return max(length - 1, 0)


def _batches(groups: list[list[_Window]], batch_size: int,
             room: float) -> list[tuple[list[list[_Window]], list[int]]]:
    """Groups in batches of about `batch_size` windows, the longest first, each with how many ids its windows share.

    Groups that share nothing come in batches of their own. Beginnings are padded to the longest, and so are rests:
    both together have `room` columns at most.
    """
    found: list[tuple[list[list[_Window]], list[int]]] = []
    sized = [(_n_shared(group), group) for group in groups]
    sized = [entry for shared, group in sized for entry in ([(shared, group)] if shared else [(0, [w]) for w in group])]
    sized.sort(key=lambda entry: (entry[0], max(len(window.ids) for window in entry[1])), reverse=True)
    n_windows, rest = batch_size, 0
    for shared, group in sized:
        own = max(len(window.ids) for window in group) - 1 - shared
        if n_windows + len(group) > batch_size or (shared > 0) != (found[-1][1][0] > 0) \
                or found[-1][1][0] + max(rest, own) > room:
            found.append(([], []))
            n_windows = rest = 0
        found[-1][0].append(group)
        found[-1][1].append(shared)
        n_windows, rest = n_windows + len(group), max(rest, own)
    return found


Scored = tuple[_Window, float, bool]


def _score_shared(model: CausalLM, groups: list[list[_Window]], shared: list[int]) -> Iterator[Scored]:
    """Windows whose beginnings are read once for each group."""
    ids, mask = left_pad([group[0].ids[:n] for group, n in zip(groups, shared)])  # (groups, T)
    cache = model.new_cache(len(groups), ids.shape[1])
    begins = [min(len(window.ids) - window.n for window in group) for group in groups]
    targets = np.full(ids.shape, IGNORE)
    for row, (group, n, begin) in enumerate(zip(groups, shared, begins)):
        if begin <= n:  # some of what is to be predicted is shared: sentences that begin alike
            targets[row, ids.shape[1] - 1 - n + begin:] = group[0].ids[begin:n + 1]
    nats, first = predict_targets(model, ids, targets, mask, cache)
    ends = list(accumulate(max(0, n + 1 - begin) for n, begin in zip(shared, begins)))
    rows = [(window, row) for row, group in enumerate(groups) for window in group]
    rows.sort(key=lambda entry: len(entry[0].ids) - shared[entry[1]])
    step = max(1, len(rows) // 4)  # endings of similar length together: what fills up a row is computed for nothing
    for start in range(0, len(rows), step):
        windows, owners = zip(*rows[start:start + step])
        rests = [window.ids[shared[row]:] for window, row in zip(windows, owners)]
        width = max(map(len, rests)) - 1
        for window, row, own_nats, own_first in zip(windows, owners, *_score_rows(
                model, rests, [min(window.n, len(rest) - 1) for window, rest in zip(windows, rests)],
                np.concatenate([mask[list(owners)], np.ones((len(owners), width), mask.dtype)], axis=1),
                cache.taken(np.array(owners), ids.shape[1] + width))):
            before = slice(ends[row] - max(0, shared[row] + 1 - (len(window.ids) - window.n)), ends[row])
            yield window, own_nats + float(nats[before].sum()), own_first and bool(first[before].all())


def _score_rows(model: CausalLM, rows: Sequence[list[int]], counts: Sequence[int], mask: np.ndarray | None = None,
                cache: Any = None) -> tuple[list[float], list[bool]]:
    """For each row, the nats of the last so many ids, and whether each of them was the first choice."""
    ids = pad([row[:-1] for row in rows], 0)  # (B, T); no token looks to its right, at filling
    targets = pad([[IGNORE] * (len(row) - 1 - n) + row[-n:] for row, n in zip(rows, counts)], IGNORE)
    nats, first = predict_targets(model, ids, targets, mask, cache)
    starts = np.cumsum([0, *counts])
    return ([float(nats[a:b].sum()) for a, b in zip(starts, starts[1:])],
            [bool(first[a:b].all()) for a, b in zip(starts, starts[1:])])


def score_continuations(model: CausalLM, pairs: Sequence[IdPair], sizes: Sequence[int] | None = None,
                        batch_size: int = 64, track: Track = untracked) -> tuple[np.ndarray, np.ndarray]:
    """What each continuation costs after its context, and whether the model would have written just that.

    Args:
        model: switched to `eval` for the time being.
        pairs: ids of contexts and of continuations, at least one each.
        sizes: how many pairs in a row belong together, such as the choices of a question: what they begin with is read
            once. None: each stands alone.
        batch_size: windows read at once; windows of similar length go together, the longest first.
        track: watches the batches.

    Returns:
        −log p in nats, (len(pairs),) float64; and whether each of its tokens was the likeliest, (len(pairs),) booleans.

    Raises:
        ValueError: an empty context or continuation; sizes that do not sum to the number of pairs.
    """
    if any(not len(context) or not len(continuation) for context, continuation in pairs):
        raise ValueError("a likelihood needs a context and a continuation of at least one token each")
    sizes = [1] * len(pairs) if sizes is None else sizes
    if sum(sizes) != len(pairs):
        raise ValueError(f"the sizes sum to {sum(sizes)}, and there are {len(pairs)} pairs")
    ends = list(accumulate(sizes))
    groups = [[window for owner in range(end - size, end)
               for window in _windows(owner, *pairs[owner], model.config.block_size)] for end, size in zip(ends, sizes)]
    nats, first = np.zeros(len(pairs)), np.ones(len(pairs), dtype=bool)
    with evaluating(model):
        room = math.inf if model.config.endless else model.config.block_size
        batches = _batches([group for group in groups if group], batch_size, room)
        for batch, shared in track(batches, len(batches)):
            windows = [window for group in batch for window in group]
            scored = _score_shared(model, batch, shared) if shared[0] else zip(
                windows, *_score_rows(model, [window.ids for window in windows], [window.n for window in windows]))
            for window, cost, all_first in scored:
                nats[window.owner] += cost
                first[window.owner] &= all_first
    return nats, first
