"""One id per character, as in `characters.py`, with special tokens and files, and fast on long texts.

Prerequisites: `characters.py`, `base.py`, `hf_json.py`. Next: `unicode_classes.py`, on the way to `bpe.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np

from .added_tokens import added_tokens
from .base import Tokenizer, Unwritable
from .files import TOKENIZER, SavedTokenizer, about, write_config
from .hf_json import bpe_model, vocabulary, write_tokenizer_json
from .special import AddedToken, SpecialTokens
from .template import Template

__all__ = ["CharTokenizer"]


class CharTokenizer(Tokenizer):
    """One id per character, in code point order when trained; special tokens come after.

    Args:
        characters: the character of id 0, of id 1, …
        special_tokens: names of special tokens, numbered from there on, or `SpecialTokens`.
        template: what `encode` puts before and after a text.

    >>> tok = CharTokenizer.train("banana")
    >>> tok.encode("nab"), tok.decode([2, 0, 1])
    ([2, 0, 1], 'nab')
    """

    def __init__(self, characters: Iterable[str], special_tokens: Iterable[str] | SpecialTokens = (),
                 template: Template = Template()) -> None:
        self.characters = tuple(characters)
        if not self.characters:
            raise ValueError("a character tokenizer needs at least one character")
        for character in self.characters:
            if not isinstance(character, str) or len(character) != 1:
                raise ValueError(f"a character tokenizer holds single characters, got {character!r}")
        codes = np.array([ord(character) for character in self.characters], dtype=np.uint32)
        self._ids = np.argsort(codes)
        self._codes = codes[self._ids]  # sorted, to search in
        if repeated := self._codes[1:][self._codes[1:] == self._codes[:-1]].tolist():
            raise ValueError(f"the character {chr(repeated[0])!r} is given twice")
        if not isinstance(special_tokens, SpecialTokens):
            special_tokens = SpecialTokens(AddedToken(name, len(self.characters) + i)
                                           for i, name in enumerate(special_tokens))
        if both := sorted(special_tokens.ids.keys() & set(self.characters)):
            raise ValueError(f"the special token {both[0]!r} is also a character; choose a longer name")
        super().__init__({i: character.encode("utf-8") for i, character in enumerate(self.characters)}, special_tokens,
                         template)

    @classmethod
    def train(cls, texts: str | Iterable[str], special_tokens: Iterable[str] = ()) -> CharTokenizer:
        """Collect the characters of a text, or of an iterable of texts."""
        special_tokens = list(special_tokens)
        special = SpecialTokens(AddedToken(name, i) for i, name in enumerate(special_tokens))
        seen: set[str] = set()
        for text in [texts] if isinstance(texts, str) else texts:
            for segment, special_id in special.split(text, special.allowed("all")):
                if special_id is None:
                    seen.update(segment)
        if not seen:
            raise ValueError("CharTokenizer.train got no text; pass a str or an iterable of str with some characters")
        if surrogates := sorted(character for character in seen if 0xD800 <= ord(character) <= 0xDFFF):
            raise ValueError(f"the text has the lone surrogate {surrogates[0]!r}, which UTF-8 cannot write")
        return cls(sorted(seen), special_tokens)

    def _encode_plain(self, text: str, first: bool) -> np.ndarray:
        codes = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype="<u4")  # (T,)
        places = np.searchsorted(self._codes, codes)
        places[places == len(self._codes)] = 0
        if not np.array_equal(self._codes[places], codes):
            lacking = sorted(set(text) - set(self.characters))
            raise Unwritable(f"the tokenizer lacks the character{'s' * (len(lacking) > 1)} "
                             f"{', '.join(map(repr, lacking[:20]))}{' …' * (len(lacking) > 20)}: it writes only the "
                             f"{len(self.characters)} characters that its training text contained")
        return self._ids[places].astype(self.id_type)

    def _with_special(self, special: SpecialTokens) -> Self:
        return type(self)(self.characters, special, self.template)

    def save(self, folder: str | PathLike[str]) -> None:
        """Write `tokenizer.json` (a BPE over characters, without merges) and `tokenizer_config.json`."""
        vocab = {character: i for i, character in enumerate(self.characters)}
        write_tokenizer_json(Path(folder) / TOKENIZER, bpe_model(vocab | self.special.ids, []), self.special.tokens,
                             self.template.json, decoder={"type": "Fuse"})
        write_config(folder, self.special, self.chat_template)

    @classmethod
    def matches(cls, saved: SavedTokenizer) -> bool:
        """Whether there is a `tokenizer.json` in which nothing cuts the text and nothing merges."""
        if not saved.has(TOKENIZER):
            return False
        try:
            model, decoder = saved.document["model"], saved.document["decoder"]
            return (model["type"] == "BPE" and model["merges"] == [] and decoder["type"] == "Fuse"
                    and saved.document["pre_tokenizer"] is None)
        except (KeyError, TypeError):
            return False

    @classmethod
    def _read(cls, saved: SavedTokenizer) -> Self:
        document = saved.document
        if not cls.matches(saved):
            raise ValueError(f"{saved.path / TOKENIZER}: this is no character tokenizer; load_tokenizer finds the "
                             "right class")
        return about(saved.path / TOKENIZER, cls._from_json, document, saved.roles)

    @classmethod
    def _from_json(cls, document: Any, roles: dict[str, str] | None) -> Self:
        special = SpecialTokens.from_file(added_tokens(document), roles)
        characters = {i: character for character, i in vocabulary(document).items() if character not in special.ids}
        if sorted(characters) != list(range(len(characters))):
            raise ValueError("the ids of the characters are not 0, 1, 2, … each once")
        return cls([characters[i] for i in range(len(characters))], special,
                   Template.from_json(document.get("post_processor")))
