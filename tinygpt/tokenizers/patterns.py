"""Split patterns: how a text is cut into pieces before any merge, so that no token spans two words.

Each pattern is a list of alternatives, tried in order: contractions, letters with the space before them, digits,
punctuation, and whitespace of which the last space is left to the next word (`\\s+(?!\\S)`).

Prerequisites: `unicode_classes.py`, `oniguruma.py`. Next: `splitter.py`, which applies them.
Sources: GPT-2 (github.com/openai/gpt-2, src/encoder.py); cl100k (GPT-4) and o200k (GPT-4o) as tiktoken has them;
Llama 3 and Qwen 2 as their `tokenizer.json` has them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import cache

import regex

from .oniguruma import translate
from .unicode_classes import WHITESPACE, ranges_of, without_newer

__all__ = ["PATTERNS", "name_of", "compile_pattern", "compile_portable", "compile_source", "FASTER", "DIGITS"]

_LETTERS_IN_CASES = (  # o200k keeps "camelCase" as "camel", "Case", and takes the contraction along
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?")
_LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
           r"\s+(?!\S)|\s+")

PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    # tiktoken writes this one with possessive quantifiers, which not every engine reads alike.
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\Z|"
              r"\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": "|".join([*_LETTERS_IN_CASES, r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)",
                       r"\s+"]),
    "llama3": _LLAMA3,
    "qwen2": _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"),
}

# Equal to the pattern of the same name, but `re` gets through it faster: an optional space costs more than a choice,
# and letters, which are most of a text, come first (contractions need only come before other punctuation).
FASTER = {"gpt2": r" \p{L}+|\p{L}+|'(?:[sdmt]|ll|ve|re)| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"}
DIGITS = (r"\p{N}", r"\p{N}+")  # set digits apart, one by one or together, before another pattern cuts


def name_of(pattern: str) -> str:
    """The name of a regular expression that is written as in `PATTERNS`; any other, and a name, as it is."""
    if not isinstance(pattern, str):
        raise TypeError(f"pattern is a str: one of {list(PATTERNS)} or a regular expression; got {pattern!r}")
    return next((name for name, source in PATTERNS.items() if source == pattern), pattern)


def compile_pattern(pattern: str) -> Callable[[str], list[tuple[int, int]]]:
    """What a pattern matches in a text: the places where each match begins and ends, in order.

    Args:
        pattern: a name in `PATTERNS`, or a regular expression in Oniguruma's dialect.

    Raises:
        ValueError: no such regular expression, one that cannot be translated, or one that is too large. The function
            that is returned raises it for a text on which the pattern backtracks without end.
    """
    return compile_source(PATTERNS.get(pattern, pattern))


def compile_source(source: str) -> Callable[[str], list[tuple[int, int]]]:
    """The same of a regular expression that is no name, whatever it reads like."""
    shown = repr(source if len(source) < 80 else source[:77] + "…")
    try:
        compiled = regex.compile(translate(source), regex.VERSION1)
    except (ValueError, regex.error, RecursionError, OverflowError) as error:
        raise ValueError(f"the pattern {shown} is neither one of {list(PATTERNS)} nor a regular expression that can be "
                         f"read: {error}") from None

    def places(text: str) -> list[tuple[int, int]]:
        limit = 2 + 2e-5 * len(text)  # seconds: a pattern that backtracks without end must not hang the program
        text = without_newer(text)
        try:
            found = [match.span() for match in compiled.finditer(text, timeout=limit)]
            return found if all(start < end for start, end in found) else _places_with_empty(compiled, text, limit)
        except TimeoutError:
            raise ValueError(f"the pattern {shown} needs more than {limit:.0f} s for {len(text)} characters; write it "
                             "without nested repetition") from None

    return places


def _places_with_empty(compiled: regex.Pattern, text: str, limit: float) -> list[tuple[int, int]]:
    """The same for a pattern that matches nothing at places: not where the match before has just ended, and after
    that the search goes on one character later."""
    found: list[tuple[int, int]] = []
    start, last, deadline = 0, -1, time.monotonic() + limit
    while start <= len(text):
        match = compiled.search(text, start, timeout=max(1e-3, deadline - time.monotonic()))
        if match is None:
            break
        begin, end = match.span()
        if begin == end == last:
            start += 1
        else:
            found.append((begin, end))
            start = last = end
    return found


@cache
def compile_portable(source: str) -> re.Pattern:
    """A pattern of this file for the standard library's `re`, which is over twice as fast as `regex`.

    `re` knows no Unicode classes, so each is written out as ranges of characters, of which `re` makes a table with one
    bit for each. The table ends at U+FFFF; `Splitter` sees to the characters beyond.
    """
    def write_out(match: re.Match) -> str:  # a bracketed set, or a class on its own
        ranges = re.sub(r"\\p\{\w+\}", lambda name: ranges_of(name[0]), match[0]).replace(r"\s", WHITESPACE)
        return ranges if match[0].startswith("[") else f"[{ranges}]"

    return re.compile(re.sub(r"\[[^]]*\]|\\p\{\w+\}|\\s", write_out, source.replace(r"\S", r"[^\s]")))
