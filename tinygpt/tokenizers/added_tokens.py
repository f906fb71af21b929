"""The added tokens of a folder, from the files that may list them.

`tokenizer.json` has a list of its own. `tokenizer_config.json` may have another, `added_tokens_decoder`, with further
tokens and the settings that hold; older folders have an `added_tokens.json` of names and ids in its stead. Names of
special tokens without ids stand in `additional_special_tokens`.

Prerequisites: `files.py`. Next: `hf_json.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import ADDED, CONFIG, ROLES_MAP, about, member, read_config
from .special import ROLES, AddedToken

__all__ = ["added_tokens", "further_tokens", "special_names"]

_SETTINGS = ("special", "lstrip", "rstrip", "single_word", "normalized")
_WELL_KNOWN = {name for names in ROLES.values() for name in names}


def added_tokens(document: Mapping[str, Any]) -> list[AddedToken]:
    """The added tokens of a `tokenizer.json`, by id."""
    tokens = []
    for entry in member(document, "added_tokens", list, []):
        settings = {name: member(entry, name, bool, False) for name in _SETTINGS}
        tokens.append(AddedToken(member(entry, "content", str), member(entry, "id", int), **settings))
    return sorted(tokens, key=lambda token: token.id)


def further_tokens(folder: Path, roles: Mapping[str, str] | None) -> list[AddedToken]:
    """The added tokens that a folder lists beside its vocabulary: where `tokenizer.json` has them too, these hold.

    Args:
        folder: where the files are.
        roles: who plays which role, for `added_tokens.json`, which does not say what is special.
    """
    config = read_config(folder) or {}
    if "added_tokens_decoder" in config:
        return about(folder / CONFIG, _decoder_tokens, config)
    names = special_names(folder) | (_WELL_KNOWN if roles is None else set(roles.values()))
    return about(folder / ADDED, _numbered_names, read_config(folder, ADDED) or {}, names)


def _decoder_tokens(config: Mapping[str, Any]) -> list[AddedToken]:
    entries = member(config, "added_tokens_decoder", dict, {})
    return added_tokens({"added_tokens": [{"id": int(token_id) if token_id.isdecimal() else token_id, **entry}
                                          for token_id, entry in entries.items() if isinstance(entry, dict)]})


def _numbered_names(entries: Mapping[str, Any], special: set[str]) -> list[AddedToken]:
    return [AddedToken(name, member(entries, name, int), special=name in special, normalized=name not in special)
            for name in entries]


def special_names(folder: Path) -> set[str]:
    """The names that a folder gives as special without a role."""
    found: set[str] = set()
    for file in (CONFIG, ROLES_MAP):
        config = read_config(folder, file) or {}
        for key in ("additional_special_tokens", "extra_special_tokens"):
            entries = config.get(key) or []
            entries = entries.values() if isinstance(entries, dict) else entries
            if not isinstance(entries, (list, type({}.values()))):
                raise ValueError(f"{folder / file}: {key} is {entries!r:.100}, expected a list of names")
            for entry in entries:
                name = entry.get("content") if isinstance(entry, dict) else entry
                if not isinstance(name, str):
                    raise ValueError(f"{folder / file}: {key} holds {entry!r:.100}, expected the token's text")
                found.add(name)
    return found
