"""The second step of a tokenizer: text -> pieces, which the model sees one by one.

A pre-tokenizer is a function of a piece and of whether the text begins with it; `PRE_TOKENIZERS` has one row for each
kind that `tokenizer.json` knows. Most find places (spaces, punctuation, digits) and then say by one of five behaviours
what becomes of them. A new kind is one function and one row.

Prerequisites: `normalizers.py`, `splitter.py`. Next: `models.py`.
Source: github.com/huggingface/tokenizers, tokenizers/src/pre_tokenizers and src/tokenizer/normalizer.rs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import regex

from .byte_alphabet import bytes_to_text
from .files import flat_steps, member
from .normalizers import pattern_of
from .older_unicode import in_set
from .patterns import compile_source
from .scripts import script_starts
from .splitter import Splitter, Stage
from .unicode_classes import WHITESPACE, without_newer

__all__ = ["BEHAVIORS", "PRE_TOKENIZERS", "PreTokenizer", "prepend_scheme", "read_pre_tokenizer"]

PreTokenizer = Callable[[str, bool], list[str]]
Places = Callable[[str], Iterable[tuple[int, int]]]

_PUNCTUATION = in_set("punctuation")
_LOW_PUNCTUATION = in_set("punctuation", below=0x10000)  # the standard library's `re` is slow with sets beyond
_WORD = regex.compile(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}"
                      r"\p{Join_Control}\p{White_Space}]+", regex.VERSION1)
_NO_SPACE = re.compile(f"[^{WHITESPACE}]+")


def read_pre_tokenizer(step: Any) -> PreTokenizer:
    """The function that a pre_tokenizer of `tokenizer.json` is, None for none; ValueError for an unknown kind."""
    steps = [_read(kind, inner) for kind, inner in flat_steps(step, "pre_tokenizer", "pretokenizers")]
    if len(steps) == 1:
        return steps[0]

    def split(text: str, first: bool) -> list[str]:
        pieces = [text] if text else []
        for one in steps:
            first = first and text.startswith(pieces[0]) if pieces else False
            pieces = [part for i, piece in enumerate(pieces) for part in one(piece, first and i == 0)]
        return pieces

    return split


def _read(kind: str, step: Mapping[str, Any]) -> PreTokenizer:
    if kind not in PRE_TOKENIZERS:
        raise ValueError(f"the pre_tokenizer {kind!r:.100} is none that can be read ({', '.join(PRE_TOKENIZERS)})")
    return PRE_TOKENIZERS[kind](step)


# -- what becomes of the places that are found ------------------------------------------------------------------------
#
# A text is runs of matches and of what lies between them: (start, end, whether it is a match), in order.

_Runs = list[tuple[int, int, bool]]


def _runs(text: str, places: Iterable[tuple[int, int]]) -> _Runs:
    runs: _Runs = []
    last = 0
    for start, end in places:
        if last < start:
            runs.append((last, start, False))
        runs.append((start, end, True))
        last = end
    return [*runs, (last, len(text), False)] if last < len(text) else runs


def _merged(runs: _Runs, joins: Callable[[bool, bool], bool]) -> _Runs:
    """The runs, of which each joins the one before it if `joins` says so of whether the two are matches."""
    merged: _Runs = []
    before = None
    for start, end, is_match in runs:
        if before is not None and joins(before, is_match):
            merged[-1] = (merged[-1][0], end, is_match)
        else:
            merged.append((start, end, is_match))
        before = is_match
    return merged


BEHAVIORS: dict[str, Callable[[_Runs], _Runs]] = {
    "Removed": lambda runs: [run for run in runs if not run[2]],
    "Isolated": lambda runs: runs,
    "Contiguous": lambda runs: _merged(runs, lambda before, now: before == now),
    "MergedWithPrevious": lambda runs: _merged(runs, lambda before, now: now and not before),
    "MergedWithNext": lambda runs: _merged(runs, lambda before, now: before and not now),
}


def _splitter(places: Places, behavior: str, invert: bool = False) -> PreTokenizer:
    if behavior not in BEHAVIORS:
        raise ValueError(f"the behavior is {behavior!r:.100}, expected one of {', '.join(BEHAVIORS)}")
    change = BEHAVIORS[behavior]

    def split(text: str, first: bool) -> list[str]:
        runs = _runs(text, places(text))
        if invert:
            runs = [(start, end, not is_match) for start, end, is_match in runs]
        return [text[start:end] for start, end, _ in change(runs) if start < end]

    return split


# -- the kinds --------------------------------------------------------------------------------------------------------


def _split(step: Mapping[str, Any]) -> PreTokenizer:
    return _splitter(compile_source(pattern_of(step)), member(step, "behavior", str),
                     member(step, "invert", bool, False))


def _finder(inside: str) -> Places:
    finditer = re.compile(f"[{inside}]").finditer
    return lambda text: [match.span() for match in finditer(text)]


def _char_delimiter(step: Mapping[str, Any]) -> PreTokenizer:
    delimiter = member(step, "delimiter", str)
    if len(delimiter) != 1:
        raise ValueError(f"the delimiter is {delimiter!r:.100}, expected one character")
    return lambda text, first: [piece for piece in text.split(delimiter) if piece]


def _digits(step: Mapping[str, Any]) -> PreTokenizer:
    finditer = regex.compile(r"\p{N}").finditer
    return _splitter(lambda text: [match.span() for match in finditer(without_newer(text))],
                     "Isolated" if member(step, "individual_digits", bool, False) else "Contiguous")


def _byte_level(step: Mapping[str, Any]) -> PreTokenizer:
    cut = Splitter([Stage("gpt2" if member(step, "use_regex", bool, True) else "",
                          add_prefix_space=member(step, "add_prefix_space", bool, True))])
    return lambda text, first: [bytes_to_text(piece.encode("utf-8")) for piece in cut(text)]


def prepend_scheme(step: Mapping[str, Any]) -> str:
    """When a Metaspace step puts its sign before a text; older files say it in another way."""
    default = "always" if member(step, "add_prefix_space", bool, True) else "never"
    scheme = member(step, "prepend_scheme", str, default)
    if scheme not in ("always", "first", "never"):
        raise ValueError(f"the prepend_scheme is {scheme!r:.100}, expected always, first or never")
    return scheme


def _metaspace(step: Mapping[str, Any]) -> PreTokenizer:
    sign, scheme = member(step, "replacement", str, "▁"), prepend_scheme(step)
    if len(sign) != 1:
        raise ValueError(f"the replacement is {sign!r:.100}, expected one character")
    findall = re.compile(f"{re.escape(sign)}?[^{re.escape(sign)}]+|{re.escape(sign)}", re.S).findall
    cut = findall if member(step, "split", bool, True) else lambda text: [text]

    def split(text: str, first: bool) -> list[str]:
        text = text.replace(" ", sign)
        if (scheme == "always" or scheme == "first" and first) and not text.startswith(sign):
            text = sign + text if text else text
        return cut(text) if text else []

    return split


def _bert(step: Mapping[str, Any]) -> PreTokenizer:
    low = re.compile(f"[^{WHITESPACE}{_LOW_PUNCTUATION}]+|[{_LOW_PUNCTUATION}]").findall
    every = re.compile(f"[^{WHITESPACE}{_PUNCTUATION}]+|[{_PUNCTUATION}]").findall
    ascii_ = re.compile(r"[0-9A-Za-z\x00-\x08\x0e-\x1f\x7f]+|[!-/:-@\[-`{-~]").findall

    def split(text: str, first: bool) -> list[str]:
        return ascii_(text) if text.isascii() else low(text) if max(text) < "\U00010000" else every(text)

    return split


def _whitespace(text: str, first: bool) -> list[str]:
    """Runs of what is part of a word, and of what is neither that nor whitespace."""
    seen = without_newer(text)
    return [text[match.start():match.end()] for match in _WORD.finditer(seen)]


def _unicode_scripts(step: Mapping[str, Any]) -> PreTokenizer:
    return lambda text, first: [text[start:end] for start, end in pairwise([*script_starts(text), len(text)])]


def _fixed_length(step: Mapping[str, Any]) -> PreTokenizer:
    length = member(step, "length", int, 5)
    if length < 1:
        raise ValueError(f"the length of the pieces is {length}, expected at least 1")
    return lambda text, first: [text[start:start + length] for start in range(0, len(text), length)]


PRE_TOKENIZERS: dict[str, Callable[[Mapping[str, Any]], PreTokenizer]] = {
    "BertPreTokenizer": _bert,
    "ByteLevel": _byte_level,
    "CharDelimiterSplit": _char_delimiter,
    "Digits": _digits,
    "FixedLength": _fixed_length,
    "Metaspace": _metaspace,
    "Punctuation": lambda step: _splitter(_finder(_PUNCTUATION), member(step, "behavior", str, "Isolated")),
    "Split": _split,
    "UnicodeScripts": _unicode_scripts,
    "Whitespace": lambda step: _whitespace,
    "WhitespaceSplit": lambda step: lambda text, first: _NO_SPACE.findall(text),
}
