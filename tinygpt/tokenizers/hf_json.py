"""Hugging Face's `tokenizer.json`, in and out, as far as byte-level BPE needs it.

The file is a pipeline: normalizer -> pre_tokenizer -> model -> post_processor, and a decoder. Each step has a "type".
The types that GPT-2, RoBERTa, BART, Llama 3, Qwen 2 and SmolLM use are read; any other is refused by its name, since
reading it halfway would give wrong ids in silence.

Read before: `splitter.py`, `special.py`, `template.py`. Read next: `gpt2_files.py`.
Source: github.com/huggingface/tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import regex

from .byte_alphabet import text_to_bytes
from .files import write_json
from .patterns import PATTERNS
from .special import AddedToken, SpecialTokens
from .splitter import Splitter, Stage
from .template import Template

__all__ = ["read_byte_bpe", "read_vocab_and_merges", "added_tokens", "vocabulary", "write_tokenizer_json", "splitter_to_json"]

_NORMAL_FORMS = ("NFC", "NFD", "NFKC", "NFKD")
_KEEP = {("Isolated", False): "all", ("Isolated", True): "all",
         ("Removed", False): "gaps", ("Removed", True): "matches"}


def read_byte_bpe(document: Any, roles: Mapping[str, str] | None) -> dict[str, Any]:
    """The arguments of `ByteBPE` that a `tokenizer.json` gives.

    Raises:
        ValueError: another kind of tokenizer, named; or whatever else is wrong with the file.
    """
    model = _get(document, "model", dict)
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind != "BPE":
        raise ValueError(f"the model is {kind!r}; only byte-level BPE can be read")
    for setting in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(setting):
            raise ValueError(f"the model has {setting} = {model[setting]!r}, which byte-level BPE does not use")
    decoder = document.get("decoder")
    if decoder is not None and _type(decoder, "decoder") != "ByteLevel":
        raise ValueError(f"the decoder is {decoder['type']!r}, not ByteLevel: this is no byte-level BPE")
    splitter = _read_splitter(document.get("pre_tokenizer"))
    added = added_tokens(document)
    vocab, merges = read_vocab_and_merges(vocabulary(document), _get(model, "merges", list), added)
    return {"vocab": vocab, "merges": merges, "special_tokens": SpecialTokens(added, roles), "pattern": splitter,
            "normal_forms": _read_normal_forms(document.get("normalizer")),
            "ignore_merges": _get(model, "ignore_merges", bool, False),
            "template": Template.from_json(document.get("post_processor"))}


def read_vocab_and_merges(vocab: Mapping[str, int], merges: Sequence[Any],
                          added: Iterable[AddedToken]) -> tuple[dict[bytes, int], list[tuple[bytes, bytes]]]:
    """Vocabulary and merges, from the byte alphabet into bytes, without the special tokens.

    A merge that would make a special token is left out, so that no plain text becomes one.
    """
    ids = {token.content: token.id for token in added}
    special = {token.content for token in added if token.special}
    for content, token_id in vocab.items():
        if ids.get(content, token_id) != token_id:
            raise ValueError(f"the added token {content!r} has the id {ids[content]}, in the vocabulary {token_id}")
    ordinary = {_to_bytes(content): token_id for content, token_id in vocab.items() if content not in special}
    pairs = []
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise ValueError(f"a merge is two tokens, got {merge!r}")
        if not special.intersection((*pair, pair[0] + pair[1])):
            pairs.append((_to_bytes(pair[0]), _to_bytes(pair[1])))
    return ordinary, pairs


def vocabulary(document: Mapping[str, Any]) -> dict[str, int]:
    """The vocabulary of a `tokenizer.json` as it is written."""
    vocab = _get(_get(document, "model", dict), "vocab", dict)
    return {token: _get(vocab, token, int) for token in vocab}


def added_tokens(document: Mapping[str, Any]) -> list[AddedToken]:
    """The added tokens of a `tokenizer.json`, by id."""
    tokens = []
    for entry in _get(document, "added_tokens", list, []):
        flags = {name: _get(entry, name, bool, False)
                 for name in ("special", "lstrip", "rstrip", "single_word", "normalized")}
        tokens.append(AddedToken(_get(entry, "content", str), _get(entry, "id", int), **flags))
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


def splitter_to_json(splitter: Splitter) -> dict[str, Any]:
    """The pre_tokenizer that cuts as `splitter` does; its last step, ByteLevel, also maps bytes to the alphabet."""
    *stages, last = splitter.stages
    if last.pattern not in ("", "gpt2") or last.keep != "all":
        stages, last = [*stages, last], Stage("")
    steps: list[dict[str, Any]] = []
    for stage in stages:
        if stage.add_prefix_space:
            raise ValueError("tokenizer.json can hold add_prefix_space in the last stage only")
        behavior, invert = next(key for key, keep in _KEEP.items() if keep == stage.keep)
        steps.append({"type": "Split", "pattern": {"Regex": PATTERNS.get(stage.pattern, stage.pattern)},
                      "behavior": behavior, "invert": invert})
    steps.append({"type": "ByteLevel", "add_prefix_space": last.add_prefix_space, "trim_offsets": True,
                  "use_regex": last.pattern == "gpt2"})
    return steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}


def _read_splitter(step: Any) -> Splitter:
    steps = _flat(step, "pre_tokenizer", "pretokenizers")
    if not steps or steps[-1][0] != "ByteLevel":
        names = [kind for kind, _ in steps]
        raise ValueError(f"the pre_tokenizer is {names}, which does not end in ByteLevel: this is no byte-level BPE")
    stages = [_read_stage(kind, step) for kind, step in steps]
    return Splitter([stage for stage in stages if stage.pattern or stage.add_prefix_space] or [Stage("")])


def _read_stage(kind: str, step: dict[str, Any]) -> Stage:
    if kind == "ByteLevel":
        return Stage("gpt2" if _get(step, "use_regex", bool, True) else "",
                     add_prefix_space=_get(step, "add_prefix_space", bool, True))
    if kind == "Digits":
        return Stage(r"\p{N}" if _get(step, "individual_digits", bool, False) else r"\p{N}+")
    if kind == "Split":
        pattern = _get(step, "pattern", dict)
        source = _get(pattern, "Regex", str) if "Regex" in pattern else regex.escape(_get(pattern, "String", str))
        cut = (_get(step, "behavior", str), _get(step, "invert", bool, False))
        if cut not in _KEEP:
            raise ValueError(f"the pre_tokenizer Split has the behavior {cut[0]!r}; only Isolated and Removed are read")
        names = {pattern: name for name, pattern in PATTERNS.items()}
        return Stage(names.get(source, source), _KEEP[cut])  # type: ignore[arg-type]
    raise ValueError(f"the pre_tokenizer {kind!r} is none that byte-level BPE uses (ByteLevel, Split, Digits)")


def _read_normal_forms(step: Any) -> tuple[str, ...]:
    forms = tuple(kind for kind, _ in _flat(step, "normalizer", "normalizers"))
    if unknown := [form for form in forms if form not in _NORMAL_FORMS]:
        raise ValueError(f"the normalizer {unknown[0]!r} is none that byte-level BPE uses ({', '.join(_NORMAL_FORMS)})")
    return forms


def _flat(step: Any, what: str, children: str) -> list[tuple[str, dict[str, Any]]]:
    """The steps of a pipeline in order, each with its type, Sequences opened."""
    if step is None:
        return []
    kind = _type(step, what)
    if kind == "Sequence":
        return [inner for child in _get(step, children, list) for inner in _flat(child, what, children)]
    return [(kind, step)]


def _type(step: Any, what: str) -> str:
    if not isinstance(step, dict) or not isinstance(step.get("type"), str):
        raise ValueError(f"the {what} is {step!r:.100}, expected an object with a type")
    return step["type"]


def _get(holder: Any, key: str, kind: type, *default: Any) -> Any:
    """`holder[key]`, of exactly that type: a JSON true is no integer."""
    if not isinstance(holder, Mapping):
        raise ValueError(f"expected an object with {key!r}, got {holder!r:.100}")
    value = holder.get(key, *default)
    if value is None and default:
        return default[0]
    if type(value) is not kind:
        raise ValueError(f"{key!r} is {value!r:.100}, expected {kind.__name__}")
    return value


def _to_bytes(token: str) -> bytes:
    try:
        return text_to_bytes(token)
    except KeyError:
        raise ValueError(f"the token {token!r} is not in the byte alphabet: this is no byte-level BPE") from None
