"""Unigram: of all ways to cut a piece into tokens, the most probable.

Each token has a score, the logarithm of its probability, and a way to cut has the sum of its tokens' scores. The best
way to each place in the text goes through the best way to some place before it, so one pass from left to right finds
it (Viterbi's algorithm). A character that no token covers is unknown, at a score below that of every token.

Prerequisites: `model.py`. Next: `character_bpe.py`. Paper: Kudo (2018), arXiv:1804.10959.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from .files import member
from .model import Model, byte_ids

__all__ = ["Unigram"]

_UNKNOWN = 10.0  # how far below the lowest score an unknown character is
_LONGEST = 512  # characters of a token
_MAX_CLOSE = 1 << 17


class Unigram(Model):
    """The most probable tokens.

    Args:
        pieces: each token and its score; its id is its place.
        unk_id: the id of an unknown character; None if there is none.
        byte_fallback: an unknown character is written as bytes, if the vocabulary has them ("<0x0A>").
        lowest: the score from which unknown characters are reckoned; by default the lowest of all.
        ids: the id of each token, where it is not its place; a piece without one is unknown.
        four_bytes: sums of scores are rounded to numbers of four bytes, as SentencePiece has them.

    >>> model = Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.5), ("ab", -2.0)], unk_id=0)
    >>> model.encode("abca")
    [3, 0, 1]
    """

    def __init__(self, pieces: Sequence[tuple[str, float]], unk_id: int | None = None, byte_fallback: bool = False,
                 lowest: float | None = None, ids: Mapping[str, int] | None = None, four_bytes: bool = False) -> None:
        self.scores: dict[str, float] = {}
        for i, (piece, score) in enumerate(pieces):
            if not isinstance(piece, str) or not isinstance(score, (int, float)) or not math.isfinite(score):
                raise ValueError(f"piece {i} is {piece!r:.100} with the score {score!r:.100}, expected a text and a "
                                 "finite number")
            if len(piece) > _LONGEST:
                raise ValueError(f"piece {i} has {len(piece):,} characters; at most {_LONGEST} are read")
            if piece in self.scores:
                raise ValueError(f"the piece {piece!r:.100} is given twice")
            self.scores[piece] = float(score)
        vocab = dict(ids) if ids is not None else {piece: i for i, piece in enumerate(self.scores)}
        super().__init__(vocab)
        if unk_id is not None and unk_id not in self.tokens:
            raise ValueError(f"unk_id is {unk_id}, which is no id of the vocabulary of {len(vocab)} tokens")
        self.unk_token = None if unk_id is None else self.tokens[unk_id]
        self.byte_fallback, self.four_bytes = byte_fallback, four_bytes
        self.lowest = min(self.scores.values(), default=0.0) if lowest is None else lowest
        self.arrange()

    def arrange(self) -> None:
        """The scores of what text can become, how long it is by its first character, and where a text can be cut."""
        self.fuses = None if self.unk_token is None else self.vocab[self.unk_token]
        self._found = {piece: (score, self.vocab.get(piece, self.fuses)) for piece, score in self.scores.items()
                       if piece and piece not in self.hidden}
        lengths: dict[str, set[int]] = {}
        for piece in self._found:
            lengths.setdefault(piece[0], set()).add(len(piece))
        self._lengths = {first: sorted(found) for first, found in lengths.items()}
        self._bytes = byte_ids(self.vocab) if self.byte_fallback else [None] * 256
        self._close: set[str] = set()  # pieces with two ways of which each may be the better, by rounding
        self._joins = {piece[i:i + 2] for piece in self._found for i in range(len(piece) - 1)}

    def cut(self, piece: str) -> list[str]:
        """Between two characters that no token has side by side, every way to cut the piece has a cut."""
        joins = self._joins
        places = [i for i, pair in enumerate(map(str.__add__, piece, piece[1:]), 1) if pair not in joins]
        return [piece[start:end] for start, end in zip([0, *places], [*places, len(piece)])]

    def encode(self, piece: str) -> list[int]:
        ids, _, is_close = self._best(piece, 0.0, float)
        if is_close and len(self._close) < _MAX_CLOSE:
            self._close.add(piece)
        return ids

    def encode_in_order(self, parts: Sequence[str]) -> list[int] | None:
        """Where two ways are as probable, rounding decides, and it depends on the sum of all scores before them."""
        if len(parts) < 2 or self._close.isdisjoint(parts):
            return None
        rounded = _four_bytes if self.four_bytes else float
        ids: list[int] = []
        total = 0.0
        for part in parts:
            found, total, _ = self._best(part, total, rounded)
            ids += found
        return ids

    def _best(self, piece: str, total: float, rounded: Callable[[float], float]) -> tuple[list[int], float, bool]:
        """The ids of the best way to cut a piece, its score added to `total`, and whether another one comes close."""
        n, found, margin = len(piece), self._found, 1e-2 if self.four_bytes else 1e-9
        unknown = rounded(self.lowest - _UNKNOWN)
        best: list[float] = [total] + [-math.inf] * n  # the score of the best way to each place
        last: list[tuple[int, int | None]] = [(0, -1)] * (n + 1)  # its last token: where it begins, its id or -1
        is_close = False
        for start, character in enumerate(piece):
            here = best[start]
            covered = False
            for length in self._lengths.get(character, ()):
                end = start + length
                if end > n:
                    break
                if (entry := found.get(piece[start:end])) is not None:
                    covered |= length == 1
                    score = rounded(here + entry[0])
                    is_close |= -margin < score - best[end] < margin
                    if score > best[end]:
                        best[end], last[end] = score, (start, entry[1])
            if not covered:
                score = rounded(here + unknown)
                is_close |= -margin < score - best[start + 1] < margin
                if score > best[start + 1]:
                    best[start + 1], last[start + 1] = score, (start, -1)
        ids: list[int] = []
        end = n
        while end:
            start, token_id = last[end]
            if token_id == -1:
                while start and last[start][1] == -1:  # unknown characters that stand together are one
                    start = last[start][0]
                ids += reversed(self._unknown(piece[start:end]))
            else:
                ids.append(self.unk_id if token_id is None else token_id)
            end = start
        return ids[::-1], best[n], is_close

    def _unknown(self, text: str) -> list[int]:
        ids = [self._bytes[byte] for byte in text.encode("utf-8")]
        return [self.unk_id] if None in ids else ids  # type: ignore[return-value]

    def json(self) -> dict[str, Any]:
        if sorted(self.tokens) != list(range(len(self.tokens))):
            raise ValueError("tokenizer.json numbers the pieces of Unigram from 0 on, and these have other ids")
        return {"type": "Unigram", "unk_id": None if self.unk_token is None else self.vocab[self.unk_token],
                "vocab": [[self.tokens[i], self.scores.get(self.tokens[i], 0.0)] for i in range(len(self.tokens))],
                "byte_fallback": self.byte_fallback}

    @classmethod
    def from_json(cls, model: Mapping[str, Any]) -> Self:
        pieces = member(model, "vocab", list)
        if not all(isinstance(entry, list) and len(entry) == 2 for entry in pieces):
            raise ValueError("the vocabulary of Unigram is a list of [piece, score], got something else in it")
        return cls([(piece, score) for piece, score in pieces],
                   None if model.get("unk_id") is None else member(model, "unk_id", int),
                   member(model, "byte_fallback", bool, False))


def _four_bytes(number: float) -> float:
    """A number as four bytes hold it."""
    rounded: float = struct.unpack("f", struct.pack("f", number))[0]
    return rounded
