"""The interface of every tokenizer: text in, token ids out, and back without loss.

A language model sees integers. A tokenizer is the bijection between text and those integers: it cuts a text into
pieces of a fixed vocabulary and numbers them. This file says what every tokenizer can do; what differs between them is
`_encode_plain` (how ordinary text becomes ids), `token_bytes` (what an id stands for) and the file they are saved to.

Special tokens ("<|endoftext|>") are ids that no ordinary text can produce: they mark where documents and chat turns
begin and end. Text that only *looks* like one stays plain text unless the caller names it in `allowed_special`;
otherwise a user's prompt could forge the end of a turn.

Read next: `char.py`, the simplest tokenizer; then `bpe.py`.
"""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from .special import SpecialTokens

__all__ = ["Tokenizer", "AllowedSpecial", "smallest_id_type"]

AllowedSpecial = Iterable[str] | Literal["all"]


def smallest_id_type(n_vocab: int) -> np.dtype:
    """The smallest unsigned integer type that holds every id below `n_vocab`: uint8, uint16 or uint32."""
    return np.min_scalar_type(max(n_vocab - 1, 0))


class Tokenizer(ABC):
    """What every tokenizer has in common.

    Attributes:
        special: the special tokens, their ids, and the roles (eos, bos, pad, …) they play.
        prefix_ids, suffix_ids: what `encode` puts before and after a text (empty for GPT-2; `<s>`, `</s>` for RoBERTa).
    """

    special: SpecialTokens
    prefix_ids: tuple[int, ...] = ()
    suffix_ids: tuple[int, ...] = ()

    # What a tokenizer must define.

    @property
    @abstractmethod
    def n_vocab(self) -> int:
        """The number of ids: every id is below it."""

    @abstractmethod
    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that one id stands for; a special token's are its name in UTF-8."""

    @abstractmethod
    def _encode_plain(self, text: str) -> list[int]:
        """Ids of a text without any special token."""

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which Hugging Face's AutoTokenizer opens too."""

    @classmethod
    @abstractmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """Read back what `save` wrote."""

    # What follows from it.

    def encode(self, text: str, add_special_tokens: bool = True, allowed_special: AllowedSpecial = ()) -> list[int]:
        """Token ids of `text`.

        Args:
            text: any string without lone surrogates.
            add_special_tokens: put `prefix_ids` before and `suffix_ids` after (nothing for GPT-2).
            allowed_special: names of the special tokens that `text` may contain, or "all"; every other text that looks
                like one is encoded as the plain text that it is.

        Raises:
            ValueError: a lone surrogate, or a name that is no special token of this tokenizer.
        """
        _check_text(text)
        allowed = self.special.allowed(allowed_special)
        ids: list[int] = []
        for segment, special_id in self.special.split(text, allowed):
            if special_id is None:
                ids += self._encode_plain(segment)
            else:
                ids.append(special_id)
        return [*self.prefix_ids, *ids, *self.suffix_ids] if add_special_tokens else ids

    def encode_batch(self, texts: Iterable[str], add_special_tokens: bool = True,
                     allowed_special: AllowedSpecial = ()) -> list[list[int]]:
        """`encode` of each text, in order."""
        if isinstance(texts, str):
            raise TypeError("encode_batch takes several texts, got one str; call encode, or pass [text]")
        return [self.encode(text, add_special_tokens, allowed_special) for text in texts]

    def encode_array(self, text: str, add_special_tokens: bool = False,
                     allowed_special: AllowedSpecial = ()) -> np.ndarray:
        """Ids of `text` as an array of the smallest unsigned type that holds them: (T,)."""
        ids = self.encode(text, add_special_tokens, allowed_special)
        return np.array(ids, dtype=self.id_type)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The exact bytes that `ids` stand for, which need not be valid UTF-8."""
        return b"".join([self.token_bytes(token_id) for token_id in _integers(ids)])

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text that `ids` stand for; bytes that are no UTF-8 become U+FFFD.

        Args:
            ids: any sequence of ids, (T,).
            skip_special_tokens: leave special tokens out instead of writing their names.
        """
        if skip_special_tokens:
            ids = [token_id for token_id in _integers(ids) if token_id not in self.special.names]
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_stream(self, ids: Iterable[int], skip_special_tokens: bool = False) -> Iterator[str]:
        """Text as it becomes known, id by id; the parts joined equal `decode(ids)`.

        A character may be cut between two tokens, so a part may be empty: the decoder waits for the rest.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token_id in ids:
            if not (skip_special_tokens and token_id in self.special.names):
                yield decoder.decode(self.token_bytes(token_id))
        yield decoder.decode(b"", final=True)

    @property
    def id_type(self) -> np.dtype:
        """The smallest unsigned integer type that holds every id."""
        return smallest_id_type(self.n_vocab)

    @property
    def special_tokens(self) -> dict[str, int]:
        """Name → id of the special tokens."""
        return dict(self.special.ids)

    @property
    def bos_token_id(self) -> int | None:
        """The id that begins a text, or None."""
        return self.special.role_id("bos_token")

    @property
    def eos_token_id(self) -> int | None:
        """The id that ends a text, or None."""
        return self.special.role_id("eos_token")

    @property
    def pad_token_id(self) -> int | None:
        """The id that fills a batch up, or None."""
        return self.special.role_id("pad_token")

    @property
    def unk_token_id(self) -> int | None:
        """The id of what the vocabulary lacks, or None."""
        return self.special.role_id("unk_token")

    @property
    def mask_token_id(self) -> int | None:
        """The id that hides a token from a masked language model, or None."""
        return self.special.role_id("mask_token")

    def __len__(self) -> int:
        return self.n_vocab

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_vocab={self.n_vocab}, special_tokens={list(self.special.ids)})"


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"encode takes a str, got {type(text).__name__}")


def _integers(ids: Iterable[int]) -> Sequence[int]:
    return ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
