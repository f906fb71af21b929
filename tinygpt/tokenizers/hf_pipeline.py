"""The first two steps of `tokenizer.json`: the normalizer and the pre_tokenizer, between JSON and `Splitter`.

Read are the types that GPT-2, RoBERTa, BART, Llama 3, Qwen 2 and SmolLM use: Unicode normal forms; ByteLevel, which
splits as GPT-2 does and writes bytes in the byte alphabet; Split; Digits; and Sequences of them.

Prerequisites: `splitter.py`, `files.py`. Next: `hf_json.py`.
"""

from __future__ import annotations

from typing import Any

import regex

from .files import flat_steps, member
from .patterns import PATTERNS, name_of
from .splitter import Splitter, Stage

__all__ = ["NORMAL_FORMS", "read_normal_forms", "read_splitter", "splitter_to_json"]

NORMAL_FORMS = ("NFC", "NFD", "NFKC", "NFKD")
_KEEP = {("Isolated", False): "all", ("Isolated", True): "all",
         ("Removed", False): "gaps", ("Removed", True): "matches"}


def read_normal_forms(step: Any) -> tuple[str, ...]:
    """The normal forms that a normalizer applies; ValueError for any other kind."""
    forms = tuple(kind for kind, _ in flat_steps(step, "normalizer", "normalizers"))
    if unknown := [form for form in forms if form not in NORMAL_FORMS]:
        raise ValueError(f"the normalizer {unknown[0]!r} is none that byte-level BPE uses ({', '.join(NORMAL_FORMS)})")
    return forms


def read_splitter(step: Any) -> Splitter:
    """The splitter that cuts as a pre_tokenizer does; ValueError for a kind that no byte-level BPE has."""
    steps = flat_steps(step, "pre_tokenizer", "pretokenizers")
    kinds = [kind for kind, _ in steps]
    if kinds[-1:] != ["ByteLevel"] or "ByteLevel" in kinds[:-1]:
        raise ValueError(f"the pre_tokenizer is {kinds!r:.300}, which does not end in one ByteLevel: this is no "
                         "byte-level BPE")
    stages = [_read_stage(kind, step) for kind, step in steps]
    return Splitter([stage for stage in stages if stage.pattern or stage.add_prefix_space] or [Stage("")])


def _read_stage(kind: str, step: dict[str, Any]) -> Stage:
    if kind == "ByteLevel":
        return Stage("gpt2" if member(step, "use_regex", bool, True) else "",
                     add_prefix_space=member(step, "add_prefix_space", bool, True))
    if kind == "Digits":
        return Stage(r"\p{N}" if member(step, "individual_digits", bool, False) else r"\p{N}+")
    if kind == "Split":
        pattern = member(step, "pattern", dict)
        source = member(pattern, "Regex", str) if "Regex" in pattern else regex.escape(member(pattern, "String", str))
        cut = (member(step, "behavior", str), member(step, "invert", bool, False))
        if cut not in _KEEP:
            raise ValueError(f"the pre_tokenizer Split has the behavior {cut[0]!r}; only Isolated and Removed are read")
        own = f"(?:{source})" if source in PATTERNS else source  # a regular expression that reads like a name
        return Stage(name_of(own), _KEEP[cut])  # type: ignore[arg-type]
    raise ValueError(f"the pre_tokenizer {kind!r} is none that byte-level BPE uses (ByteLevel, Split, Digits)")


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
