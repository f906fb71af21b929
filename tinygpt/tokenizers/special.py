"""Tokens that the text is cut at before anything else: special tokens, and words added to a vocabulary.

A *special* token marks structure: the end of a document, a chat turn. Text that looks like one is plain text unless
the caller allows it by name, and it is looked for in the text as it came, before any normalisation, so nothing that a
user types can turn into one. Other *added* tokens are ordinary words with an id of their own, always found.

Prerequisites: `unicode_classes.py`, `name_finder.py`. Next: `template.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..files import shown
from .name_finder import NameFinder
from .unicode_classes import WHITESPACE, is_word

__all__ = ["AddedToken", "SpecialTokens", "AllowedSpecial", "ROLES", "MAX_IDS"]

AllowedSpecial = Iterable[str] | Literal["all"]

# Who plays which role, by the names that public tokenizers use; the first name present wins.
ROLES = {
    "bos_token": ("<|begin_of_text|>", "<s>", "<bos>", "<|bos|>", "[BOS]", "[CLS]", "<|endoftext|>"),
    "eos_token": ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", "[SEP]"),
    "pad_token": ("<|pad|>", "<pad>", "[PAD]"),
    "unk_token": ("<|unk|>", "<unk>", "[UNK]"),
    "cls_token": ("[CLS]", "<cls>"),
    "sep_token": ("[SEP]", "<sep>"),
    "mask_token": ("<|mask|>", "<mask>", "[MASK]"),
}
LONGEST_NAME = 10_000  # characters
MAX_IDS = 1 << 24  # more than any vocabulary has; a file with higher ids is damaged, or means harm
_SPACES = re.compile(f"[{WHITESPACE}]*")


@dataclass(frozen=True)
class AddedToken:
    """One token that the text is cut at; the names of the settings are Hugging Face's.

    Attributes:
        content: its text.
        id: its id.
        special: found only where the caller allows it, and left out by `skip_special_tokens`.
        lstrip, rstrip: swallow the whitespace before, or after, it.
        single_word: not found inside a word.
        normalized: look for it after the text is normalised (never done for special tokens).
    """

    content: str
    id: int
    special: bool = True
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False


class SpecialTokens:
    """The added tokens of a vocabulary, special or not, and the roles that they play.

    Args:
        tokens: the tokens.
        roles: "eos_token" and so on → name; None guesses from the well-known names in `ROLES`.

    Raises:
        ValueError: an empty or repeated name, a repeated id, a role that none of the tokens plays.
    """

    def __init__(self, tokens: Iterable[AddedToken] = (), roles: Mapping[str, str] | None = None) -> None:
        self.tokens = tuple(tokens)
        self.ids = {token.content: token.id for token in self.tokens if token.special}
        self.names = {token.id: token.content for token in self.tokens if token.special}
        by_name: dict[str, AddedToken] = {}
        by_id: dict[int, AddedToken] = {}
        for token in self.tokens:
            if not isinstance(token.content, str) or not token.content:
                raise ValueError(f"a special token is a string of at least one character, got {token.content!r}")
            if type(token.id) is not int or not 0 <= token.id < MAX_IDS:
                raise ValueError(f"the id of the special token {token.content!r} is {token.id!r}, expected an integer "
                                 f"from 0 to {MAX_IDS - 1}")
            if len(token.content) > LONGEST_NAME:
                raise ValueError(f"the special token {shown(token.content)} has {len(token.content):,} characters, "
                                 f"expected at most {LONGEST_NAME:,}")
            if any(0xD800 <= ord(char) <= 0xDFFF for char in token.content):
                raise ValueError(f"the special token {token.content!r} has a lone surrogate, which no text can hold")
            if token.content in by_name or token.id in by_id:
                raise ValueError(f"the special token {token.content!r} with id {token.id} is given twice, or shares "
                                 "its id with another")
            by_name[token.content] = by_id[token.id] = token
        if roles is None:
            found = {role: [name for name in names if name in self.ids] for role, names in ROLES.items()}
            roles = {role: names[0] for role, names in found.items() if names}
        for role, name in roles.items():
            if name not in by_name:
                raise ValueError(f"{role} is {name!r}, which is none of the special tokens {list(self.ids)}")
        self.roles = dict(roles)
        self._by_name = by_name
        self._added = frozenset(token.content for token in self.tokens if not token.special)
        self._finders: dict[Any, tuple[NameFinder, dict[str, AddedToken]]] = {}

    @classmethod
    def from_file(cls, tokens: Iterable[AddedToken], roles: Mapping[str, str] | None) -> SpecialTokens:
        """The tokens that a file lists; a role that it gives to none of them is nobody's."""
        tokens = tuple(tokens)
        names = {token.content for token in tokens}
        return cls(tokens, None if roles is None else {role: name for role, name in roles.items() if name in names})

    def role_id(self, role: str) -> int | None:
        """The id of the token that plays `role`, or None."""
        return self._by_name[self.roles[role]].id if role in self.roles else None

    def allowed(self, allowed_special: AllowedSpecial) -> frozenset[str]:
        """The set of names that `allowed_special` gives.

        Raises:
            ValueError: a name that is no special token, or a single string other than "all".
        """
        if isinstance(allowed_special, str):
            if allowed_special == "all":
                return frozenset(self.ids)
            raise ValueError(f'allowed_special is "all" or several names, got the string {allowed_special!r}; '
                             f"pass [{allowed_special!r}]")
        names = frozenset(allowed_special)
        if unknown := names - self.ids.keys():
            raise ValueError(f"allowed_special names {sorted(map(str, unknown))}, but the special tokens are "
                             f"{list(self.ids)}")
        return names

    def split(self, text: str, allowed: frozenset[str],
              normalize: Callable[[str], str] | None = None) -> Iterator[tuple[str, int | None]]:
        """Cut `text` into (plain text, None) and (name, id) of the tokens found in it; the longest name wins.

        Args:
            text: as it came, or, with `normalize`, after normalisation.
            allowed: the special tokens to find; added tokens that are not special are always found.
            normalize: find the tokens that are looked for after normalisation by this function, rather than the others;
                their names are normalised too.
        """
        finder, by_text = self._finder(allowed, normalize)
        start = 0  # of the plain text not yet given
        for name, first in finder.find(text):
            token, end = by_text[name], first + len(name)
            if token.single_word and any(map(is_word, text[first - 1:first] + text[end:end + 1])):
                continue
            plain = text[start:first]
            if plain := plain.rstrip(WHITESPACE) if token.lstrip else plain:
                yield plain, None
            yield token.content, token.id
            start = _SPACES.match(text, end).end() if token.rstrip else end  # type: ignore[union-attr]
        if start < len(text):
            yield text[start:], None

    def _is_normalized(self, name: str) -> bool:
        return self._by_name[name].normalized and not self._by_name[name].special

    def _finder(self, allowed: frozenset[str],
                normalize: Callable[[str], str] | None) -> tuple[NameFinder, dict[str, AddedToken]]:
        """What finds the tokens that `split` is asked for, and which token each text that it finds is."""
        finder = self._finders.get((allowed, normalize))
        if finder is None:
            if len(self._finders) > 100:
                self._finders.clear()
            names, wanted = allowed | self._added, normalize is not None
            by_text: dict[str, AddedToken] = {}
            for token in self.tokens:
                if token.content in names and self._is_normalized(token.content) == wanted and (
                        text := normalize(token.content) if normalize else token.content):
                    by_text.setdefault(text, token)
            finder = self._finders[allowed, normalize] = NameFinder(by_text), by_text
        return finder
