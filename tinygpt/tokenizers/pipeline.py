"""`PipelineTokenizer`: normalise, split, model, and the template around it; decoding is a chain of its own.

Hugging Face's `tokenizer.json` describes every tokenizer so. Each step is a small part in a file of its own, found in
a table by its kind. Here they are put together. Text repeats itself, so pieces that were seen before are remembered;
where nothing splits the text (as in Llama 2), the model says at which places it can be cut.

Prerequisites: `normalizers.py`, `pre_tokenizers.py`, `models.py`, `decoders.py`, `hf_json.py`. Next: `auto.py`.
Source: github.com/huggingface/tokenizers.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np

from .base import Tokenizer, as_list, surrogate_error
from .byte_alphabet import CHAR_TO_BYTE, text_to_bytes
from .decoders import BYTE_TOKEN, read_decoder
from .files import TOKENIZER, SavedTokenizer, about, flat_steps, write_config
from .hf_json import added_of_folder, write_tokenizer_json
from .model import Model
from .models import read_model
from .normalizers import read_normalizer
from .pre_tokenizers import read_pre_tokenizer
from .special import AddedToken, SpecialTokens
from .template import Template

__all__ = ["PipelineTokenizer"]

_CACHE_ENTRIES = 1 << 17
_CACHE_LENGTH = 64  # characters: what is longer hardly comes again
_BEFORE, _AFTER = "\0", "\1"  # stand around a token to see what it becomes inside of a text


class PipelineTokenizer(Tokenizer):
    """A tokenizer of steps. Each is given as `tokenizer.json` writes it, None for one that is left out.

    Args:
        model: the vocabulary, and how a piece becomes ids of it.
        special_tokens: names that the vocabulary has; or names and ids; or `SpecialTokens`. No plain text becomes one.
        normalizer: text -> text.
        pre_tokenizer: text -> pieces.
        decoder: tokens -> text; None puts spaces between.
        template: what `encode` puts before and after a text.

    Raises:
        ValueError: a step of an unknown kind, or arguments that contradict each other.

    >>> from tinygpt.tokenizers.wordpiece import WordPiece
    >>> model = WordPiece({"[UNK]": 0, "play": 1, "##ing": 2})
    >>> tok = PipelineTokenizer(model, ["[UNK]"], {"type": "Lowercase"}, {"type": "Whitespace"}, {"type": "WordPiece"})
    >>> tok.encode("Playing play!"), tok.decode([1, 2, 1])
    ([1, 2, 1, 0], 'playing play')
    """

    def __init__(self, model: Model, special_tokens: Iterable[str] | Mapping[str, int] | SpecialTokens = (),
                 normalizer: dict[str, Any] | None = None, pre_tokenizer: dict[str, Any] | None = None,
                 decoder: dict[str, Any] | None = None, template: Template = Template()) -> None:
        special = _numbered(special_tokens, model)
        for token in special.tokens:
            if model.vocab.get(token.content, token.id) != token.id or (
                    model.tokens.get(token.id, token.content) != token.content):
                raise ValueError(f"the added token {token.content!r} has the id {token.id}, the vocabulary says "
                                 "otherwise")
        try:
            ordinary = {token_id: token.encode("utf-8") for token, token_id in model.vocab.items()
                        if token_id not in special.names}
        except UnicodeEncodeError as error:
            raise surrogate_error(error) from None
        super().__init__(ordinary, special, template)
        self.model = model.without(special.ids)
        self.normalizer, self.pre_tokenizer, self.decoder = normalizer, pre_tokenizer, decoder
        self._normalize_text = read_normalizer(normalizer)
        self._split = read_pre_tokenizer(pre_tokenizer)
        self._decode_tokens = read_decoder(decoder)
        self._decoder_kinds = {kind for kind, _ in flat_steps(decoder, "decoder", "decoders")}
        self._tokens = {**self.model.tokens, **{token.id: token.content for token in special.tokens}}
        self._known: dict[str, bytes] = {}  # a piece, or a part of one -> its ids, packed

    # -- text -> ids --------------------------------------------------------------------------------------------------

    def _normalize(self, text: str) -> str:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise surrogate_error(error) from None
        return self._normalize_text(text)

    def _encode_plain(self, text: str, first: bool) -> np.ndarray:
        pieces = self._split(text, first)
        if not pieces:
            return np.array([], self.id_type)
        if self.pre_tokenizer is not None and max(map(len, pieces)) <= _CACHE_LENGTH:
            return np.frombuffer(self._pack(pieces), self.id_type)  # (T,)
        return np.concatenate([self._encode_piece(piece) for piece in pieces])

    def _encode_piece(self, piece: str) -> np.ndarray:
        """The ids of a piece that may be long, in parts that can be encoded apart."""
        parts = self.model.cut(piece)
        ids = np.frombuffer(self._pack(parts), self.id_type)
        if (in_order := self.model.encode_in_order(parts)) is not None:
            ids = np.array(in_order, self.id_type)
        if self.model.fuses is not None and len(ids) > 1:
            again = (ids[1:] == self.model.fuses) & (ids[:-1] == self.model.fuses)
            ids = ids[np.concatenate([[True], ~again])]
        return ids

    def _pack(self, pieces: list[str]) -> bytes:
        known = self._known  # as it is now: another thread may begin a new one
        try:
            return b"".join(map(known.__getitem__, pieces))
        except KeyError:
            missing = dict.fromkeys(piece for piece in pieces if piece not in known)
        new = {piece: array(self.id_type.char, self.model.encode(piece)).tobytes() for piece in missing}
        packed = b"".join([new[piece] if piece in new else known[piece] for piece in pieces])
        if len(known) + len(new) > _CACHE_ENTRIES:
            known = {}
        if len(new) <= _CACHE_ENTRIES:
            known.update((piece, ids) for piece, ids in new.items() if len(piece) <= _CACHE_LENGTH)
        self._known = known
        return packed

    def _with_special(self, special: SpecialTokens) -> Self:
        return type(self)(self.model, special, self.normalizer, self.pre_tokenizer, self.decoder, self.template)

    # -- ids -> text --------------------------------------------------------------------------------------------------

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that one id stands for inside of a text: with the space before it, if it has one."""
        super().token_bytes(token_id)  # raises for an id that is none
        token = self._tokens[token_id]
        if token_id in self.special.names:
            return token.encode("utf-8")
        if "ByteFallback" in self._decoder_kinds and (byte := BYTE_TOKEN.fullmatch(token)):
            return bytes([int(byte[1], 16)])
        if "ByteLevel" in self._decoder_kinds and CHAR_TO_BYTE.keys() >= set(token):
            return text_to_bytes(token)
        text, without = ("".join(self._decode_tokens(tokens)).removeprefix(_BEFORE)
                         for tokens in ([_BEFORE, token, _AFTER], [_BEFORE, _AFTER]))
        return text.removesuffix(without).encode("utf-8")

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text that `ids` stand for, as the decoder makes it: it may leave out spaces, or a space before the text.

        Args:
            ids: a sequence or an array of ids, (T,).
            skip_special_tokens: leave special tokens out instead of writing their names.

        Raises:
            IndexError: no token has one of the ids.
        """
        ids, find = as_list(ids), self._tokens.__getitem__
        if skip_special_tokens:
            ids = [token_id for token_id in ids if token_id not in self.special.names]
        try:
            return "".join(self._decode_tokens(list(map(find, ids))))
        except KeyError:
            super().decode_bytes(ids)  # raises the clear error
            raise
        except TypeError:
            raise TypeError("decode takes the ids of one text, a flat sequence of integers") from None

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """`decode` in UTF-8."""
        return self.decode(ids).encode("utf-8")

    def decode_stream(self, ids: Iterable[int], skip_special_tokens: bool = False) -> Iterator[str]:
        """The text as it becomes known while `ids` arrive; the parts joined equal `decode(ids)`.

        What a token becomes depends on the ones beside it, so the last few are decoded again with each new one.
        """
        held: list[int] = []  # what is decoded again: at least one token that made text, and all since
        shown = 0  # characters of it that have been given
        for token_id in ids:
            if skip_special_tokens and token_id in self.special.names:
                continue
            held.append(int(token_id))
            if self._is_open(held[-1]):
                continue
            text = self.decode(held)
            if len(text) > shown and not text.endswith("\ufffd"):
                yield text[shown:]
                n = 1
                while not (context := self.decode(held[-n:])) and n < len(held):
                    n += 1
                held, shown = held[-n:], len(context)
        if len(text := self.decode(held)) > shown:
            yield text[shown:]

    def _is_open(self, token_id: int) -> bool:
        """Whether the next token may change what this one becomes."""
        token = self._tokens.get(token_id, "")
        return ("ByteFallback" in self._decoder_kinds and BYTE_TOKEN.fullmatch(token) is not None
                or "Strip" in self._decoder_kinds and token.endswith((" ", "▁")))

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, folder: str | PathLike[str]) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`; Hugging Face's AutoTokenizer opens them."""
        write_tokenizer_json(Path(folder) / TOKENIZER, self.model.json(), self.special.tokens, self.template.json,
                             decoder=self.decoder, pre_tokenizer=self.pre_tokenizer, normalizer=self.normalizer)
        write_config(folder, self.special, self.chat_template)

    @classmethod
    def matches(cls, saved: SavedTokenizer) -> bool:
        """Whether there is a `tokenizer.json`, of any kind."""
        return saved.has(TOKENIZER)

    @classmethod
    def _read(cls, saved: SavedTokenizer) -> Self:
        return about(saved.path / TOKENIZER, cls._from_json, saved.document, saved.roles, saved.path)

    @classmethod
    def _from_json(cls, document: Any, roles: Mapping[str, str] | None, folder: Path) -> Self:
        model = read_model(document)
        special = SpecialTokens.from_file(added_of_folder(document, model.vocab, roles, folder), roles)
        return cls(model, special, document.get("normalizer"), document.get("pre_tokenizer"), document.get("decoder"),
                   Template.from_json(document.get("post_processor")))


def _numbered(special_tokens: Iterable[str] | Mapping[str, int] | SpecialTokens, model: Model) -> SpecialTokens:
    """Special tokens with ids: those given, those of the vocabulary, or the next ones after it."""
    if isinstance(special_tokens, SpecialTokens):
        return special_tokens
    if isinstance(special_tokens, Mapping):
        return SpecialTokens(AddedToken(name, i) for name, i in special_tokens.items())
    names = list(special_tokens)
    new = [name for name in names if name not in model.vocab]
    first = max(model.tokens, default=-1) + 1
    ids = model.vocab | {name: first + i for i, name in enumerate(new)}
    return SpecialTokens(AddedToken(name, ids[name]) for name in names)
