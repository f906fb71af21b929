"""Steps that drop texts which a model had better not learn from; each has a name and one setting.

    length=200              fewer characters than that
    repetition=0.3          more than that part of its runs of 16 characters stood in the text before
    language=Latin          less than 80 % of its letters are of that script; several with +, as Han+Hiragana+Katakana
    duplicates=0.8          an earlier text shares at least that part of its runs of characters (minhash.py)

A step is a row of STEPS. All but the last look at one text at a time. A script is not a language: `Latin` keeps English
and Spanish alike.

Prerequisites: shingles.py, minhash.py. Next: prepare.py. Source: the rules of length and repetition follow Rae et al.,
"Scaling language models: methods, analysis & insights from training Gopher" (2021), A.1.1, in simpler form.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import regex

from ..files import shown
from .shingles import shingles

__all__ = ["DUPLICATES", "STEPS", "Step", "parse_steps"]

DUPLICATES = "duplicates"
OF_SCRIPT = 0.8  # of the letters


@dataclass(frozen=True)
class Step:
    """A step that drops texts.

    Attributes:
        default: the setting where none is given.
        read: the words of a setting -> the setting; ValueError says what is expected.
        drops: (text, setting) -> whether the text goes; None for what has to know all texts.
    """

    default: str
    read: Callable[[str], Any]
    drops: Callable[[str, Any], bool] | None


def too_short(text: str, least: float) -> bool:
    """Whether a text has fewer than `least` characters, white space at its ends not counted."""
    return len(text.strip()) < least


def repeats_itself(text: str, most: float) -> bool:
    """Whether more than `most` of the runs of 16 characters stood before, within 65,536 characters."""
    runs = again = 0
    for block in shingles(text):
        runs += len(block)
        block.sort()
        again += int(np.count_nonzero(block[1:] == block[:-1]))
    return again > most * runs


def other_script(text: str, scripts: str) -> bool:
    """Whether less than 80 % of a text's letters are of the scripts, or it has no letters."""
    letter, of_script = _tables(scripts)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    n_letters, n_of_script = (int(np.count_nonzero(table[codes])) for table in (letter, of_script))
    return not n_letters or n_of_script < OF_SCRIPT * n_letters


@cache
def _tables(scripts: str) -> tuple[np.ndarray, np.ndarray]:
    """Of each character, whether it is a letter, and whether it is a letter of the scripts: (0x110000,) bool each."""
    codes = np.arange(0x110000, dtype="<u4")
    codes[0xD800:0xE000] = 0xFFFD  # halves of surrogate pairs
    characters = codes.tobytes().decode("utf-32-le")
    names = "".join(rf"\p{{Script={name}}}" for name in scripts.split("+"))
    tables = []
    for pattern in (r"\p{L}+", rf"[[{names}]&&\p{{L}}]+"):
        table = np.zeros(0x110000, bool)
        for match in regex.finditer(pattern, characters, regex.VERSION1):
            table[match.start():match.end()] = True
        tables.append(table)
    return tables[0], tables[1]


def _number(least: float, most: float) -> Callable[[str], float]:
    def read(words: str) -> float:
        try:
            value = float(words)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ValueError(f"a number from {least:g} to {most:g}")
        return value
    return read


def _scripts(words: str) -> str:
    try:
        if re.fullmatch(r"[A-Za-z_]{2,30}(\+[A-Za-z_]{2,30}){0,9}", words):
            for name in words.split("+"):
                regex.compile(rf"\p{{Script={name}}}")
            return words
    except regex.error:
        pass
    raise ValueError("names of scripts as Unicode has them, such as Latin, Cyrillic or Han+Hiragana+Katakana")


STEPS: dict[str, Step] = {
    "length": Step("200", _number(1, 1 << 22), too_short),
    "repetition": Step("0.3", _number(0, 1), repeats_itself),
    "language": Step("Latin", _scripts, other_script),
    DUPLICATES: Step("0.8", _number(0.1, 1), None),
}


def parse_steps(words: Sequence[str]) -> dict[str, Any]:
    """The settings of steps by their names, in the order given, `duplicates` last: of "length=100", "repetition".

    Raises:
        ValueError: no such step, one that is given twice, or a setting that is none.

    >>> parse_steps(["duplicates", "length=100"])
    {'length': 100.0, 'duplicates': 0.8}
    """
    found: dict[str, Any] = {}
    for word in words:
        name, given, setting = word.partition("=")
        if name not in STEPS:
            raise ValueError(f"there is no step {shown(name)} that drops texts; there are {', '.join(STEPS)}")
        if name in found:
            raise ValueError(f"the step {name} is given twice")
        try:
            found[name] = STEPS[name].read(setting if given else STEPS[name].default)
        except ValueError as error:
            raise ValueError(f"the step {name} takes {error}, not {shown(setting)}") from None
    return {**{name: setting for name, setting in found.items() if name != DUPLICATES},
            **{name: setting for name, setting in found.items() if name == DUPLICATES}}
