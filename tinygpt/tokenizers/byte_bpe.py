"""`ByteBPE`: byte-level byte-pair encoding as GPT-2 uses it, trained, applied and saved.

Nothing is out of vocabulary: every text is bytes, and each of the 256 bytes has an id. The pieces of the machine are in
their own files; here they are put together, and two caches make encoding fast: text repeats itself, so most of it has
been encoded before.

Prerequisites: `bpe.py` (the algorithm), `splitter.py`, `counting.py`, `hf_json.py`. Next: `auto.py`.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np

from . import bpe
from .base import Tokenizer, Unwritable, surrogate_error
from .byte_alphabet import CHAR_TO_BYTE, bytes_to_text, text_to_bytes
from .counting import count_pieces
from .files import TOKENIZER, TWO_FILES, SavedTokenizer, about, write_config
from .gpt2_files import read_two_files, write_two_files
from .hf_json import bpe_model, is_byte_bpe, read_byte_bpe, write_tokenizer_json
from .hf_pipeline import splitter_to_json
from .patterns import name_of
from .special import AddedToken, SpecialTokens
from .splitter import Splitter, Stage
from .template import Template
from .textbook_bpe import BYTE_ORDER

__all__ = ["ByteBPE"]

_CACHE_ENTRIES = 1 << 17  # in each of the two caches: about 25 MB
_CACHE_LENGTH = 64  # characters or bytes: what is longer hardly comes again
_GPT2 = Splitter([Stage("gpt2")])

_Text = TypeVar("_Text", str, bytes)


class ByteBPE(Tokenizer):
    """Byte-level BPE.

    Args:
        vocab: the id of each ordinary token; every byte should be one of them.
        merges: the merges, the earliest first.
        special_tokens: names, to be numbered after the vocabulary; or names and ids; or `SpecialTokens`.
        pattern: "gpt2", "cl100k", "o200k", "llama3", "qwen2", a regular expression, or a `Splitter`.
        normal_forms: Unicode normal forms ("NFC", …) to apply to a text first; `decode` then gives the normal form.
        ignore_merges: a piece that is a token as a whole is not built by merges (Llama 3).
        template: what `encode` puts before and after a text.

    Raises:
        ValueError: anything in which the arguments contradict each other.

    >>> tok = ByteBPE.train("low lower lowest", vocab_size=260)
    >>> [tok.token_bytes(i) for i in tok.encode("slowest")]
    [b's', b'low', b'e', b's', b't']
    """

    def __init__(self, vocab: Mapping[bytes, int], merges: Iterable[tuple[bytes, bytes]],
                 special_tokens: Iterable[str] | Mapping[str, int] | SpecialTokens = (),
                 pattern: str | Splitter = "gpt2", *, normal_forms: Iterable[str] = (), ignore_merges: bool = False,
                 template: Template = Template()) -> None:
        self.vocab = dict(vocab)
        self.merges = [(left, right) for left, right in merges]
        self.splitter = _splitter(pattern)
        self.normal_forms = tuple(normal_forms)
        self.ignore_merges = ignore_merges
        token_bytes = bpe.check_vocab(self.vocab)
        super().__init__(token_bytes, _numbered(special_tokens, token_bytes), template)
        for name in self.special.ids:
            if CHAR_TO_BYTE.keys() >= set(name) and text_to_bytes(name) in self.vocab:
                raise ValueError(f"the special token {name!r} is an ordinary token too; choose another name")
        self._table = bpe.MergeTable(self.vocab, self.merges)
        self._known_pieces: dict[str, bytes] = {}  # a piece -> its ids, packed
        self._known_parts: dict[bytes, bytes] = {}  # a part of a piece, as `MergeTable.cut` leaves them -> the same

    @classmethod
    def train(cls, texts: str | PathLike[str] | Iterable[str | PathLike[str]], vocab_size: int = 1024,
              special_tokens: Iterable[str] = (), pattern: str | Splitter = "gpt2", *,
              min_frequency: int = 1, progress: bool = False) -> ByteBPE:
        """Learn a vocabulary. Of equally frequent pairs the one with the lowest ids is merged, as Hugging Face does.

        Args:
            texts: a text, or an iterable of them; a path stands for a file, which is read part by part. No token spans
                two texts. The name of a special token cuts the text that it stands in and is not learned from.
            vocab_size: 256 bytes + merges + special tokens. A text with too few pairs gives a smaller vocabulary.
            special_tokens: their names; their ids are the last.
            pattern: how text is split before merging: a name, a regular expression, or a `Splitter`.
            min_frequency: do not merge pairs that occur less often.
            progress: show a progress bar on stderr.

        Raises:
            ValueError: `vocab_size` too small, no text at all, a lone surrogate, a bad pattern.
        """
        names = list(special_tokens)
        n_merges = vocab_size - 256 - len(names)
        if n_merges < 0:
            raise ValueError(f"vocab_size is {vocab_size}, but the 256 bytes and {len(names)} special "
                             f"token{'s' * (len(names) != 1)} alone need {256 + len(names)}; give at least that")
        splitter = _splitter(pattern)
        with _progress_bar("reading", None, "char", progress) as done:
            pieces = count_pieces([texts] if isinstance(texts, (str, PathLike)) else texts, splitter,
                                  _numbered(names, {}), done)
        found = bpe.train(pieces, n_merges, min_frequency)
        del pieces  # `train` lets go of them too
        tokens = [bytes([byte]) for byte in BYTE_ORDER]
        merges = []
        with _progress_bar("merging", n_merges, "merge", progress) as done:
            for left, right in found:
                merges.append((tokens[left], tokens[right]))
                tokens.append(tokens[left] + tokens[right])
                done(1)
        return cls({token: i for i, token in enumerate(tokens)}, merges, names, splitter)

    @property
    def pattern(self) -> str:
        """The split pattern, by name or as a regular expression; of several stages, the last that cuts."""
        return next((stage.pattern for stage in reversed(self.splitter.stages) if stage.pattern), "")

    def _normalize(self, text: str) -> str:
        for form in self.normal_forms:
            text = unicodedata.normalize(form, text)  # type: ignore[arg-type]
        return text

    def _encode_plain(self, text: str, first: bool) -> np.ndarray:
        try:
            packed = b"".join([self._encode_block(block) for block in self.splitter.blocks([text])])
        except UnicodeEncodeError as error:
            raise surrogate_error(error) from None
        except KeyError as error:
            raise Unwritable(f"the vocabulary lacks the byte {bytes([error.args[0]])!r} of the text") from None
        return np.frombuffer(packed, self.id_type)  # (T,)

    def _encode_block(self, block: str) -> bytes:
        """Packed ids of a block: most pieces have been seen before, the others are worked out together."""
        pieces, known = self.splitter(block), self._known_pieces  # as it is now: another thread may begin a new one
        try:
            return b"".join(map(known.__getitem__, pieces))
        except KeyError:
            new = self._encode_pieces(list(set(pieces).difference(known)))
        self._known_pieces = _remember(known, new)
        try:
            return b"".join(map(self._known_pieces.__getitem__, pieces))
        except KeyError:  # not all are remembered
            return b"".join([new.get(piece) or known[piece] for piece in pieces])

    def _encode_pieces(self, pieces: Sequence[str]) -> dict[str, bytes]:
        """Packed ids of pieces."""
        raw = [piece.encode("utf-8") for piece in pieces]
        short = {piece: data for piece, data in zip(pieces, raw) if len(data) <= bpe.SEGMENT}
        encoded = dict(zip(short, self._encode_cut(list(short.values())))) if short else {}
        for piece, data in zip(pieces, raw):
            if piece not in short:
                encoded[piece] = b"".join([self._encode_cut([part])[0] for part in self._table.segments(data)])
        if self.ignore_merges:
            whole = {piece: self.vocab.get(data) for piece, data in zip(pieces, raw)}
            encoded.update((piece, self._pack([token_id])) for piece, token_id in whole.items() if token_id is not None)
        return encoded

    def _encode_cut(self, pieces: list[bytes]) -> list[bytes]:
        """Packed ids of pieces, each cut into parts that merge alone."""
        parts_of = self._table.cut(pieces)
        parts = {part for parts in parts_of for part in parts}
        known = self._known_parts  # as it is now: another thread may begin a new one
        new = {part: self._pack(self._table.encode(part)) for part in parts if part not in known}
        packed = {part: new.get(part) or known[part] for part in parts}
        self._known_parts = _remember(self._known_parts, new)
        return [b"".join([packed[part] for part in parts]) for parts in parts_of]

    def _pack(self, ids: Sequence[int]) -> bytes:
        return array(self.id_type.char, ids).tobytes()

    def _with_special(self, special: SpecialTokens) -> Self:
        return type(self)(self.vocab, self.merges, special, self.splitter, normal_forms=self.normal_forms,
                          ignore_merges=self.ignore_merges, template=self.template)

    def save(self, folder: str | PathLike[str],
             format: Literal["tokenizer.json", "vocab.json", "encoder.json"] = "tokenizer.json") -> None:
        """Write the tokenizer into `folder`, which is made if it is not there.

        Args:
            folder: where to.
            format: "tokenizer.json", which holds everything; "vocab.json" (with merges.txt) or "encoder.json" (with
                vocab.bpe), which hold only what splits as GPT-2 does and adds nothing.
        """
        path = Path(folder)
        vocab = {bytes_to_text(token): i for token, i in self.vocab.items()}
        vocab |= {token.content: token.id for token in self.special.tokens}
        merges = [(bytes_to_text(left), bytes_to_text(right)) for left, right in self.merges]
        forms = [{"type": form} for form in self.normal_forms]
        normalizer = {"type": "Sequence", "normalizers": forms} if forms else None
        if format == TOKENIZER:
            write_tokenizer_json(path / TOKENIZER, bpe_model(vocab, merges, self.ignore_merges), self.special.tokens,
                                 self.template.json, decoder=splitter_to_json(_GPT2),
                                 pre_tokenizer=splitter_to_json(self.splitter), normalizer=normalizer)
            write_config(path, self.special, self.chat_template)
        elif format not in TWO_FILES:
            raise ValueError(f"the format is {format!r}, expected one of {[TOKENIZER, *TWO_FILES]}")
        elif (self.splitter.stages != _GPT2.stages or self.normal_forms or self.ignore_merges or self.prefix_ids
              or self.suffix_ids or any(not token.special or token.lstrip or token.rstrip or token.single_word
                                        for token in self.special.tokens)):
            raise ValueError(f"{format} holds only tokenizers that split as GPT-2 does and add nothing; this one needs "
                             f"{TOKENIZER}")
        else:
            write_two_files(path, format, vocab, merges)
            write_config(path, self.special, self.chat_template, "GPT2Tokenizer", format)

    @classmethod
    def matches(cls, saved: SavedTokenizer) -> bool:
        """Whether there is a `tokenizer.json` of plain byte-level BPE, or one of the formats of two files."""
        if saved.has(TOKENIZER):
            return saved.model_type == "BPE" and is_byte_bpe(saved.document)
        return any(saved.has(name) and saved.has(partner) for name, partner in TWO_FILES.items())

    @classmethod
    def _read(cls, saved: SavedTokenizer) -> Self:
        if saved.has(TOKENIZER):
            return about(saved.path / TOKENIZER, cls._from_arguments, read_byte_bpe, saved.document, saved.roles,
                         saved.path)
        for name in filter(saved.has, TWO_FILES):
            return about(saved.path / name, cls._from_arguments, read_two_files, saved.path, name, saved.roles)
        raise FileNotFoundError(f"{saved.path} has no {TOKENIZER}, no vocab.json with merges.txt and no encoder.json "
                                "with vocab.bpe")

    @classmethod
    def _from_arguments(cls, read: Any, *source: Any) -> Self:
        return cls(**read(*source))


def _splitter(pattern: str | Splitter) -> Splitter:
    return pattern if isinstance(pattern, Splitter) else Splitter([Stage(name_of(pattern))])


def _numbered(special_tokens: Iterable[str] | Mapping[str, int] | SpecialTokens,
              token_bytes: Mapping[int, bytes]) -> SpecialTokens:
    """Special tokens with ids: those given, or the next ones after the vocabulary."""
    if isinstance(special_tokens, SpecialTokens):
        return special_tokens
    if isinstance(special_tokens, Mapping):
        return SpecialTokens(AddedToken(name, i) for name, i in special_tokens.items())
    first = max(token_bytes, default=-1) + 1
    return SpecialTokens(AddedToken(name, first + i) for i, name in enumerate(special_tokens))


def _remember(cache: dict[_Text, bytes], new: Mapping[_Text, bytes]) -> dict[_Text, bytes]:
    """The cache with what is short of `new`; begun afresh where it would grow past its bound."""
    if len(cache) + len(new) > _CACHE_ENTRIES:
        cache = {}  # another thread may still be reading the old one
    if len(new) <= _CACHE_ENTRIES:
        cache.update((text, packed) for text, packed in new.items() if len(text) <= _CACHE_LENGTH)
    return cache


@contextmanager
def _progress_bar(what: str, total: int | None, unit: str, show: bool) -> Iterator[Callable[[int], object]]:
    """A function that moves the bar on."""
    if not show:
        yield lambda n: None
        return
    from tqdm import tqdm
    with tqdm(total=total, desc=what, unit=unit, unit_scale=True, dynamic_ncols=True) as bar:
        yield bar.update
