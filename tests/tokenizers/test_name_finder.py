"""Names in a text: those that a regular expression of all of them finds, in little time however many they are."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.tokenizers.name_finder import NameFinder
from tinygpt.tokenizers.special import LONGEST_NAME, AddedToken, SpecialTokens


def by_expression(names: list[str], text: str) -> list[tuple[str, int]]:
    """The longest first, of all names that begin at a place."""
    pattern = "|".join(map(re.escape, sorted(filter(None, names), key=len, reverse=True))) or "(?!)"
    return [(match[0], match.start()) for match in re.finditer(pattern, text)]


FEW = st.sampled_from("ab<^]-\\ \nÅé𝔸")


@given(st.lists(st.text(FEW, max_size=5), max_size=12), st.text(FEW, max_size=40))
def test_it_finds_what_an_expression_of_all_names_finds(names, text):
    assert list(NameFinder(names).find(text)) == by_expression(names, text)


@given(st.lists(st.integers(0, 60), max_size=20), st.lists(st.integers(0, 60), max_size=20), st.integers(0, 150))
def test_names_that_begin_with_one_another(lengths, ended, n):
    """a, aa, aaa, … and some of them with another end, in a text of a's: the chains are long."""
    names = ["a" * length for length in lengths] + ["a" * length + "A" for length in ended]
    for text in ("a" * n, "a" * n + "A" + "a" * n, "ab" * n):
        assert list(NameFinder(names).find(text)) == by_expression(names, text)


@pytest.mark.parametrize("names, text", [
    ([f"<extra_{i}>" for i in range(30_000)], "<extra_ <extra_777" * 800),
    ([f"{i}" for i in range(30_000)], "123456 99999 " * 1_100),
    (["a" * n for n in range(2, 8_000)], "a" * 14_000),
    (["a" * n + "A" for n in range(1, 8_000)], "a" * 14_000),
    (["a" * 9_999 + "b"], "a" * 14_000),
], ids=["numbered", "digits", "chain", "chain with ends", "long"])
def test_thousands_of_names_cost_no_time(names, text):
    finder = NameFinder(names)
    start = time.thread_time()
    list(finder.find(text))
    assert time.thread_time() - start < 0.5  # seconds of computing; an expression takes up to 8


def test_added_tokens_keep_what_is_said_of_them():
    """Spaces that a token swallows, words that it may not stand in, and the longest: among 5,000 others."""
    others = [AddedToken(f"<x{i}>", i + 10) for i in range(5_000)]
    tokens = SpecialTokens([AddedToken("<l>", 0, lstrip=True), AddedToken("<r>", 1, rstrip=True),
                            AddedToken("<l>b", 2, special=False), AddedToken("word", 3, single_word=True), *others])
    found = list(tokens.split("a <l> b <r>  c <l>b sword word<x4999><x5000>", tokens.allowed("all")))
    assert found == [("a", None), ("<l>", 0), (" b ", None), ("<r>", 1), ("c ", None), ("<l>b", 2), (" sword ", None),
                     ("word", 3), ("<x4999>", 5009), ("<x5000>", None)]
    assert list(tokens.split("a <l>b <r>", frozenset())) == [("a ", None), ("<l>b", 2), (" <r>", None)]


def test_a_name_without_end_is_refused():
    with pytest.raises(ValueError, match="has 10,001 characters, expected at most 10,000"):
        SpecialTokens([AddedToken("a" * (LONGEST_NAME + 1), 0)])
