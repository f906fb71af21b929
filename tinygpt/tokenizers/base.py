"""The interface of every tokenizer: text in, token ids out, and back without loss.

A language model sees integers. A tokenizer cuts a text into pieces of a fixed vocabulary and numbers them. This file
says what every tokenizer can do; a new kind is a file with a class that defines how ordinary text becomes ids
(`_encode_plain`), what the bytes of its ids are, how it is saved, recognised and read, and a row of `auto.TOKENIZERS`.

Shapes: T is the number of tokens of a text.

Prerequisites: `files.py`, `template.py`. Next: `char.py`, the simplest tokenizer; then `bpe.py`.
"""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, Self

import numpy as np

from .chat_text import apply_chat_template
from .files import SavedTokenizer
from .special import AddedToken, AllowedSpecial, SpecialTokens
from .template import Template

__all__ = ["Tokenizer", "Unwritable", "as_list", "surrogate_error"]

_STEP = 1 << 14  # ids decoded at a time: bytes.join needs 80 bytes of memory for each


class Unwritable(ValueError):
    """A text that a vocabulary has no tokens for."""


def _id_of(role: str, meaning: str) -> Any:
    """A property of a tokenizer: the id of the special token that plays a role, or None."""
    return property(lambda self: self.special.role_id(role), doc=meaning)


class Tokenizer(ABC):
    """What every tokenizer has in common.

    Args:
        vocab: the bytes of each ordinary id.
        special: the special tokens and the roles (eos, bos, pad, …) they play.
        template: what `encode` puts before and after a text.

    Attributes:
        chat_template: how a conversation is written, as the Jinja source that Hugging Face keeps with a tokenizer, or
            None. It is stored and handed on here; data/chat_template.py makes ids of a conversation.
    """

    def __init__(self, vocab: Mapping[int, bytes], special: SpecialTokens, template: Template = Template()) -> None:
        self.special = special
        self.template = template
        self.chat_template: str | None = None
        for token in special.tokens:
            if token.special and token.id in vocab:
                raise ValueError(f"the special token {token.content!r} has the id {token.id}, which already stands for "
                                 f"{vocab[token.id]!r}")
        self._bytes = {**{token.id: token.content.encode("utf-8") for token in special.tokens}, **vocab}
        self._n_vocab = max(self._bytes, default=-1) + 1
        self.id_type: np.dtype = np.min_scalar_type(max(self._n_vocab - 1, 0))  # the smallest that holds every id
        for token_id in (*template.prefix_ids, *template.suffix_ids):
            if token_id not in self._bytes:
                raise ValueError(f"the template adds the id {token_id}, which the vocabulary lacks")

    @abstractmethod
    def _encode_plain(self, text: str, first: bool) -> np.ndarray:
        """Ids of a normalised text without special tokens, of type `id_type`: (T,).

        Args:
            text: the text, which is not empty.
            first: whether the whole text begins with it; if not, a special token comes before it.
        """

    @abstractmethod
    def _with_special(self, special: SpecialTokens) -> Self:
        """The same tokenizer with other special tokens."""

    @abstractmethod
    def save(self, folder: str | PathLike[str]) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json` into `folder`; Hugging Face's AutoTokenizer opens them."""

    @classmethod
    @abstractmethod
    def matches(cls, saved: SavedTokenizer) -> bool:
        """Whether a folder holds a tokenizer of this kind, whole or damaged."""

    @classmethod
    @abstractmethod
    def _read(cls, saved: SavedTokenizer) -> Self:
        """The tokenizer that a folder holds; its chat template is seen to by `load`."""

    @classmethod
    def load(cls, folder: str | PathLike[str] | SavedTokenizer) -> Self:
        """Read what `save` wrote, or another program in a format of this kind; `load_tokenizer` finds the kind.

        Raises:
            FileNotFoundError: the folder has no such files.
            ValueError: the files are malformed, or of another kind of tokenizer.
        """
        saved = folder if isinstance(folder, SavedTokenizer) else SavedTokenizer(folder)
        tokenizer = cls._read(saved)
        tokenizer.chat_template = saved.chat_template
        return tokenizer

    @property
    def n_vocab(self) -> int:
        """The size of the vocabulary, special tokens included: every id is below it."""
        return self._n_vocab

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        """What `encode` puts before a text."""
        return self.template.prefix_ids

    @property
    def suffix_ids(self) -> tuple[int, ...]:
        """What `encode` puts after a text."""
        return self.template.suffix_ids

    @property
    def ids(self) -> list[int]:
        """All ids that stand for something, in order: usually 0 to n_vocab - 1."""
        return sorted(self._bytes)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that one id stands for; a special token's are its name in UTF-8.

        Raises:
            IndexError: no token has this id.
        """
        try:
            return self._bytes[token_id]
        except KeyError:
            raise IndexError(f"no token has the id {token_id}; the vocabulary has {len(self._bytes)} ids below "
                             f"{self.n_vocab}") from None

    def encode(self, text: str, add_special_tokens: bool = True, allowed_special: AllowedSpecial = ()) -> list[int]:
        """Token ids of `text`, T of them.

        Args:
            text: any string without lone surrogates.
            add_special_tokens: apply the template (nothing for GPT-2; `<s> … </s>` for RoBERTa).
            allowed_special: names of the special tokens that `text` may contain, or "all"; any other text that looks
                like one is encoded as the plain text that it is.

        Raises:
            ValueError: a lone surrogate; a character that the vocabulary cannot write; an unknown special token.
        """
        return self.encode_array(text, add_special_tokens, allowed_special).tolist()

    def encode_array(self, text: str, add_special_tokens: bool = True,
                     allowed_special: AllowedSpecial = ()) -> np.ndarray:
        """`encode` as an array of the smallest unsigned type that holds the ids: (T,)."""
        if not isinstance(text, str):
            raise TypeError(f"encode takes a str, got {type(text).__name__}")
        parts: list[np.ndarray] = []
        for i, (segment, added_id) in enumerate(self._cut_added(text, self.special.allowed(allowed_special))):
            parts.append(np.array([added_id], self.id_type) if added_id is not None
                         else self._encode_plain(segment, first=i == 0))
        if add_special_tokens:
            parts = [np.array(self.prefix_ids, self.id_type), *parts, np.array(self.suffix_ids, self.id_type)]
        return np.concatenate(parts) if parts else np.array([], self.id_type)  # (T,)

    def encode_prompt(self, text: str, allowed_special: AllowedSpecial = ()) -> list[int]:
        """`encode` of a text that a model is to continue: with what the template puts before it, not with what it puts
        after it, which would say that the text has ended.
        """
        return [*self.prefix_ids, *self.encode(text, add_special_tokens=False, allowed_special=allowed_special)]

    def encode_batch(self, texts: Iterable[str], add_special_tokens: bool = True,
                     allowed_special: AllowedSpecial = ()) -> list[list[int]]:
        """`encode` of each text, in order."""
        if isinstance(texts, str):
            raise TypeError("encode_batch takes several texts, got one str; call encode, or pass [text]")
        return [self.encode(text, add_special_tokens, allowed_special) for text in texts]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The exact bytes that `ids` stand for, which need not be whole UTF-8 characters.

        Args:
            ids: a sequence or an array of ids, (T,).

        Raises:
            IndexError: no token has one of the ids.
        """
        ids, find = as_list(ids), self._bytes.__getitem__
        try:
            return b"".join([b"".join(map(find, ids[start:start + _STEP])) for start in range(0, len(ids), _STEP)])
        except KeyError:
            return b"".join(map(self.token_bytes, ids))  # raises the clear error
        except TypeError:
            raise TypeError("decode takes the ids of one text, a flat sequence of integers") from None

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text that `ids` stand for; bytes that are no UTF-8 become U+FFFD.

        Args:
            ids: a sequence or an array of ids, (T,).
            skip_special_tokens: leave special tokens out instead of writing their names.
        """
        if skip_special_tokens:
            ids = [token_id for token_id in as_list(ids) if token_id not in self.special.names]
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_stream(self, ids: Iterable[int], skip_special_tokens: bool = False) -> Iterator[str]:
        """The text as it becomes known while `ids` arrive; the parts joined equal `decode(ids)`.

        One character may be cut between two tokens, so a part is given once its characters are whole.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token_id in ids:
            if skip_special_tokens and token_id in self.special.names:
                continue
            if text := decoder.decode(self.token_bytes(token_id)):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    def apply_chat_template(self, conversation: Any, tools: Iterable[Any] | None = None,
                            add_generation_prompt: bool = False, tokenize: bool = True, **more: Any) -> Any:
        """A conversation as `chat_template` writes it: ids, or with tokenize=False the text.

        Args:
            conversation: messages, [{"role": "user", "content": "…"}, …], or several such lists.
            tools: JSON schemas, or functions that become such (tool_schema.py).
            add_generation_prompt: end with the beginning of the assistant's turn.
            more: `continue_final_message=True` ends where the last message ends; `return_dict=True` gives a dict with
                "input_ids" and "attention_mask"; all else are variables that the template sees.

        Raises:
            ValueError: no template, one that fails or refuses the conversation, or no messages.
        """
        return apply_chat_template(self, conversation, tools, add_generation_prompt, tokenize, **more)

    def encode_pair(self, first: str, second: str, *, max_length: int | None = None) -> tuple[list[int], list[int]]:
        """The ids of two texts in the template, and for each id the number of its text, 0 or 1 (`token_type_ids`).

        Args:
            first, second: what looks like a special token in them is text.
            max_length: at most so many ids in all; the first text loses its end.

        Raises:
            ValueError: the second text alone does not fit.
        """
        a, b = (self.encode(text, add_special_tokens=False) for text in (first, second))
        if max_length is not None:
            room = max_length - len(self.template.pair([], b)[0])
            if room < 0:
                raise ValueError(f"the second text does not fit into {max_length} tokens with its template")
            a = a[:room]
        return self.template.pair(a, b)

    def set_template(self, prefix: Sequence[str] = (), suffix: Sequence[str] = ()) -> None:
        """Let `encode` put the special tokens named `prefix` before every text and those named `suffix` after it."""
        self.template = Template.around(prefix, suffix, self.special.ids)

    def with_special_tokens(self, names: Iterable[str], **roles: str) -> Self:
        """The same tokenizer with further special tokens, numbered from `n_vocab` on; names that it has keep their id.

        Args:
            names: the special tokens to have.
            roles: who plays a role from now on, such as `eos_token="<|end|>"`; the others stay as they are.

        Raises:
            ValueError: a name that is an ordinary token of this vocabulary, or an empty one.

        >>> from tinygpt.tokenizers import CharTokenizer
        >>> CharTokenizer.train("abc").with_special_tokens(["<|user|>", "<|end|>"], eos_token="<|end|>").eos_token_id
        4
        """
        new = [name for name in dict.fromkeys(names) if name not in self.special.ids]
        tokens = (*self.special.tokens, *(AddedToken(name, self.n_vocab + i) for i, name in enumerate(new)))
        more = self._with_special(SpecialTokens(tokens, {**self.special.roles, **roles}))
        more.chat_template = self.chat_template
        return more

    def token_id(self, name: str) -> int:
        """The id of a special token; ValueError if there is none of that name."""
        self.special.allowed([name])
        return self.special.ids[name]

    @property
    def special_tokens(self) -> dict[str, int]:
        """The names and ids of the special tokens."""
        return dict(self.special.ids)

    bos_token_id = _id_of("bos_token", "The id that begins a text, or None.")
    eos_token_id = _id_of("eos_token", "The id that ends a text, or None.")
    pad_token_id = _id_of("pad_token", "The id that fills up a batch, or None.")
    unk_token_id = _id_of("unk_token", "The id for what the vocabulary lacks, or None.")
    mask_token_id = _id_of("mask_token", "The id that hides a token from a masked language model, or None.")
    cls_token_id = _id_of("cls_token", "The id whose output stands for a whole text, or None.")
    sep_token_id = _id_of("sep_token", "The id that separates two texts, or None.")

    def __len__(self) -> int:
        return self.n_vocab

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_vocab={self.n_vocab}, special_tokens={list(self.special.ids)})"

    def _cut_added(self, text: str, allowed: frozenset[str]) -> Iterator[tuple[str, int | None]]:
        """Plain segments, normalised and never empty, each with None, and added tokens with their ids."""
        for segment, added_id in self.special.split(text, allowed):
            if added_id is not None:
                yield segment, added_id
            elif segment:
                yield from self.special.split(self._normalize(segment), allowed, self._normalize)

    def _normalize(self, text: str) -> str:
        return text


def surrogate_error(error: UnicodeEncodeError) -> ValueError:
    """What to say of a text that UTF-8 cannot write."""
    char = error.object[error.start]
    if "\udc80" <= char <= "\udcff":  # how Python passes on a byte of a command line that it cannot decode
        return ValueError(f"the text has the lone surrogate {char!r} where a byte {ord(char) - 0xDC00:#04x} was read "
                          "that is not UTF-8; write the text in UTF-8")
    return ValueError(f"the text has the lone surrogate {char!r}, which is no character; read the text with "
                      "errors='replace'")


def as_list(ids: Iterable[int]) -> list[int]:
    """Ids as a list, of an array too."""
    return ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
