"""The two-file formats: GPT-2's own `encoder.json` + `vocab.bpe`, and the same as `vocab.json` + `merges.txt`.

The first file maps tokens, in the byte alphabet, to ids; the second lists merges, one a line, in order of rank. Neither
says how text is split (as GPT-2 does) nor which tokens are special: those are the ones that no merge makes. A
`tokenizer_config.json` beside them may say who plays which role and what goes around a text; so may the model's
`config.json`, whose type names a family of tokenizers.

Prerequisites: `hf_json.py`, `families.py`. Next: `byte_bpe.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .character_bpe import merge_of
from .families import FAMILIES
from .files import (CONFIG, MODEL_CONFIG, TWO_FILES, about, member, read_class, read_config, read_json, read_text,
                    write_text)
from .hf_json import all_added, made_by, without_added
from .special import AddedToken, SpecialTokens
from .splitter import Splitter, Stage
from .template import Template

__all__ = ["read_two_files", "write_two_files"]

_VERSION = "#version: 0.2"


def read_two_files(folder: Path, vocab_name: str, roles: Mapping[str, str] | None) -> dict[str, Any]:
    """The arguments of `ByteBPE` that `vocab_name` and its partner in `folder` give."""
    vocab_path, merges_path = folder / vocab_name, folder / TWO_FILES[vocab_name]
    vocab = read_json(vocab_path)
    if not isinstance(vocab, dict):
        raise ValueError(f"{vocab_path} holds a {type(vocab).__name__}, expected an object of tokens and ids")
    for token, token_id in vocab.items():
        if type(token_id) is not int:
            raise ValueError(f"{vocab_path}: the id of {token!r:.100} is {token_id!r:.100}, expected an integer")
    lines = [line.removesuffix("\r") for line in read_text(merges_path).split("\n")]
    merges = [about(merges_path, merge_of, line) for i, line in enumerate(lines)
              if line and not (i == 0 and line.startswith("#version"))]
    if any(right.endswith("</w>") for _, right in merges):
        raise ValueError(f"{merges_path}: words end in </w>, so this is BPE over characters, not over bytes")
    config = read_config(folder) or {}
    made = made_by(merges)
    listed = [AddedToken(token, token_id) for token, token_id in vocab.items() if token not in made]
    added = all_added(listed, vocab, made, roles, folder)
    ordinary, pairs = about(vocab_path, without_added, vocab, merges, added)
    special = about(vocab_path, SpecialTokens.from_file, added, roles)
    return {"vocab": ordinary, "merges": pairs, "special_tokens": special,
            **about(folder / CONFIG, _read_settings, config, special, read_class(folder) or "GPT2Tokenizer")}


def _read_settings(config: Mapping[str, Any], special: SpecialTokens, name: str) -> dict[str, Any]:
    """What is not in the two files: the class `name` says how a text is split, and what goes around it."""
    if name not in FAMILIES:
        raise ValueError(f"the tokenizer_class, or by {MODEL_CONFIG} the model's type, is {name!r:.100}, which is none "
                         f"of those that split as GPT-2 does: {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    second: tuple[list[str], int] | None = None
    if family.around is not None:
        before, after = ([special.roles.get(part, family.roles.get(part, part)) for part in side]
                         for side in family.around)
        if "sep_token" in family.around[1]:
            second = after, 0
    else:
        before, after = ([special.roles.get(f"{role}_token", f"a {role} token")]
                         if member(config, f"add_{role}_token", bool, False) else [] for role in ("bos", "eos"))
    return {"pattern": Splitter([Stage("gpt2", add_prefix_space=member(config, "add_prefix_space", bool, False))]),
            "template": Template.around(before, after, special.ids, second)}


def write_two_files(folder: Path, vocab_name: str, vocab: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
    """Write `vocab_name` and its partner; GPT-2's own files come out byte for byte as they were."""
    write_text(folder / vocab_name, json.dumps(dict(sorted(vocab.items(), key=lambda item: item[1]))))
    write_text(folder / TWO_FILES[vocab_name], "\n".join([_VERSION, *map(" ".join, merges)]) + "\n")
