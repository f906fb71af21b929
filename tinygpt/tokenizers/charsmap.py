"""SentencePiece's normalisation table: which characters, or runs of them, become which text.

The table ("precompiled charsmap") is a double-array trie over UTF-8, and behind it the texts that its keys become, each
ended by a zero byte. It comes from a file of anyone's, so it is read once, with every index checked, into a dictionary.

Two programs read the same table, and not alike. SentencePiece replaces the longest key at each place. Hugging Face's
`Precompiled` takes what a reader sees as one character (a grapheme) of fewer than six bytes, and puts what its
*shortest* key becomes in place of all of it; of longer ones it replaces each code point.

Prerequisites: nothing. Next: `normalizers.py`.
Source: normalizer.cc of github.com/google/sentencepiece; github.com/huggingface/spm_precompiled; Yata, darts-clone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import regex

__all__ = ["CharsMap", "read_charsmap"]

_MAX_UNITS = 1 << 22  # the largest public table has 90 thousand
_MAX_KEY = 256  # bytes
_MAX_NODES = 1 << 20  # of the trie, each counted as often as a key goes through it; the largest public one has 400,000


@lru_cache(4)
def read_charsmap(data: bytes) -> CharsMap:
    """The table that `data` holds; made once, since it takes a while."""
    return CharsMap(data)


class CharsMap:
    """A table, applied in the way of one program or the other.

    Args:
        data: four bytes that give the length of the trie, the trie, and the texts.

    Raises:
        ValueError: a length that lies, or a trie without end.
    """

    def __init__(self, data: bytes) -> None:
        size = int.from_bytes(data[:4], "little")
        if len(data) < 8 or size < 4 or size % 4 or size > len(data) - 4 or size > 4 * _MAX_UNITS:
            raise ValueError(f"the normalisation table says that its trie has {size:,} bytes, but it has "
                             f"{len(data):,} in all")
        texts = data[4 + size:]
        self.keys: dict[str, str] = {}
        for key, place in _keys_of(np.frombuffer(data, "<u4", size // 4, offset=4).astype(np.int64)):
            if place >= len(texts):
                raise ValueError(f"the normalisation table points at byte {place:,} of {len(texts):,}")
            end = texts.find(b"\0", place)
            try:
                self.keys[key.decode("utf-8")] = texts[place:end if end >= 0 else len(texts)].decode("utf-8")
            except UnicodeDecodeError:
                continue  # a key that no text can hold
        self._singles = {ord(key): text for key, text in self.keys.items() if len(key) == 1}
        self._longest: dict[str, int] = {}
        for written in self.keys:
            self._longest[written[0]] = max(len(written), self._longest.get(written[0], 0))
        self._behind = {character for key in self.keys for character in key[1:]}

    def by_longest(self, text: str) -> str:
        """SentencePiece's way: the longest key at each place."""
        if self._behind.isdisjoint(text):
            return text.translate(self._singles)
        parts, at, keys = [], 0, self.keys
        while at < len(text):
            for length in range(self._longest.get(text[at], 0), 0, -1):
                if (found := keys.get(text[at:at + length])) is not None:
                    parts.append(found)
                    at += length
                    break
            else:
                parts.append(text[at])
                at += 1
        return "".join(parts)

    def by_grapheme(self, text: str) -> str:
        """Hugging Face's way: see above."""
        if text.isascii() and "\r\n" not in text:
            return text.translate(self._singles)
        return "".join([self._of_grapheme(grapheme) for grapheme in regex.findall(r"\X", text)])

    def _of_grapheme(self, grapheme: str) -> str:
        if len(grapheme.encode("utf-8")) < 6:
            for length in range(1, len(grapheme) + 1):
                if (found := self.keys.get(grapheme[:length])) is not None:
                    return found
        return grapheme.translate(self._singles)


def _keys_of(units: np.ndarray) -> list[tuple[bytes, int]]:
    """The keys of a double-array trie and their values, level by level.

    A unit's child by byte b is at its own index ^ its offset ^ b, if the unit there has the label b; a unit with a leaf
    has its value at its own index ^ its offset. Branches that are alike are stored once, so a small file can describe
    keys without number, and a circle is one without end: both are stopped by their count.
    """
    index = np.arange(len(units), dtype=np.int64)
    labels = units & 0x800000FF
    index = index[(labels > 0) & (labels < 256)]  # the units that can be a child; of which base, their label says
    index = index[np.argsort(index ^ labels[index], kind="stable")]
    parents = index ^ labels[index]
    found: list[tuple[bytes, int]] = []
    bases, names = _offsets(units[:1]), [b""]
    n_nodes = 0
    while len(bases):
        first, last = np.searchsorted(parents, bases), np.searchsorted(parents, bases, "right")
        counts = last - first
        n_nodes += int(counts.sum())
        if n_nodes > _MAX_NODES or len(names[0]) > _MAX_KEY:
            raise ValueError(f"the normalisation table has more than {_MAX_NODES:,} branches, or one of more than "
                             f"{_MAX_KEY} bytes: there is a circle in it")
        of = np.repeat(np.arange(len(bases)), counts)  # which of `bases` each child belongs to
        nodes = index[np.arange(len(of)) - (np.cumsum(counts) - counts)[of] + first[of]]
        names = [names[i] + bytes([label]) for i, label in zip(of.tolist(), labels[nodes].tolist())]
        bases = nodes ^ _offsets(units[nodes])
        for i in np.flatnonzero(units[nodes] >> 8 & 1).tolist():
            if bases[i] >= len(units):
                raise ValueError("the trie of the normalisation table points outside of itself")
            found.append((names[i], int(units[bases[i]]) & 0x7FFFFFFF))
    return found


def _offsets(units: np.ndarray) -> np.ndarray:
    return (units >> 10) << ((units & 0x200) >> 6)
