"""The first step of a tokenizer: text -> text. Case, accents, Unicode normal forms, spaces written as signs.

A normalizer is a function; `NORMALIZERS` has one row for each kind that `tokenizer.json` knows, which makes the
function out of what the file says. A new kind is one function and one row.

Prerequisites: `files.py`, `patterns.py`, `older_unicode.py`, `charsmap.py`. Next: `pre_tokenizers.py`.
Source: github.com/huggingface/tokenizers, tokenizers/src/normalizers.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .byte_alphabet import bytes_to_text
from .charsmap import read_charsmap
from .files import flat_steps, member
from .older_unicode import in_set, removal
from .patterns import compile_source
from .unicode_classes import WHITESPACE

__all__ = ["NORMALIZERS", "Normalizer", "pattern_of", "read_normalizer", "replacer"]

Normalizer = Callable[[str], str]

_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f"
                      "\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f]")
_CONTROLS = re.compile(f"[{in_set('controls')}]+")
_SPACES = re.compile(f"[{WHITESPACE}]")
_NMT = {**dict.fromkeys([*range(1, 9), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F]),
        **dict.fromkeys([9, 10, 12, 13, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD], " ")}


def read_normalizer(step: Any) -> Normalizer:
    """The function that a normalizer of `tokenizer.json` is, None for none; ValueError for an unknown kind."""
    steps = [_read(kind, inner) for kind, inner in flat_steps(step, "normalizer", "normalizers")]
    if len(steps) == 1:
        return steps[0]

    def normalize(text: str) -> str:
        for one in steps:
            text = one(text)
        return text

    return normalize


def _read(kind: str, step: Mapping[str, Any]) -> Normalizer:
    if kind not in NORMALIZERS:
        raise ValueError(f"the normalizer {kind!r:.100} is none that can be read ({', '.join(NORMALIZERS)})")
    return NORMALIZERS[kind](step)


def lowered(text: str) -> str:
    """Lower case, each character by itself: a sigma at the end of a word is one like any other."""
    return "".join(map(str.lower, text)) if "Σ" in text else text.lower()


def pattern_of(step: Mapping[str, Any]) -> str:
    """The pattern of a step as a regular expression: one that it gives, or its string, taken as it is."""
    pattern = member(step, "pattern", dict)
    return member(pattern, "Regex", str) if "Regex" in pattern else re.escape(member(pattern, "String", str))


def replacer(step: Mapping[str, Any]) -> Normalizer:
    """Replace what a pattern matches by a content that is taken as it is."""
    content, pattern = member(step, "content", str), member(step, "pattern", dict)
    if "String" in pattern:
        old = member(pattern, "String", str)
        return (lambda text: text.replace(old, content)) if old else str
    places = compile_source(member(pattern, "Regex", str))

    def replace(text: str) -> str:
        parts, last = [], 0
        for start, end in places(text):
            parts += [text[last:start], content]
            last = end
        return "".join([*parts, text[last:]])

    return replace


def _bert(step: Mapping[str, Any]) -> Normalizer:
    clean, chinese = member(step, "clean_text", bool, True), member(step, "handle_chinese_chars", bool, True)
    lower = member(step, "lowercase", bool, True)
    strip = member(step, "strip_accents", bool, lower)

    def normalize(text: str) -> str:
        if clean:
            text = _SPACES.sub(" ", _CONTROLS.sub("", text.replace("\0", "")))
        if not text.isascii():
            if chinese:
                text = _CHINESE.sub(r" \g<0> ", text)
            if strip:
                text = unicodedata.normalize("NFD", text).translate(removal("accents"))
        return lowered(text) if lower else text

    return normalize


def _strip(step: Mapping[str, Any]) -> Normalizer:
    left, right = member(step, "strip_left", bool, True), member(step, "strip_right", bool, True)
    if left and right:
        return lambda text: text.strip(WHITESPACE)
    return lambda text: text.lstrip(WHITESPACE) if left else text.rstrip(WHITESPACE) if right else text


def _prepend(step: Mapping[str, Any]) -> Normalizer:
    before = member(step, "prepend", str)
    return lambda text: before + text if text else text


def _precompiled(step: Mapping[str, Any]) -> Normalizer:
    try:
        data = base64.b64decode(member(step, "precompiled_charsmap", str, ""), validate=True)
    except binascii.Error as error:
        raise ValueError(f"the precompiled_charsmap is not base64: {error}") from None
    return read_charsmap(data).by_grapheme if data else str


NORMALIZERS: dict[str, Callable[[Mapping[str, Any]], Normalizer]] = {
    **{form: lambda step, form=form: partial(unicodedata.normalize, form)  # type: ignore[misc]
       for form in ("NFC", "NFD", "NFKC", "NFKD")},
    "Lowercase": lambda step: lowered,
    "StripAccents": lambda step: lambda text: text.translate(removal("marks")),
    "Strip": _strip,
    "Prepend": _prepend,
    "Replace": replacer,
    "BertNormalizer": _bert,
    "Nmt": lambda step: lambda text: text.translate(_NMT),
    "Precompiled": _precompiled,
    "ByteLevel": lambda step: lambda text: bytes_to_text(text.encode("utf-8")),
}
