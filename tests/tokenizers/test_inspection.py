"""Showing tokens to a person."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_texts import awkward_text, quick, trained

from tinygpt.tokenizers.inspection import longest_tokens, shortened, statistics, token_lines, visible

TOK = trained()


@pytest.mark.parametrize("token, shown", [
    (b" the", "·the"), (b"\n\n", "↵↵"), (b"\t", "→"), ("é".encode(), "é"), (b"\xc3", r"\xc3"), (b"\x1b[2J", r"\x1b[2J"),
    (b"\r", r"\x0d"), (b"\\", r"\\"), ("\u202e".encode(), r"\xe2\x80\xae"), (b"a\xff", r"a\xff"),
])
def test_visible(token, shown):
    assert visible(token) == shown


@quick
@given(st.binary())
def test_nothing_that_a_terminal_obeys_is_shown(token):
    assert visible(token).isprintable()


@quick
@given(awkward_text, st.integers(10, 60))
def test_ids_stand_under_their_tokens(text, width):
    ids = TOK.encode(text)
    lines = list(token_lines(TOK, ids, width))
    assert len(lines) % 2 == 0
    assert [int(word) for line in lines[1::2] for word in line.split()] == ids
    assert "".join("".join(line.split(" ")) for line in lines[::2]) == "".join(
        shortened(visible(TOK.token_bytes(i)), width) for i in ids)


def test_columns_line_up_with_wide_characters():
    ids = [TOK.vocab["日本".encode()] if "日本".encode() in TOK.vocab else TOK.vocab["é".encode()], TOK.vocab[b"b"]]
    above, below = token_lines(TOK, ids)
    shown = visible(TOK.token_bytes(ids[0]))
    wide = sum(2 if char in "日本" else 1 for char in shown)
    assert above == shown + " " * (max(wide, len(str(ids[0]))) - wide + 1) + "b"
    assert below.index(str(ids[1]), len(str(ids[0]))) == max(wide, len(str(ids[0]))) + 1


def test_colours_change_nothing_else():
    ids = TOK.encode("the words and 日本 here")
    plain = [line.rstrip() for line in token_lines(TOK, ids, 30)]
    coloured = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in token_lines(TOK, ids, 30, color=True)]
    assert plain == coloured


def test_statistics():
    found = statistics("ab ab é", [1, 2, 1, 2])
    assert (found.n_characters, found.n_bytes, found.n_tokens, found.bytes_per_token) == (7, 8, 4, 2.0)
    assert found.counts == {1: 2, 2: 2}
    assert statistics("", []).bytes_per_token == 0


def test_longest_tokens():
    ids = [TOK.vocab[b"a"], TOK.vocab[b" the"], TOK.vocab[b" the"], TOK.vocab[b"Z"], TOK.token_id("<|endoftext|>")]
    assert longest_tokens(TOK, ids, 2) == [TOK.vocab[b" the"], min(TOK.vocab[b"a"], TOK.vocab[b"Z"])]
