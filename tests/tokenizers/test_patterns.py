"""Split patterns: what they cut, that they cover every text, and what is refused."""

from __future__ import annotations

import time

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_texts import awkward_text, quick

from tinygpt.tokenizers.patterns import FASTER, PATTERNS, compile_pattern, compile_portable, name_of


def test_gpt2_splits_as_its_authors_say():
    text = "Hello world, it's 2024!\n\n  Don't   stop"
    assert compile_portable(PATTERNS["gpt2"]).findall(text) == [
        "Hello", " world", ",", " it", "'s", " 2024", "!", "\n\n ", " Don", "'t", "  ", " stop"]


@pytest.mark.parametrize("name, pieces", [
    ("cl100k", ["camelCase", " it", "'S", " ", "123", "45", ")\n\n", " x", " \n "]),
    ("o200k", ["camel", "Case", " it'S", " ", "123", "45", ")\n\n", " x", " \n", " "]),
    ("llama3", ["camelCase", " it", "'S", " ", "123", "45", ")\n\n", " x", " \n", " "]),
    ("qwen2", ["camelCase", " it", "'S", " ", "1", "2", "3", "4", "5", ")\n\n", " x", " \n", " "]),
])
def test_what_sets_the_others_apart(name, pieces):
    assert compile_portable(PATTERNS[name]).findall("".join(pieces)) == pieces


@pytest.mark.parametrize("name", PATTERNS)
@quick
@given(awkward_text)
def test_pieces_make_the_text_again(name, text):
    assert "".join(compile_portable(PATTERNS[name]).findall(text)) == text


@pytest.mark.parametrize("name", FASTER)
@quick
@given(awkward_text)
def test_the_faster_way_to_write_a_pattern_is_equal(name, text):
    assert compile_portable(FASTER[name]).findall(text) == compile_portable(PATTERNS[name]).findall(text)


@pytest.mark.parametrize("name", PATTERNS)
@quick
@given(st.text(st.characters(max_codepoint=0x24F)))
def test_equal_to_the_regex_package_on_latin_text(name, text):
    """Where no Unicode version differs, the pattern written out for `re` is the pattern."""
    assert compile_portable(PATTERNS[name]).findall(text) == regex.findall(PATTERNS[name], text)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("text", ["\n" * 300_000 + "x", " " * 300_000, "a" * 300_000, "!" * 300_000, "'" * 300_000,
                                  "\n " * 150_000 + "x", "1" * 300_000], ids=lambda text: ascii(text[:2]))
def test_no_text_takes_quadratic_time(name, text):
    start = time.process_time()
    assert "".join(compile_portable(PATTERNS[name]).findall(text)) == text
    assert time.process_time() - start < 2


@pytest.mark.parametrize("pattern", ["(", "[a", r"\p{Nothing}", "a" * 20_000, "(?:a|b){100000000}",
                                     "(?:(?:a){1000}){1000}", "a{99999999999999999999}", "(" * 5000 + ")" * 5000])
def test_bad_patterns_are_refused_at_once(pattern):
    with pytest.raises(ValueError, match="pattern"):
        compile_pattern(pattern)


def test_a_pattern_is_a_string_and_known_by_its_text():
    assert [name_of(source) for source in PATTERNS.values()] == list(PATTERNS)
    assert name_of("gpt2") == "gpt2" and name_of("x") == "x"
    with pytest.raises(TypeError, match="pattern"):
        name_of(None)  # type: ignore[arg-type]
