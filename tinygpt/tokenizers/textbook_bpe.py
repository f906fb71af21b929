"""Byte-pair encoding, whole: training, encoding, decoding.

Begin with one token for each byte. Count how often each two tokens stand side by side, make the most frequent pair a
token of its own, and repeat. The list of merges *is* the tokenizer: to encode a new text, apply them, the earliest
first. Every text is bytes, so none is out of vocabulary, and frequent words take few tokens.

Prerequisites: characters.py. Next: data/windows.py. Upstairs: bpe.py, the same merges and ids, fast. Papers: Sennrich,
Haddow and Birch (2016), arXiv:1508.07909; on bytes, Radford et al. (2019), the GPT-2 paper.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Self

__all__ = ["BYTE_ORDER", "SPLIT", "Pair", "TextbookBPE", "count_pairs", "merge_pair"]

Pair = tuple[int, int]
# No token spans two pieces of this split; without it, "dog.", "dog!" and "dog?" would each become a token. A piece is a
# word or some punctuation, with the space before it; of several spaces, the last is left to the next word.
SPLIT = r" ?\w+| ?[^\w\s]+|\s+(?!\S)|\s+"

# BYTE_ORDER[id] is the byte of each id below 256. As in GPT-2, the printable ones come first, so "!" is 0.
BYTE_ORDER = sorted(range(256), key=lambda byte: byte == ord(" ") or not chr(byte).isprintable())


def count_pairs(words: Mapping[tuple[int, ...], int]) -> Counter[Pair]:
    """How often each two tokens stand side by side in `words`, each of which occurs so many times.

    >>> count_pairs({(1, 1, 1, 2): 3})
    Counter({(1, 1): 6, (1, 2): 3})
    """
    counts: Counter[Pair] = Counter()
    for ids, times in words.items():
        for pair in pairwise(ids):
            counts[pair] += times
    return counts


def merge_pair(ids: Sequence[int], pair: Pair, new_id: int) -> tuple[int, ...]:
    """Replace each occurrence of `pair`, from left to right.

    >>> merge_pair([1, 1, 1, 2], (1, 1), 9)
    (9, 1, 2)
    """
    merged: list[int] = []
    for token in ids:
        if merged and (merged[-1], token) == pair:
            merged[-1] = new_id
        else:
            merged.append(token)
    return tuple(merged)


class TextbookBPE:
    """A byte-level BPE tokenizer; of its merges, pairs of ids, number r makes the id 256 + r.

    `pattern` cuts a text before anything merges: a regular expression without capturing groups.

    >>> tokenizer = TextbookBPE.train("low lower lowest", vocab_size=260)
    >>> [tokenizer.tokens[i] for i in tokenizer.encode("slowest")]
    [b's', b'low', b'e', b's', b't']
    """

    def __init__(self, merges: Iterable[Pair] = (), pattern: str = SPLIT) -> None:
        self.merges, self.pattern = list(merges), re.compile(f"({pattern})")
        self.new_id = {pair: 256 + rank for rank, pair in enumerate(self.merges)}
        self.tokens = [bytes([byte]) for byte in BYTE_ORDER]  # the bytes of each id
        for left, right in self.merges:
            self.tokens.append(self.tokens[left] + self.tokens[right])

    def __len__(self) -> int:
        """The size of the vocabulary."""
        return len(self.tokens)

    @classmethod
    def train(cls, text: str, vocab_size: int, pattern: str = SPLIT) -> Self:
        """Learn up to `vocab_size` tokens, the 256 bytes included; fewer where no pair is left to merge."""
        words = Counter(cls(pattern=pattern).pieces(text))  # a text repeats its words, so each is looked at once
        merges: list[Pair] = []
        while len(merges) < vocab_size - 256 and (counts := count_pairs(words)):
            best = min(counts, key=lambda pair: (-counts[pair], pair))  # of equally frequent pairs, the lowest ids
            words = Counter({merge_pair(ids, best, 256 + len(merges)): times for ids, times in words.items()})
            merges.append(best)
        return cls(merges, pattern)

    def pieces(self, text: str) -> list[tuple[int, ...]]:
        """The pieces of a text, one id for each byte: what the pattern matches, and what lies between."""
        return [tuple(map(BYTE_ORDER.index, piece.encode("utf-8"))) for piece in self.pattern.split(text) if piece]

    def encode(self, text: str) -> list[int]:
        """The ids of a text: in each piece always the earliest merge that applies, at its leftmost place."""
        found: list[int] = []
        for ids in map(list, self.pieces(text)):
            while places := [(self.new_id[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in self.new_id]:
                new_id, i = min(places)
                ids[i:i + 2] = [new_id]
            found += ids
        return found

    def decode(self, ids: Iterable[int]) -> str:
        """The text that the ids stand for; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self.tokens[i] for i in ids).decode("utf-8", errors="replace")
