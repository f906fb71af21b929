"""Hugging Face's `tokenizer.json`, in and out, as far as byte-level BPE needs it.

The file is a pipeline: normalizer -> pre_tokenizer -> model -> post_processor, and a decoder. Each step has a "type";
one that byte-level BPE does not use is refused by its name, since reading it halfway would give wrong ids in silence.

Prerequisites: `hf_pipeline.py`, `template.py`, `added_tokens.py`. Next: `gpt2_files.py`.
Source: github.com/huggingface/tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from .added_tokens import added_tokens, further_tokens, special_names
from .byte_alphabet import CHAR_TO_BYTE, text_to_bytes
from .character_bpe import merge_of
from .files import flat_steps, kind_of, member, model_type, write_json
from .hf_pipeline import NORMAL_FORMS, read_normal_forms, read_splitter
from .special import AddedToken, SpecialTokens
from .template import Template

__all__ = ["UNUSED", "added_of_folder", "all_added", "bpe_model", "is_byte_bpe", "made_by", "read_byte_bpe",
           "vocabulary", "without_added", "write_tokenizer_json"]

UNUSED = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")  # by byte-level BPE


def is_byte_bpe(document: Any) -> bool:
    """Whether a `tokenizer.json` of BPE has the steps, and only those, that `ByteBPE` takes.

    Others that end in the byte alphabet, such as Falcon's, which splits once more behind it, are for `pipeline.py`.
    """
    try:
        steps = flat_steps(document.get("pre_tokenizer"), "pre_tokenizer", "pretokenizers")
        normalizers = flat_steps(document.get("normalizer"), "normalizer", "normalizers")
        decoders = flat_steps(document.get("decoder"), "decoder", "decoders")
    except (ValueError, RecursionError):
        return False
    *others, last = [kind for kind, _ in steps] or [""]
    return (last == "ByteLevel" and set(others) <= {"Split", "Digits"}
            and all(step.get("behavior") in (None, "Isolated", "Removed") for _, step in steps)
            and {kind for kind, _ in normalizers} <= set(NORMAL_FORMS) and [kind for kind, _ in decoders] in (
                [], ["ByteLevel"]) and not any(document["model"].get(setting) for setting in UNUSED))


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
    for setting in UNUSED:
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


def added_of_folder(document: Any, vocab: Mapping[str, int], roles: Mapping[str, str] | None,
                    folder: Path) -> list[AddedToken]:
    """The added tokens of a `tokenizer.json` of any kind, and of the files beside it."""
    return all_added(added_tokens(document), vocab, set(), roles, folder, bytes_=set())


def all_added(listed: Sequence[AddedToken], vocab: Mapping[str, int], made: set[str], roles: Mapping[str, str] | None,
              folder: Path, bytes_: Set[str] = CHAR_TO_BYTE.keys()) -> list[AddedToken]:
    """The added tokens of a folder: those `listed` with the vocabulary, and those that only other files name.

    Who plays a role is special, and so is who a file calls special, even where it has no entry of its own. A byte is
    not: the character that stands for it in the vocabulary is ordinary text as well, and without it no text with that
    byte could be written. It may play a role all the same.

    Args:
        listed: the tokens that come with the vocabulary.
        vocab, made: the vocabulary, and the part of it that ordinary text can become.
        roles: who plays which role.
        folder: where the other files are.
        bytes_: the characters that stand for bytes in the vocabulary.
    """
    known = {token.content: token for token in listed}
    known |= {token.content: token for token in further_tokens(folder, roles)}
    if len(known) < len(listed):
        return list(listed)  # a name given twice, which is refused later
    names = set((roles or {}).values())
    bytes_ = vocab.keys() & bytes_
    found = [replace(token, special=(token.special or token.content in names) and token.content not in bytes_)
             for token in known.values()]
    names = (names | special_names(folder)) - known.keys() - made
    return [*found, *(AddedToken(name, vocab[name]) for name in sorted(names & vocab.keys()))]


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
                         post_processor: dict[str, Any] | None, *, decoder: dict[str, Any] | None,
                         pre_tokenizer: dict[str, Any] | None = None,
                         normalizer: dict[str, Any] | None = None) -> None:
    """Write a `tokenizer.json` of the steps given."""
    write_json(path, {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": token.id, "content": token.content, "single_word": token.single_word,
                          "lstrip": token.lstrip, "rstrip": token.rstrip, "normalized": token.normalized,
                          "special": token.special} for token in sorted(added, key=lambda token: token.id)],
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post_processor,
        "decoder": decoder, "model": model})
