"""Hugging Face's `tokenizer.json`, in and out, as far as byte-level BPE needs it.

The file is a pipeline: normalizer -> pre_tokenizer -> model -> post_processor, and a decoder. Each step has a "type";
one that byte-level BPE does not use is refused by its name, since reading it halfway would give wrong ids in silence.

Prerequisites: `hf_pipeline.py`, `template.py`. Next: `gpt2_files.py`.
Source: github.com/huggingface/tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .byte_alphabet import CHAR_TO_BYTE, text_to_bytes
from .files import kind_of, member, write_json
from .hf_pipeline import read_normal_forms, read_splitter
from .special import AddedToken, SpecialTokens
from .template import Template

__all__ = ["read_byte_bpe", "merge_of", "made_by", "without_added", "vocabulary", "added_tokens",
           "write_tokenizer_json"]


def read_byte_bpe(document: Any, roles: Mapping[str, str] | None) -> dict[str, Any]:
    """The arguments of `ByteBPE` that a `tokenizer.json` gives.

    Args:
        document: what the file holds.
        roles: who plays which role, by `tokenizer_config.json`; a name that the vocabulary lacks plays none.

    Raises:
        ValueError: another kind of tokenizer, named; or whatever else is wrong with the file.
    """
    model = member(document, "model", dict)
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind != "BPE":
        raise ValueError(f"the model is {kind!r:.100}; only byte-level BPE can be read")
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(setting):
            raise ValueError(f"the model has {setting} = {model[setting]!r:.100}, which byte-level BPE does not use")
    decoder = document.get("decoder")
    if decoder is not None and (name := kind_of(decoder, "decoder")) != "ByteLevel":
        raise ValueError(f"the decoder is {name!r}, not ByteLevel: this is no byte-level BPE")
    splitter = read_splitter(document.get("pre_tokenizer"))
    vocab, added = vocabulary(document), added_tokens(document)
    merges = [merge_of(merge) for merge in member(model, "merges", list)]
    if roles:  # who plays a role is special, even where only tokenizer_config.json says so
        names = set(roles.values())
        added = [replace(token, special=token.special or token.content in names) for token in added]
        names -= {token.content for token in added} | made_by(merges)
        added += [AddedToken(name, vocab[name]) for name in sorted(names & vocab.keys())]
    ordinary, pairs = without_added(vocab, merges, added)
    return {"vocab": ordinary, "merges": pairs, "special_tokens": SpecialTokens.from_file(added, roles),
            "pattern": splitter, "normal_forms": read_normal_forms(document.get("normalizer")),
            "ignore_merges": member(model, "ignore_merges", bool, False),
            "template": Template.from_json(document.get("post_processor"))}


def merge_of(entry: Any) -> tuple[str, str]:
    """A merge, which files spell "a b" or ["a", "b"]."""
    pair = entry.split(" ") if isinstance(entry, str) else entry
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        raise ValueError(f"a merge is two tokens, got {entry!r:.100}")
    return pair[0], pair[1]


def made_by(merges: Iterable[tuple[str, str]]) -> set[str]:
    """The tokens that ordinary text can become: single bytes, and what merges make."""
    return {left + right for left, right in merges} | CHAR_TO_BYTE.keys()


def without_added(vocab: Mapping[str, int], merges: Sequence[tuple[str, str]],
                  added: Sequence[AddedToken]) -> tuple[dict[bytes, int], list[tuple[bytes, bytes]]]:
    """Vocabulary and merges of ordinary text, from the byte alphabet into bytes.

    A merge that would make a special token is left out, so that no plain text becomes one. Added words that a merge
    makes, or that are a byte, are ordinary tokens as well.
    """
    made = made_by(merges)
    special = {token.content for token in added if token.special}
    only_added = special | {token.content for token in added if token.content not in made}
    contents = {token_id: content for content, token_id in vocab.items()}
    for token in added:
        if vocab.get(token.content, token.id) != token.id or contents.get(token.id, token.content) != token.content:
            raise ValueError(f"the added token {token.content!r} has the id {token.id}, the vocabulary says otherwise")
    in_bytes = {content: _to_bytes(content) for content in vocab if content not in only_added}
    pairs = []
    for left, right in merges:
        if not special.intersection((left, right, left + right)):
            if left not in in_bytes or right not in in_bytes:
                raise ValueError(f"the merge of {left!r:.100} and {right!r:.100} needs a token that is not there")
            pairs.append((in_bytes[left], in_bytes[right]))
    return {token: vocab[content] for content, token in in_bytes.items()}, pairs


def _to_bytes(token: str) -> bytes:
    try:
        return text_to_bytes(token)
    except KeyError:
        raise ValueError(f"the token {token!r:.100} is not in the byte alphabet: this is no byte-level BPE") from None


def vocabulary(document: Mapping[str, Any]) -> dict[str, int]:
    """The vocabulary of a `tokenizer.json` as it is written."""
    vocab = member(member(document, "model", dict), "vocab", dict)
    return {token: member(vocab, token, int) for token in vocab}


def added_tokens(document: Mapping[str, Any]) -> list[AddedToken]:
    """The added tokens of a `tokenizer.json`, by id."""
    tokens = []
    for entry in member(document, "added_tokens", list, []):
        flags = {name: member(entry, name, bool, False)
                 for name in ("special", "lstrip", "rstrip", "single_word", "normalized")}
        tokens.append(AddedToken(member(entry, "content", str), member(entry, "id", int), **flags))
    return sorted(tokens, key=lambda token: token.id)


def write_tokenizer_json(path: Path, vocab: Mapping[str, int], merges: Sequence[tuple[str, str]],
                         added: Iterable[AddedToken], post_processor: dict[str, Any] | None, *,
                         decoder: dict[str, Any], pre_tokenizer: dict[str, Any] | None = None,
                         normal_forms: Sequence[str] = (), ignore_merges: bool = False) -> None:
    """Write a `tokenizer.json`; `vocab` and `merges` are as the file has them, special tokens included."""
    normalizers = [{"type": form} for form in normal_forms]
    write_json(path, {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": token.id, "content": token.content, "single_word": token.single_word,
                          "lstrip": token.lstrip, "rstrip": token.rstrip, "normalized": token.normalized,
                          "special": token.special} for token in sorted(added, key=lambda token: token.id)],
        "normalizer": {"type": "Sequence", "normalizers": normalizers} if normalizers else None,
        "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": decoder,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": ignore_merges,
                  "vocab": dict(sorted(vocab.items(), key=lambda item: item[1])),
                  "merges": [list(pair) for pair in merges]}})
