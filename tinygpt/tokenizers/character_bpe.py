"""Byte-pair encoding over characters, as in Llama 2 and Gemma (with bytes for what is left) and in the first GPT.

`bpe.py` merges bytes, of which none is missing. Here a piece begins as characters, and one that the vocabulary lacks is
written as bytes ("<0x0A>"), or is unknown, or is dropped, as the file says. A word may be marked where it ends ("</w>")
or where it goes on ("##").

Prerequisites: `bpe.py`, `model.py`. Next: `models.py`.
Source: github.com/huggingface/tokenizers, tokenizers/src/models/bpe/model.rs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from .bpe import Merges
from .files import member
from .model import Model, byte_ids

__all__ = ["BPE", "merge_of", "merges_by_score"]


class BPE(Model):
    """The earliest merge first.

    Args:
        vocab: the id of each token.
        merges: pairs of tokens, the earliest first.
        unk_token: what stands for a character that the vocabulary lacks; without one it is dropped.
        byte_fallback: such a character is written as bytes, if the vocabulary has them ("<0x0A>").
        fuse_unk: unknown characters that stand together are one token.
        ignore_merges: a piece that is a token as a whole is not built by merges.
        end_of_word_suffix: what is put behind the last character of a piece.
        continuing_subword_prefix: what is put before all but the first.
        ranks: the rank of each merge, where several have the same: of these the leftmost in a text goes first.
        whole: tokens that stand for themselves wherever a text has them, the longest first, and merge with nothing.

    Raises:
        ValueError: a merge of, or into, a token that the vocabulary lacks.

    >>> BPE({"a": 0, "b": 1, "ab": 2, "<0x63>": 3}, [("a", "b")], byte_fallback=True).encode("abca")
    [2, 3, 0]
    """

    def __init__(self, vocab: Mapping[str, int], merges: Sequence[tuple[str, str]], unk_token: str | None = None, *,
                 byte_fallback: bool = False, fuse_unk: bool = False, ignore_merges: bool = False,
                 end_of_word_suffix: str = "", continuing_subword_prefix: str = "",
                 ranks: Sequence[int] | None = None, whole: Iterable[str] = ()) -> None:
        super().__init__(vocab, unk_token)
        self.merges = list(merges)
        self.ranks = None if ranks is None else list(ranks)
        self.whole = frozenset(whole)
        self.byte_fallback, self.fuse_unk, self.ignore_merges = byte_fallback, fuse_unk, ignore_merges
        self.suffix, self.prefix = end_of_word_suffix, continuing_subword_prefix
        self.arrange()

    def arrange(self) -> None:
        """The merges by ids, without those that would make a hidden token, and where a piece can be cut."""
        ranks: dict[tuple[int, int], int] = {}
        made: list[int] = []
        self._joins: set[str] = set()  # the last character of one token and the first of another that some merge joins
        for place, (left, right) in enumerate(self.merges):
            new = left + right[len(self.prefix):]
            if lacking := [token for token in (left, right, new) if token not in self.vocab]:
                raise ValueError(f"the merge of {left!r:.100} and {right!r:.100} needs the token {lacking[0]!r:.100}, "
                                 "which is not there")
            rank = place if self.ranks is None else self.ranks[place]
            made += [0] * (rank + 1 - len(made))
            made[rank] = self.vocab[new]
            if self.hidden.isdisjoint((left, right, new)):
                ranks[self.vocab[left], self.vocab[right]] = rank
                self._joins.add(left[-1:] + right[:1])
        self._merges = Merges(ranks, made)
        self._bytes = byte_ids(self.vocab) if self.byte_fallback else [None] * 256
        self._known = {token: token_id for token, token_id in self.vocab.items() if token not in self.hidden}
        longest_first = sorted(self.whole - self.hidden, key=len, reverse=True)
        self._find_whole = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if longest_first else None
        self._uncut = self.suffix or self.prefix or self.ignore_merges  # a piece that is cut would be another piece
        self.fuses = self.vocab.get(self.unk_token or "") if self.fuse_unk else None

    def cut(self, piece: str) -> list[str]:
        """Between two characters that no merge joins, no token goes on."""
        if self._uncut:
            return [piece]
        if self._find_whole is not None:
            return [part for i, between in enumerate(self._find_whole.split(piece)) if between
                    for part in ([between] if i % 2 else self._cut_between(between))]
        return self._cut_between(piece)

    def _cut_between(self, piece: str) -> list[str]:
        if self.unk_token is None:  # a character that is dropped leaves its neighbours side by side
            piece = "".join([character for character in piece if self._is_written(character)])
        joins = self._joins
        places = [i for i, pair in enumerate(map(str.__add__, piece, piece[1:]), 1) if pair not in joins]
        return [piece[start:end] for start, end in zip([0, *places], [*places, len(piece)])]

    def _is_written(self, character: str) -> bool:
        return character in self._known or None not in [self._bytes[byte] for byte in character.encode("utf-8")]

    def encode(self, piece: str) -> list[int]:
        if self.ignore_merges and (token_id := self._known.get(piece)) is not None:
            return [token_id]
        if self._find_whole is not None:
            parts = self.cut(piece)
            if len(parts) > 1:
                ids = [token_id for part in parts for token_id in self.encode(part)]
                return [new for before, new in zip([None, *ids], ids) if not before == new == self.fuses]
            if piece in self.whole:
                return [self.vocab[piece]]
        symbols = list(piece)
        if not symbols:
            return []
        if self.prefix:
            symbols[1:] = [self.prefix + symbol for symbol in symbols[1:]]
        symbols[-1] += self.suffix
        try:
            return self._merges.apply([self._known[symbol] for symbol in symbols])
        except KeyError:
            return self._merges.apply(self._with_unknown(symbols))

    def _with_unknown(self, symbols: Sequence[str]) -> list[int]:
        """The ids of characters, of which the vocabulary lacks some."""
        ids: list[int] = []
        waiting = False  # an unknown token, which is not written until it is clear that no other fuses with it
        for symbol in symbols:
            token_id = self._known.get(symbol)
            in_bytes = [] if token_id is not None else [self._bytes[byte] for byte in symbol.encode("utf-8")]
            if in_bytes and None not in in_bytes:
                ids += in_bytes  # type: ignore[arg-type]
            else:
                if waiting and (token_id is not None or not self.fuse_unk):
                    ids.append(self.unk_id)
                waiting = token_id is None and self.unk_token is not None
                ids += [] if token_id is None else [token_id]
        return [*ids, self.unk_id] if waiting else ids

    def json(self) -> dict[str, Any]:
        return {"type": "BPE", "dropout": None, "unk_token": self.unk_token,
                "continuing_subword_prefix": self.prefix or None, "end_of_word_suffix": self.suffix or None,
                "fuse_unk": self.fuse_unk, "byte_fallback": self.byte_fallback, "ignore_merges": self.ignore_merges,
                "vocab": self.vocab, "merges": [list(pair) for pair in self.merges]}

    @classmethod
    def from_json(cls, model: Mapping[str, Any]) -> Self:
        if model.get("dropout"):
            raise ValueError(f"the model has dropout = {model['dropout']!r:.100}, with which the same text gets other "
                             "ids each time; set it to null")
        return cls(member(model, "vocab", dict), [merge_of(entry) for entry in member(model, "merges", list)],
                   None if model.get("unk_token") is None else member(model, "unk_token", str),
                   **{name: member(model, name, bool, False) for name in ("byte_fallback", "fuse_unk",
                                                                          "ignore_merges")},
                   end_of_word_suffix=member(model, "end_of_word_suffix", str, ""),
                   continuing_subword_prefix=member(model, "continuing_subword_prefix", str, ""))


def merge_of(entry: Any) -> tuple[str, str]:
    """A merge, which files spell "a b" or ["a", "b"]."""
    pair = entry.split(" ") if isinstance(entry, str) else entry
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        raise ValueError(f"a merge is two tokens, got {entry!r:.100}")
    return pair[0], pair[1]


def merges_by_score(scores: Mapping[str, float]) -> tuple[list[tuple[str, str]], list[int]]:
    """The merges, and their ranks, of a vocabulary in which tokens have scores instead, as SentencePiece keeps it.

    Any two tokens that make a third may merge, the one of the highest score first.

    >>> merges_by_score({"a": 0.0, "b": 0.0, "aa": -2.0, "ab": -1.0, "aab": -3.0})
    ([('a', 'b'), ('a', 'a'), ('a', 'ab'), ('aa', 'b')], [0, 1, 2, 2])
    """
    merges: list[tuple[str, str]] = []
    ranks: list[int] = []
    for rank, token in enumerate(sorted(scores, key=lambda token: -scores[token])):
        pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
        pairs = [pair for pair in pairs if pair[0] in scores and pair[1] in scores]
        merges += pairs
        ranks += [rank] * len(pairs)
    used = {rank: i for i, rank in enumerate(dict.fromkeys(ranks))}
    return merges, [used[rank] for rank in ranks]
