"""Hugging Face's `tokenizer.json`, in and out, as far as byte-level BPE needs it.

The file is a pipeline: normalizer -> pre_tokenizer -> model -> post_processor, and a decoder. Each step has a "type";
one that byte-level BPE does not use is refused by its name, since reading it halfway would give wrong ids in silence.

JSON holds text, and a token can be any bytes. So GPT-2 writes tokens in an alphabet with a printable character for each
of the 256 bytes. 188 bytes are printable Latin-1 characters and stand for themselves; the other 68 (controls, space,
0x7F–0xA0, 0xAD) are moved to U+0100 and up, so space is "Ġ" and newline is "Ċ". Bytes are numbered as these characters
sort: that is `BYTE_ORDER`.

Prerequisites: `hf_pipeline.py`, `template.py`, `added_tokens.py`. Next: `gpt2_files.py`.
Sources: github.com/huggingface/tokenizers; `bytes_to_unicode` of github.com/openai/gpt-2 (src/encoder.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .added_tokens import added_tokens, further_tokens, special_names
from .files import kind_of, member, model_type, write_json
from .hf_pipeline import read_normal_forms, read_splitter
from .special import AddedToken, SpecialTokens
from .template import Template
from .textbook_bpe import BYTE_ORDER

__all__ = ["BYTE_TO_CHAR", "CHAR_TO_BYTE", "all_added", "bpe_model", "bytes_to_text", "made_by", "merge_of",
           "read_byte_bpe", "text_to_bytes", "vocabulary", "without_added", "write_tokenizer_json"]

_PRINTABLE, _MOVED = BYTE_ORDER[:188], BYTE_ORDER[188:]
BYTE_TO_CHAR = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(_MOVED)}
CHAR_TO_BYTE = {char: byte for byte, char in BYTE_TO_CHAR.items()}


def bytes_to_text(data: bytes) -> str:
    """Bytes written in the alphabet: `b" the"` is "Ġthe"."""
    return "".join([BYTE_TO_CHAR[byte] for byte in data])


def text_to_bytes(text: str) -> bytes:
    """The inverse of `bytes_to_text`; KeyError where `text` has a character outside the alphabet."""
    return bytes([CHAR_TO_BYTE[char] for char in text])


def read_byte_bpe(document: Any, roles: Mapping[str, str] | None, folder: Path) -> dict[str, Any]:
    """The arguments of `ByteBPE` that a `tokenizer.json` gives, with the files beside it.

    Args:
        document: what the file holds.
        roles: who plays which role, by the other files; a name that the vocabulary lacks plays none.
        folder: where the other files are.

    Raises:
        ValueError: another kind of tokenizer, named; or whatever else is wrong with the file.
    """
    kind, model = model_type(document), document["model"]
    if kind != "BPE":
        raise ValueError(f"the model is {kind!r:.100}; only byte-level BPE can be read")
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(setting):
            raise ValueError(f"the model has {setting} = {model[setting]!r:.100}, which byte-level BPE does not use")
    decoder = document.get("decoder")
    if decoder is not None and (name := kind_of(decoder, "decoder")) != "ByteLevel":
        raise ValueError(f"the decoder is {name!r}, not ByteLevel: this is no byte-level BPE")
    splitter = read_splitter(document.get("pre_tokenizer"))
    vocab, merges = vocabulary(document), [merge_of(merge) for merge in member(model, "merges", list)]
    added = all_added(added_tokens(document), vocab, made_by(merges), roles, folder)
    ordinary, pairs = without_added(vocab, merges, added)
    return {"vocab": ordinary, "merges": pairs, "special_tokens": SpecialTokens.from_file(added, roles),
            "pattern": splitter, "normal_forms": read_normal_forms(document.get("normalizer")),
            "ignore_merges": member(model, "ignore_merges", bool, False),
            "template": Template.from_json(document.get("post_processor"))}


def all_added(listed: Sequence[AddedToken], vocab: Mapping[str, int], made: set[str], roles: Mapping[str, str] | None,
              folder: Path) -> list[AddedToken]:
    """The added tokens of a folder: those `listed` with the vocabulary, and those that only other files name.

    Who plays a role is special, and so is who a file calls special, even where it has no entry of its own. A byte is
    not: the character that stands for it in the vocabulary is ordinary text as well, and without it no text with that
    byte could be written. It may play a role all the same.

    Args:
        listed: the tokens that come with the vocabulary.
        vocab, made: the vocabulary, and the part of it that ordinary text can become.
        roles: who plays which role.
        folder: where the other files are.
    """
    known = {token.content: token for token in listed}
    known |= {token.content: token for token in further_tokens(folder, roles)}
    if len(known) < len(listed):
        return list(listed)  # a name given twice, which is refused later
    names = set((roles or {}).values())
    bytes_ = vocab.keys() & CHAR_TO_BYTE.keys()
    found = [replace(token, special=(token.special or token.content in names) and token.content not in bytes_)
             for token in known.values()]
    names = (names | special_names(folder)) - known.keys() - made
    return [*found, *(AddedToken(name, vocab[name]) for name in sorted(names & vocab.keys()))]


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


def bpe_model(vocab: Mapping[str, int], merges: Sequence[tuple[str, str]],
              ignore_merges: bool = False) -> dict[str, Any]:
    """The model step of a BPE tokenizer; `vocab` and `merges` as the file has them, special tokens included."""
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": ignore_merges,
            "vocab": dict(sorted(vocab.items(), key=lambda item: item[1])), "merges": [list(pair) for pair in merges]}


def write_tokenizer_json(path: Path, model: dict[str, Any], added: Iterable[AddedToken],
                         post_processor: dict[str, Any] | None, *, decoder: dict[str, Any],
                         pre_tokenizer: dict[str, Any] | None = None, normal_forms: Sequence[str] = ()) -> None:
    """Write a `tokenizer.json` of the steps given."""
    normalizers = [{"type": form} for form in normal_forms]
    write_json(path, {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": token.id, "content": token.content, "single_word": token.single_word,
                          "lstrip": token.lstrip, "rstrip": token.rstrip, "normalized": token.normalized,
                          "special": token.special} for token in sorted(added, key=lambda token: token.id)],
        "normalizer": {"type": "Sequence", "normalizers": normalizers} if normalizers else None,
        "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": decoder, "model": model})
