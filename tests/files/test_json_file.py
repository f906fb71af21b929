"""The one reader of JSON: equal to Python's on honest text, and bounded on any other."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.files import parse_json, parse_object, read_json, write_json
from tinygpt.files.json_file import MAX_JSON_BYTES

VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                      | st.text(st.characters(exclude_categories=["Cs"])),
                      lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])),
                                                                      inner), max_leaves=20)


@given(VALUES, st.booleans())
def test_honest_values_come_back(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_json(text, "x") == value
    assert parse_json(b"\xef\xbb\xbf" + text.encode(), "x") == value


@pytest.mark.parametrize("data, message", [
    (b"", "x: not valid JSON (Expecting value at column 1)"),
    (b"[1,\n2,,3]", "x, line 2: not valid JSON (Expecting value at column 3)"),
    (b"{}{}", "x: not valid JSON (Extra data at column 3)"),
    (b'{"a": 1, "b": {"c": 2, "c": 3}}', "x: not valid JSON (the name 'c' is given twice in one object)"),
    (b"[NaN]", "NaN is not JSON"), (b"[-Infinity]", "-Infinity is not JSON"),
    (b"[1e999]", "the number 1e999 is too large"),
    (b"9" * 4301, "a number has 4,301 digits, more than 4,300"),
    (b"[" * 101 + b"]" * 101, "nested too deeply: 101 levels, at most 100"),
    (b"[" * 200_000, "nested too deeply"), (b'{"a":' * 200_000, "nested too deeply"),
    (b'"\xff"', "not UTF-8 text: byte 0xff at 1"), (b'"\xed\xa0\x80"', "not UTF-8 text"),
    (b'"\\ud83d"', r"\ud83d is half of a character"), (b'"\\ud83d\\ud83d\\ude00"', r"\ud83d is half"),
    (b'"\\ude00"', r"\ude00 is half"), (b'"a\x01"', "Invalid control character"),
])
def test_what_is_refused(data, message):
    with pytest.raises(ValueError) as caught:
        parse_json(data, "x")
    assert str(caught.value).startswith("x") and message in str(caught.value)


def test_what_only_looks_hostile_is_read():
    assert parse_json(b'"\\\\ud83d"', "x") == "\\ud83d"
    assert parse_json(b'"\\ud83d\\ude00"', "x") == "😀"
    assert parse_json(json.dumps("[" * 5000 + '"{' * 5000), "x") == "[" * 5000 + '"{' * 5000
    assert parse_json(b"[" * 100 + b"]" * 100, "x")
    text = json.dumps(['\\"[{,:' * 300_000, "\\"])
    assert parse_json(text, "x", max_values=10) == json.loads(text)


@pytest.mark.parametrize("unit", [b"{},", b"[],", b"0,", b'"",'])
def test_values_are_counted_before_they_are_made(unit):
    data = b"[" + unit * (5_000_000 // len(unit) * len(unit)) + b"0]"
    tracemalloc.start()
    start = time.monotonic()
    with pytest.raises(ValueError, match="values, at most 4,000,000 are read"):
        parse_json(data, "x")
    assert time.monotonic() - start < 10
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * len(data)


def test_an_object_is_wanted(tmp_path: Path):
    with pytest.raises(ValueError, match="x must hold a JSON object, found list"):
        parse_object(b"[]", "x")
    write_json(tmp_path / "x.json", {"b": "é", "a": 1})
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == '{\n  "a": 1,\n  "b": "é"\n}\n'
    assert read_json(tmp_path / "x.json") == {"a": 1, "b": "é"}


def test_a_file_too_large_is_not_read(tmp_path: Path):
    with open(tmp_path / "x.json", "wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)  # holes take no space on disk
    with pytest.raises(ValueError, match="x.json has 67,108,865 bytes; a JSON file of a model has at most 67,108,864"):
        read_json(tmp_path / "x.json")
