"""Unigram: of all ways to cut a piece into tokens, the most probable.

Each token has a score, the logarithm of its probability, and a way to cut has the sum of its tokens' scores. The best
way to each place in the text goes through the best way to some place before it, so one pass from left to right finds
it (Viterbi's algorithm). A character that no token covers is unknown, at a score below that of every token.

Prerequisites: `model.py`. Next: `character_bpe.py`. Paper: Kudo (2018), arXiv:1804.10959.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

from .files import member
from .model import Model, byte_ids

__all__ = ["Unigram"]

_UNKNOWN = 10.0  # how far below the lowest score an unknown character is
_LONGEST = 512  # characters of a token


class Unigram(Model):
    """The most probable tokens.

    Args:
        pieces: each token and its score; its id is its place.
        unk_id: the id of an unknown character; None if there is none.
        byte_fallback: an unknown character is written as bytes, if the vocabulary has them ("<0x0A>").
        lowest: the score from which unknown characters are reckoned; by default the lowest of all.
        ids: the id of each token, where it is not its place.

    >>> model = Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.5), ("ab", -2.0)], unk_id=0)
    >>> model.encode("abca")
    [3, 0, 1]
    """

    def __init__(self, pieces: Sequence[tuple[str, float]], unk_id: int | None = None, byte_fallback: bool = False,
                 lowest: float | None = None) -> None:
        vocab: dict[str, int] = {}
        for i, (piece, score) in enumerate(pieces):
            if not isinstance(piece, str) or not isinstance(score, (int, float)) or not math.isfinite(score):
                raise ValueError(f"piece {i} is {piece!r:.100} with the score {score!r:.100}, expected a text and a "
                                 "finite number")
            if len(piece) > _LONGEST:
                raise ValueError(f"piece {i} has {len(piece):,} characters; at most {_LONGEST} are read")
            vocab.setdefault(piece, i)
        if len(vocab) < len(pieces):
            raise ValueError(f"{len(pieces) - len(vocab)} pieces of the vocabulary are given twice")
        if unk_id is not None and not 0 <= unk_id < len(pieces):
            raise ValueError(f"unk_id is {unk_id}, but the vocabulary has {len(pieces)} pieces")
        super().__init__(vocab, None if unk_id is None else pieces[unk_id][0])
        self.scores = [float(score) for _, score in pieces]
        self.byte_fallback = byte_fallback
        self.lowest = min(self.scores, default=0.0) if lowest is None else lowest
        self.arrange()

    def arrange(self) -> None:
        """The scores of what text can become, how long it is by its first character, and where a text can be cut."""
        self._found = {piece: (self.scores[i], i) for piece, i in self.vocab.items()
                       if piece and piece not in self.hidden}
        lengths: dict[str, set[int]] = {}
        for piece in self._found:
            lengths.setdefault(piece[0], set()).add(len(piece))
        self._lengths = {first: sorted(found) for first, found in lengths.items()}
        self._bytes = byte_ids(self.vocab) if self.byte_fallback else [None] * 256
        self.fuses = None if self.unk_token is None else self.vocab[self.unk_token]
        self._joins = {piece[i:i + 2] for piece in self._found for i in range(len(piece) - 1)}

    def cut(self, piece: str) -> list[str]:
        """Between two characters that no token has side by side, every way to cut the piece has a cut."""
        joins = self._joins
        places = [i for i, pair in enumerate(map(str.__add__, piece, piece[1:]), 1) if pair not in joins]
        return [piece[start:end] for start, end in zip([0, *places], [*places, len(piece)])]

    def encode(self, piece: str) -> list[int]:
        n, found = len(piece), self._found
        best: list[float] = [0.0] + [-math.inf] * n  # the score of the best way to each place
        last: list[tuple[int, int]] = [(0, -1)] * (n + 1)  # where its last token begins, and its id; -1 is unknown
        for start, character in enumerate(piece):
            here = best[start]
            covered = False
            for length in self._lengths.get(character, ()):
                end = start + length
                if end > n:
                    break
                if (entry := found.get(piece[start:end])) is not None:
                    covered |= length == 1
                    if here + entry[0] > best[end]:
                        best[end], last[end] = here + entry[0], (start, entry[1])
            if not covered and here + self.lowest - _UNKNOWN > best[start + 1]:
                best[start + 1], last[start + 1] = here + self.lowest - _UNKNOWN, (start, -1)
        ids: list[int] = []
        end = n
        while end:
            start, token_id = last[end]
            if token_id < 0:
                while start and last[start][1] < 0:  # unknown characters that stand together are one
                    start = last[start][0]
                ids += reversed(self._unknown(piece[start:end]))
            else:
                ids.append(token_id)
            end = start
        return ids[::-1]

    def _unknown(self, text: str) -> list[int]:
        ids = [self._bytes[byte] for byte in text.encode("utf-8")]
        return [self.unk_id] if None in ids else ids  # type: ignore[return-value]

    def json(self) -> dict[str, Any]:
        return {"type": "Unigram", "unk_id": None if self.unk_token is None else self.vocab[self.unk_token],
                "vocab": [[piece, self.scores[i]] for piece, i in self.vocab.items()],
                "byte_fallback": self.byte_fallback}

    @classmethod
    def from_json(cls, model: Mapping[str, Any]) -> Self:
        pieces = member(model, "vocab", list)
        if not all(isinstance(entry, list) and len(entry) == 2 for entry in pieces):
            raise ValueError("the vocabulary of Unigram is a list of [piece, score], got something else in it")
        return cls([(piece, score) for piece, score in pieces],
                   None if model.get("unk_id") is None else member(model, "unk_id", int),
                   member(model, "byte_fallback", bool, False))
