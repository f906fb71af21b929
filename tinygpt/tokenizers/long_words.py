"""Byte-pair encoding of a word of any length: in time that grows with its length, and little memory.

Taking the best pair out of a heap costs more the longer the word is, and a heap of ten million pairs takes a gigabyte.
But what a merge does is decided nearby, and this is exact:

    a row of tokens is the encoding of a word if each two neighbours, encoded by themselves, give these two tokens

(The first merge that joined parts of two neighbours would be the best pair of these two as well, at that moment, and so
would join them when they are encoded alone.) So a long word is encoded block by block. The last tokens of a block know
nothing of what follows and are dropped; the next block begins where they did. If the tokens on both sides of that place
fit, nothing is lost. If they do not, the next block begins earlier and is twice as long; the longest is the whole word.

Prerequisites: `textbook_bpe.py`. Next: `bpe.py`. The rule is from github.com/github/rust-gems, crates/bpe.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise

from .textbook_bpe import Pair

__all__ = ["NEVER", "merge_long"]

NEVER = 1 << 60  # the rank of a pair that no merge joins
_BLOCK = 1 << 15  # tokens to begin with
_MARGIN = 16  # tokens at the end of a block that may still change


def merge_long(ids: Sequence[int], ranks: Mapping[Pair, int], made: Sequence[int]) -> Sequence[int]:
    """The ids that remain of `ids` when no merge is left: the lowest rank first, and of equals the leftmost.

    Args:
        ids: the ids of the bytes.
        ranks: the rank of each pair that a merge joins.
        made: rank -> the id of the token that the merge makes.
    """
    if len(ids) <= 2 * _BLOCK:
        return _merge(ids, ranks, made)[0]
    found, starts = array("i"), array("q")  # the tokens so far, and where each begins
    at, size, failed = 0, _BLOCK, -1
    while True:
        stop = min(at + size, len(ids))
        tokens, places = _merge(ids[at:stop], ranks, made)
        places.append(stop - at)
        if found and _merge(ids[starts[-1]:at + places[1]], ranks, made)[0] != [found[-1], tokens[0]]:
            back = min(_MARGIN, len(found))
            at, size, failed = starts[-back], 2 * size, max(failed, at)
            del found[-back:], starts[-back:]
            continue
        if stop == len(ids):
            found.extend(tokens)
            return found
        keep = max(1, len(tokens) - _MARGIN)
        found.extend(tokens[:keep])
        starts.extend([at + place for place in places[:keep]])
        at += places[keep]
        size = _BLOCK if at > failed else size


def _merge(ids: Sequence[int], ranks_of: Mapping[Pair, int], made: Sequence[int]) -> tuple[list[int], list[int]]:
    """(the ids that remain, where each begins in `ids`), found with a heap over the whole."""
    ids, n = list(ids), len(ids)
    ranks = [ranks_of.get(pair, NEVER) for pair in pairwise(ids)] + [NEVER]
    before, after = list(range(-1, n - 1)), list(range(1, n + 1))  # a linked list, since merging takes tokens out
    heap = [rank * n + i for i, rank in enumerate(ranks) if rank != NEVER]  # lowest rank first, then leftmost
    heapq.heapify(heap)
    while heap:
        rank, i = divmod(heapq.heappop(heap), n)
        if ranks[i] != rank:  # one of the two tokens has gone into another merge since
            continue
        gone = after[i]
        ids[i], ids[gone] = made[rank], -1
        ranks[i] = ranks[gone] = NEVER
        after[i] = after[gone]
        if after[i] < n:
            before[after[i]] = i
        for left in (before[i], i):
            right = after[left] if left >= 0 else n
            if right < n:
                ranks[left] = ranks_of.get((ids[left], ids[right]), NEVER)
                if ranks[left] != NEVER:
                    heapq.heappush(heap, ranks[left] * n + left)
    starts = [i for i, token in enumerate(ids) if token >= 0]
    return [ids[i] for i in starts], starts
