"""Special tokens: their ids, the roles they play, and how a text that is allowed to contain them is cut.

Read before: nothing. Read next: `base.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

__all__ = ["SpecialTokens", "ROLES"]

# Who plays which role, by the names that public tokenizers use; the first name present wins.
ROLES = {
    "bos_token": ("<|begin_of_text|>", "<s>", "<bos>", "[CLS]", "<|endoftext|>"),
    "eos_token": ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[SEP]"),
    "pad_token": ("<|pad|>", "<pad>", "[PAD]"),
    "unk_token": ("<|unk|>", "<unk>", "[UNK]"),
    "mask_token": ("<|mask|>", "<mask>", "[MASK]"),
    "cls_token": ("[CLS]",),
    "sep_token": ("[SEP]",),
}


class SpecialTokens:
    """Names and ids of special tokens.

    Args:
        ids: name → id.
        roles: role ("eos_token", …) → name; None guesses from the well-known names of `ROLES`.
    """

    def __init__(self, ids: Mapping[str, int] | None = None, roles: Mapping[str, str] | None = None) -> None:
        self.ids = dict(ids or {})
        self.names = {token_id: name for name, token_id in self.ids.items()}
        if "" in self.ids:
            raise ValueError("a special token cannot be the empty string")
        if roles is None:
            guesses = {role: next((name for name in names if name in self.ids), None) for role, names in ROLES.items()}
            roles = {role: name for role, name in guesses.items() if name is not None}
        for role, name in roles.items():
            if name not in self.ids:
                raise ValueError(f"{role} is {name!r}, which is none of the special tokens {list(self.ids)}")
        self.roles = dict(roles)

    def role_id(self, role: str) -> int | None:
        """The id of the token that plays `role`, or None."""
        return self.ids[self.roles[role]] if role in self.roles else None

    def allowed(self, allowed_special: Iterable[str] | Literal["all"]) -> frozenset[str]:
        """The set that `allowed_special` names; an unknown name is a ValueError."""
        if allowed_special == "all":
            return frozenset(self.ids)
        if isinstance(allowed_special, str):
            raise ValueError(f'allowed_special is "all" or several names, got the string {allowed_special!r}')
        names = frozenset(allowed_special)
        if unknown := sorted(names - self.ids.keys()):
            raise ValueError(f"allowed_special names {unknown}, but the special tokens are {list(self.ids)}")
        return names

    def split(self, text: str, allowed: frozenset[str]) -> Iterator[tuple[str, int | None]]:
        """Cut `text` into (plain text, None) and (name, id); where names overlap the longest wins."""
        if not allowed:
            yield text, None
            return
        longest_first = sorted(allowed, key=len, reverse=True)
        for i, part in enumerate(re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)):
            if part:
                yield part, self.ids[part] if i % 2 else None
