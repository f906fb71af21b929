"""What a model is, the third step of a tokenizer: one piece of text -> ids of a vocabulary.

A new model is one file with a class that says how a piece is encoded and how `tokenizer.json` writes it, and one row of
`MODELS` in `models.py`.

Prerequisites: `files.py`. Next: `wordpiece.py`, `unigram.py`, `character_bpe.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any, Self

from .special import MAX_IDS

__all__ = ["Model", "byte_ids"]


class Model(ABC):
    """A vocabulary, and how a piece of text becomes ids of it.

    Args:
        vocab: the id of each token, as files write it.
        unk_token: what stands for a piece that the vocabulary lacks.

    Attributes:
        hidden: tokens that no text becomes, such as special ones.
        fuses: the id of which two that stand together become one, or None.

    Raises:
        ValueError: an id that is no id, or is given twice.
    """

    fuses: int | None = None

    def __init__(self, vocab: Mapping[str, int], unk_token: str | None = None) -> None:
        self.vocab = dict(vocab)
        self.unk_token = unk_token
        self.hidden: frozenset[str] = frozenset()
        tokens: dict[int, str] = {}
        for token, token_id in self.vocab.items():
            if not isinstance(token, str) or type(token_id) is not int or not 0 <= token_id < MAX_IDS:
                raise ValueError(f"the id of {token!r:.100} is {token_id!r:.100}, expected an integer from 0 to "
                                 f"{MAX_IDS - 1}")
            if token_id in tokens:
                raise ValueError(f"the id {token_id} stands for {tokens[token_id]!r:.100} and for {token!r:.100}")
            tokens[token_id] = token
        self.tokens = tokens

    @abstractmethod
    def encode(self, piece: str) -> list[int]:
        """The ids of a piece, which is not empty.

        Raises:
            ValueError: a piece that the vocabulary lacks, where nothing stands for it.
        """

    @abstractmethod
    def json(self) -> dict[str, Any]:
        """The model as `tokenizer.json` writes it."""

    @classmethod
    @abstractmethod
    def from_json(cls, model: Mapping[str, Any]) -> Self:
        """The model that `tokenizer.json` holds."""

    def cut(self, piece: str) -> list[str]:
        """A piece as parts that can be encoded apart; of ids that fuse, those of neighbouring parts still have to."""
        return [piece]

    def encode_in_order(self, parts: Sequence[str]) -> list[int] | None:
        """The ids of the parts of a piece, if one of them depends on those before it; None if each stands alone."""
        return None

    def without(self, names: Iterable[str]) -> Self:
        """The same model, for which no text spells one of these tokens; one may still stand for what is unknown."""
        model = copy(self)
        model.hidden = self.hidden | frozenset(names)
        model.arrange()
        return model

    def arrange(self) -> None:
        """Work out what depends on `hidden`."""

    @property
    def unk_id(self) -> int:
        """The id that stands for what the vocabulary lacks; ValueError if there is none."""
        if self.unk_token is None or self.unk_token not in self.vocab:
            raise ValueError(f"the vocabulary lacks the token {self.unk_token!r}, which stands for what it lacks")
        return self.vocab[self.unk_token]


def byte_ids(vocab: Mapping[str, int]) -> list[int | None]:
    """The id of each byte in a vocabulary that spells bytes as "<0x0A>"."""
    return [vocab.get(f"<0x{byte:02X}>") for byte in range(256)]
