"""The pinned Unicode classes, against Python's own database and against tiktoken's."""

from __future__ import annotations

import functools
import re
import unicodedata

import numpy as np
import pytest

from tinygpt.tokenizers.unicode_classes import BEYOND, WHITESPACE, is_word, ranges_of, stand_in

CLASSES = {r"\p{L}": "Øøǅʰª", r"\p{Lu}": "Ø", r"\p{Ll}": "ø", r"\p{Lt}": "ǅ", r"\p{Lm}": "ʰ", r"\p{Lo}": "ª",
           r"\p{M}": "\u0301", r"\p{N}": "0"}
EVERY = "".join(map(chr, range(0x110000)))
TEXT = EVERY[:0xD800] + EVERY[0xE000:]  # surrogates are no text


@functools.cache
def stand_ins() -> str:
    return "".join(map(stand_in, EVERY))


def of_class(unicode_class: str) -> np.ndarray:
    """Which code points stand_in puts into a class: (0x110000,) booleans."""
    codes = np.frombuffer(stand_ins().encode("utf-32-le"), "<u4")
    return np.isin(codes, [ord(sign) for sign in CLASSES[unicode_class]])


def marked(runs: list[str]) -> np.ndarray:
    """Which code points occur in strings of consecutive ones: (0x110000,) booleans."""
    mask = np.zeros(0x110000, bool)
    for run in runs:
        mask[ord(run[0]):ord(run[-1]) + 1] = True
    return mask


@pytest.mark.parametrize("unicode_class", CLASSES)
def test_ranges_and_stand_ins_say_the_same(unicode_class):
    in_ranges = marked(re.findall(f"[{ranges_of(unicode_class)}]+", EVERY[:0x10000]))
    np.testing.assert_array_equal(in_ranges[:0x10000], of_class(unicode_class)[:0x10000])
    assert not in_ranges[0x10000:].any()


def test_agrees_with_python_on_characters_known_to_every_version():
    """Of the characters of 2002, hardly any has changed its class since."""
    signs = {"Lu": "Ø", "Ll": "ø", "Lt": "ǅ", "Lm": "ʰ", "Lo": "ª", "Mn": "\u0301", "Mc": "\u0301", "Me": "\u0301",
             "Nd": "0", "Nl": "0", "No": "0"}
    old = unicodedata.ucd_3_2_0
    different = [char for char, sign in zip(EVERY, stand_ins())
                 if old.category(char) != "Cn" and sign != signs.get(unicodedata.category(char), "#")]
    assert len(different) <= 5, different


def test_no_pattern_asks_for_a_stand_in():
    signs = set(stand_ins())
    assert len(signs) == 8 and not signs & set("sdmtlvreſK'/\r\n ")
    assert not BEYOND.search("".join(signs)) and BEYOND.search("\U00010000")


def test_whitespace_is_what_the_regex_package_finds():
    regex = pytest.importorskip("regex")
    assert re.findall(f"[{WHITESPACE}]", TEXT) == regex.findall(r"\s", TEXT)


def test_words():
    assert all(map(is_word, "aÉ日_ⅧⒶ٣\u0301\u200d")) and not any(map(is_word, " .²😀\u0378-'"))


@pytest.mark.oracle
@pytest.mark.parametrize("unicode_class", CLASSES)
def test_agrees_with_tiktoken(unicode_class):
    tiktoken = pytest.importorskip("tiktoken")
    encoding = tiktoken.Encoding("class", pat_str=unicode_class, mergeable_ranks={bytes([i]): i for i in range(256)},
                                 special_tokens={})
    found = encoding.decode(encoding.encode_ordinary(TEXT))  # what is outside of the class is not encoded
    np.testing.assert_array_equal(marked(list(found)), of_class(unicode_class))
