"""The simplest tokenizer: one id per character that the training text contains.

Read before: `base.py`. Read next: `bpe.py`, which has no characters that it lacks and far shorter sequences.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from .base import Tokenizer
from .special import SpecialTokens

__all__ = ["CharTokenizer"]


class CharTokenizer(Tokenizer):
    """One id per character, in code point order; special tokens come after.

    >>> tok = CharTokenizer.train("banana")
    >>> tok.encode("nab"), tok.decode([2, 0, 1])
    ([2, 0, 1], 'nab')
    """

    def __init__(self, characters: Iterable[str], special_tokens: Iterable[str] = ()) -> None:
        self.characters = list(characters)
        self._ids = {character: i for i, character in enumerate(self.characters)}
        self.special = SpecialTokens({name: len(self.characters) + i for i, name in enumerate(special_tokens)})

    @classmethod
    def train(cls, texts: str | Iterable[str], special_tokens: Iterable[str] = ()) -> CharTokenizer:
        """Collect the characters of a text, or of several."""
        seen: set[str] = set()
        for text in [texts] if isinstance(texts, str) else texts:
            seen.update(text)
        if not seen:
            raise ValueError("CharTokenizer.train needs text, got none; pass a str or an iterable of str")
        return cls(sorted(seen), special_tokens)

    @property
    def n_vocab(self) -> int:
        return len(self.characters) + len(self.special.ids)

    def token_bytes(self, token_id: int) -> bytes:
        if 0 <= token_id < len(self.characters):
            return self.characters[token_id].encode("utf-8")
        if token_id in self.special.names:
            return self.special.names[token_id].encode("utf-8")
        raise IndexError(f"token id {token_id} is outside the vocabulary of {self.n_vocab}")

    def _encode_plain(self, text: str) -> list[int]:
        try:
            return [self._ids[character] for character in text]
        except KeyError:
            lacking = sorted(set(text) - self._ids.keys())
            raise ValueError(f"the character tokenizer lacks {lacking}; it knows the {len(self.characters)} characters "
                             "of its training text only") from None

    def save(self, folder: str | Path) -> None:
        os.makedirs(folder, exist_ok=True)
        with open(Path(folder) / "tokenizer.json", "w", encoding="utf-8") as file:
            json.dump({"model": {"type": "BPE", "vocab": self._ids, "merges": []},
                       "added_tokens": [{"id": i, "content": name} for name, i in self.special.ids.items()]}, file)

    @classmethod
    def load(cls, folder: str | Path) -> CharTokenizer:
        with open(Path(folder) / "tokenizer.json", encoding="utf-8") as file:
            saved = json.load(file)
        return cls(saved["model"]["vocab"], [token["content"] for token in saved["added_tokens"]])
