"""WordPiece, as in BERT: of a word always the longest token that fits, from left to right.

What goes on inside of a word is spelled with a prefix: "playing" is "play", "##ing". A word of which some part fits no
token is unknown as a whole.

Prerequisites: `model.py`. Next: `unigram.py`. Paper: Wu et al. (2016), arXiv:1609.08144; Devlin et al. (2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from .files import member
from .model import Model

__all__ = ["WordLevel", "WordPiece"]


class WordPiece(Model):
    """The longest token first.

    Args:
        vocab: the id of each token.
        unk_token: what stands for a word that the vocabulary lacks.
        continuing_subword_prefix: how a token begins that goes on inside of a word.
        max_input_chars_per_word: a longer word is unknown.

    >>> model = WordPiece({"[UNK]": 0, "play": 1, "##ing": 2, "##s": 3})
    >>> model.encode("playing"), model.encode("played")
    ([1, 2], [0])
    """

    def __init__(self, vocab: Mapping[str, int], unk_token: str = "[UNK]", continuing_subword_prefix: str = "##",
                 max_input_chars_per_word: int = 100) -> None:
        super().__init__(vocab, unk_token)
        self.prefix = continuing_subword_prefix
        self.max_length = max_input_chars_per_word
        self.arrange()

    def arrange(self) -> None:
        """Tokens that begin a word, and tokens that go on in it, the latter without their prefix."""
        seen = {token: token_id for token, token_id in self.vocab.items() if token not in self.hidden}
        self._first = seen
        self._next = {token[len(self.prefix):]: token_id for token, token_id in seen.items()
                      if token.startswith(self.prefix)}
        self._longest = max(map(len, seen), default=0)

    def encode(self, piece: str) -> list[int]:
        if len(piece) > self.max_length:
            return [self.unk_id]
        ids: list[int] = []
        start, find, longest = 0, self._first, self._longest
        while start < len(piece):
            for end in range(min(len(piece), start + longest), start, -1):
                if (token_id := find.get(piece[start:end])) is not None:
                    break
            else:
                return [self.unk_id]
            ids.append(token_id)
            start, find = end, self._next
        return ids

    def json(self) -> dict[str, Any]:
        return {"type": "WordPiece", "unk_token": self.unk_token, "continuing_subword_prefix": self.prefix,
                "max_input_chars_per_word": self.max_length, "vocab": self.vocab}

    @classmethod
    def from_json(cls, model: Mapping[str, Any]) -> Self:
        return cls(member(model, "vocab", dict), member(model, "unk_token", str, "[UNK]"),
                   member(model, "continuing_subword_prefix", str, "##"),
                   member(model, "max_input_chars_per_word", int, 100))


class WordLevel(Model):
    """One token a word; all others are unknown.

    Args:
        vocab: the id of each word.
        unk_token: what stands for the others.

    >>> WordLevel({"<unk>": 0, "hello": 1}).encode("hello")
    [1]
    """

    def __init__(self, vocab: Mapping[str, int], unk_token: str = "<unk>") -> None:
        super().__init__(vocab, unk_token)

    def encode(self, piece: str) -> list[int]:
        token_id = None if piece in self.hidden else self.vocab.get(piece)
        return [self.unk_id if token_id is None else token_id]

    def json(self) -> dict[str, Any]:
        return {"type": "WordLevel", "vocab": self.vocab, "unk_token": self.unk_token}

    @classmethod
    def from_json(cls, model: Mapping[str, Any]) -> Self:
        return cls(member(model, "vocab", dict), member(model, "unk_token", str, "<unk>"))
