"""Byte-pair encoding that keeps up with compiled code.

`textbook_bpe.py` is the truth. `train` and `MergeTable.encode` give the same answers (tests draw random texts and
compare) by doing less, and each step that makes them faster says why it may.

Here a token is its id; ids 0–255 are the bytes in GPT-2's order and merge number r makes id 256 + r.

Prerequisites: `textbook_bpe.py`, `splitter.py`, `counting.py`. Next: `files.py`.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import add

import numpy as np

from .special import MAX_IDS
from .textbook_bpe import BYTE_ORDER, Pair

__all__ = ["train", "Merges", "MergeTable", "check_vocab"]

# 1. Training.
#
# (a) The textbook counts everything again after every merge. But a merge changes only the words that contain the pair,
#     and in them only the pairs beside it. So keep the counts, and for each pair the words it was seen in.
# (b) The textbook looks at every pair to find the best. A heap gives it at once. A merge changes counts in the heap,
#     but the count of an old pair can only fall (a new occurrence contains the new token, so belongs to a new pair):
#     an entry is never too low, and it is enough to check it when it comes out and put it back if it was too high.
# (c) A word is a `str` with the character chr(id) per token. Then finding and replacing a pair is str.split and
#     str.join, in C, from left to right as wanted; a pair is a string of two characters, cheap to hash; and strings
#     compare as their ids do, so the heap breaks ties as it should.

_TO_IDS = bytes(BYTE_ORDER.index(byte) for byte in range(256))  # bytes.translate with it: raw bytes -> ids 0–255


def train(pieces: Mapping[bytes, int], n_merges: int, min_frequency: int = 1) -> Iterator[Pair]:
    """The merges that a text teaches, one by one as they are found; the same as `TextbookBPE.train` finds.

    Args:
        pieces: how often each piece of text occurs; no token spans two pieces.
        n_merges: how many to learn; fewer where no pair is left.
        min_frequency: stop when the best pair occurs less often.
    """
    words = [piece.translate(_TO_IDS).decode("latin-1") for piece in pieces]
    frequency = list(pieces.values())
    del pieces  # as large as all that follows, if the caller does not hold it either
    counts: dict[str, int] = defaultdict(int)
    places: dict[str, list[int]] = defaultdict(list)  # pair -> the words it is in, once per occurrence
    for i, word in enumerate(words):
        for pair in map(add, word, word[1:]):
            counts[pair] += frequency[i]
            places[pair].append(i)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)

    n_found = 0
    while n_found < n_merges and heap:
        count, pair = heapq.heappop(heap)
        if counts[pair] != -count:  # it has fallen since: back with it, at its true count
            if counts[pair]:
                heapq.heappush(heap, (-counts[pair], pair))
            continue
        if -count < min_frequency:
            return
        left, right, new = pair[0], pair[1], chr(256 + n_found)
        n_found += 1
        yield ord(left), ord(right)

        before, after = _merge_in_words(words, places.pop(pair), pair, new)
        changes = [((right if c == new else c) + left, c + new, where) for c, where in before.items()]
        changes += [(right + c, new + c, where) for c, where in after.items()]
        for old, formed, where in changes:
            count = sum([frequency[i] for i in where])
            counts[old] -= count
            counts[formed] = count
            places[formed] = where
            heapq.heappush(heap, (-count, formed))
        del counts[pair]


def _merge_in_words(words: list[str], where: list[int], pair: str, new: str) -> tuple[dict[str, list[int]], ...]:
    """Merge `pair` in the words listed; return which tokens stand before, and after, the new ones, and in which words.

    Where two new tokens touch, the second has the first before it, and the first has nothing after it: each pair of
    neighbours is told once.
    """
    before: dict[str, list[int]] = defaultdict(list)
    after: dict[str, list[int]] = defaultdict(list)
    last = -1
    for i in where:
        if i == last:  # listed once per occurrence
            continue
        last = i
        parts = words[i].split(pair)
        if len(parts) == 1:  # its occurrences have gone into other merges
            continue
        words[i] = new.join(parts)
        for k in range(1, len(parts)):  # the occurrence between parts k - 1 and k
            if parts[k - 1]:
                before[parts[k - 1][-1]].append(i)
            elif k > 1:
                before[new].append(i)
            if parts[k]:
                after[parts[k][0]].append(i)
    return before, after


# 2. Encoding.
#
# (a) The textbook looks up every pair again after every merge. But a merge changes only the two pairs beside it, so
#     keep the list of what each pair would become, take its minimum, and mend the two neighbours.
# (b) Taking the minimum of a list costs its length, which for a long piece makes the whole quadratic; there, a heap.
# (c) If no merge joins a token that ends in byte x with one that begins with byte y, no token ever grows over "xy",
#     so the piece can be cut there and the parts encoded apart. Chinese falls into characters that way: few, short
#     and often seen before. NumPy finds all such places at once.

_LONG = 96  # tokens: above, the heap is faster
_NEVER = 1 << 60  # the rank of a pair that no merge joins


def check_vocab(vocab: Mapping[bytes, int]) -> dict[int, bytes]:
    """The vocabulary from ids to tokens; ValueError unless each token has an id of its own."""
    token_bytes: dict[int, bytes] = {}
    for token, token_id in vocab.items():
        if not isinstance(token, bytes):  # Whisper's vocabulary has an empty one, which no text becomes
            raise ValueError(f"a token is bytes, got {token!r}")
        if type(token_id) is not int or not 0 <= token_id < MAX_IDS:
            raise ValueError(f"the id of {token!r} is {token_id!r}, expected an integer from 0 to {MAX_IDS - 1}")
        if token_id in token_bytes:
            raise ValueError(f"the id {token_id} stands for {token_bytes[token_id]!r} and for {token!r}")
        token_bytes[token_id] = token
    return token_bytes


class Merges:
    """Merges of ids, applied.

    Args:
        ranks: the rank of each pair that a merge joins; the lowest goes first, and of equals the leftmost.
        made: the id that the merge of each rank makes.
    """

    def __init__(self, ranks: Mapping[Pair, int], made: Sequence[int]) -> None:
        self.ranks = ranks
        self.made = made

    def apply(self, ids: list[int]) -> list[int]:
        """The ids that remain when no merge is left; `ids` is used up."""
        if len(ids) > _LONG:
            return self._apply_long(ids)
        rank_of, made = self.ranks.get, self.made
        ranks = [rank_of(pair, _NEVER) for pair in pairwise(ids)]  # [i] is that of the pair (i, i + 1)
        while ranks and (rank := min(ranks)) != _NEVER:
            i = ranks.index(rank)  # the leftmost
            new = ids[i] = made[rank]
            del ids[i + 1], ranks[i]
            if i:
                ranks[i - 1] = rank_of((ids[i - 1], new), _NEVER)
            if i < len(ranks):
                ranks[i] = rank_of((new, ids[i + 1]), _NEVER)
        return ids

    def _apply_long(self, ids: list[int]) -> list[int]:
        n = len(ids)
        ranks = [self.ranks.get(pair, _NEVER) for pair in pairwise(ids)] + [_NEVER]
        before, after = list(range(-1, n - 1)), list(range(1, n + 1))  # a linked list, since merging takes tokens out
        heap = [rank * n + i for i, rank in enumerate(ranks) if rank != _NEVER]  # lowest rank first, then leftmost
        heapq.heapify(heap)
        while heap:
            rank, i = divmod(heapq.heappop(heap), n)
            if ranks[i] != rank:  # one of the two tokens has gone into another merge since
                continue
            gone = after[i]
            ids[i], ids[gone] = self.made[rank], -1
            ranks[i] = ranks[gone] = _NEVER
            after[i] = after[gone]
            if after[i] < n:
                before[after[i]] = i
            for left in (before[i], i):
                right = after[left] if left >= 0 else n
                if right < n:
                    ranks[left] = self.ranks.get((ids[left], ids[right]), _NEVER)
                    if ranks[left] != _NEVER:
                        heapq.heappush(heap, ranks[left] * n + left)
        return [token_id for token_id in ids if token_id >= 0]


class MergeTable:
    """The merges, arranged for encoding.

    Args:
        vocab: the id of each token.
        merges: the merges, the earliest first.

    Raises:
        ValueError: a merge given twice, or of or into a token that the vocabulary lacks.
    """

    def __init__(self, vocab: Mapping[bytes, int], merges: Sequence[tuple[bytes, bytes]]) -> None:
        self._byte_ids = {token[0]: token_id for token, token_id in vocab.items() if len(token) == 1}
        ranks: dict[Pair, int] = {}
        made: list[int] = []  # rank -> id of the token that the merge makes
        joins = bytearray(1 << 16)  # [256 x + y]: some merge joins "…x" with "y…"
        for rank, (left, right) in enumerate(merges):
            try:
                ranks[vocab[left], vocab[right]] = rank
                made.append(vocab[left + right])
            except KeyError as error:
                raise ValueError(f"merge {rank} joins {left!r} and {right!r}, but {error} is no token") from None
            if not left or not right:
                raise ValueError(f"merge {rank} joins an empty token")
            joins[left[-1] << 8 | right[0]] = True
        self._joins = np.frombuffer(joins, dtype=bool)
        if len(ranks) < len(merges):
            (left, right), _ = Counter(merges).most_common(1)[0]
            raise ValueError(f"the merge of {left!r} and {right!r} is given twice")
        self._merges = Merges(ranks, made)

    def cut(self, pieces: Sequence[bytes]) -> list[list[bytes]]:
        """Each piece (none is empty) as the parts that can be encoded apart."""
        text = b"".join(pieces)
        codes = np.frombuffer(text, dtype=np.uint8).astype(np.uint16)  # (n,)
        ends = np.cumsum([len(piece) for piece in pieces])
        cuts = ~self._joins[codes[:-1] << 8 | codes[1:]]  # (n - 1,): [i] is between bytes i and i + 1
        cuts[ends[:-1] - 1] = True
        bounds = np.concatenate(([0], np.flatnonzero(cuts) + 1, ends[-1:]))
        parts = [text[start:end] for start, end in pairwise(bounds.tolist())]
        piece_bounds = [0, *np.searchsorted(bounds, ends).tolist()]
        return [parts[first:last] for first, last in pairwise(piece_bounds)]

    def encode(self, part: bytes) -> list[int]:
        """The ids of one part; KeyError where the vocabulary lacks a byte."""
        return self._merges.apply([self._byte_ids[byte] for byte in part])
