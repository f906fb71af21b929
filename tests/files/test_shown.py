"""What is shown of others' words: harmless, short, and cheap to make."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.files import printable, shown
from tinygpt.files.shown import listed


@given(st.text())
def test_what_is_printable_stays(text):
    clean = printable(text)
    assert len(clean) == len(text)
    for before, after in zip(text, clean):
        assert after == before or after == "\ufffd" and not before.isprintable()


@pytest.mark.parametrize("code", [*range(9), 11, 12, *range(13, 32), *range(127, 160), 0x202E, 0x2066, 0xD800, 0xDCFF])
def test_what_commands_a_terminal_does_not(code):
    assert printable(f"a{chr(code)}b\n\t é") == "a\ufffdb\n\t é"


LARGE = {"text": "x" * 10 ** 7, "bytes": b"\xff" * 10 ** 7, "lists": [["x" * 10 ** 6] * 10 ** 4] * 10 ** 3,
         "integer": 10 ** 100_000, "dict": {str(i): i for i in range(10 ** 5)}, "control": "\x1b" * 1000,
         "quotes": "'" * 1000, "tuple": ("a",) * 10 ** 6}


@pytest.mark.parametrize("name", LARGE)
def test_values_are_short_and_their_cost_does_not_grow(name):
    start = time.monotonic()
    text = shown(LARGE[name])
    assert time.monotonic() - start < 1 and 0 < len(text) <= 80 and text.isprintable()


def test_short_values_are_as_python_writes_them():
    for value in ("ham", b"ham", 5, -1.5, None, True, [1, "a"], {"a": (1, 2)}, 10 ** 50):
        assert shown(value) == repr(value)


def test_lists_of_names():
    assert listed(["ham", "spam"]) == "ham, spam" and listed([" spam", "a\nb", ""]) == r"' spam', 'a\nb', ''"
    assert listed(str(i) for i in range(10 ** 6)).endswith("8, 9, …")
