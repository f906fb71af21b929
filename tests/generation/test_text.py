"""Streaming text: no half characters, nothing of a stop string, nothing lost."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.generation import text as text_module
from tinygpt.generation.text import TextStream

hypothesis = settings(deadline=None, max_examples=200, derandomize=True)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of the given sizes, the rest in one."""
    pieces, start = [], 0
    for size in sizes:
        pieces.append(data[start:start + size])
        start += size
    return [piece for piece in [*pieces, data[start:]] if piece]


def decoder(pieces: list[bytes]):
    """Token i stands for pieces[i]: byte-level BPE with a made-up vocabulary."""
    return lambda ids: b"".join(pieces[i] for i in ids).decode("utf-8", "replace")


def run(pieces: list[bytes], stop: list[str] = []) -> tuple[list[str], TextStream]:
    stream = TextStream(decoder(pieces), stop)
    out = [stream.push(i) for i in range(len(pieces))]
    return [*out, stream.flush()], stream


@hypothesis
@given(st.binary(max_size=40), st.lists(st.integers(1, 4), max_size=12))
def test_pieces_join_to_the_text_of_all_tokens(data, sizes):
    pieces = cut(data, sizes)
    assert "".join(run(pieces)[0]) == data.decode("utf-8", "replace")


@hypothesis
@given(st.text(max_size=12), st.lists(st.integers(1, 3), max_size=12))
def test_valid_text_never_shows_half_a_character(string, sizes):
    pieces = cut(string.encode(errors="replace"), sizes)
    for piece in run(pieces)[0]:
        assert "\ufffd" not in piece or "\ufffd" in string


@hypothesis
@given(st.text("abc", max_size=20), st.lists(st.integers(1, 4), max_size=10),
       st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3))
def test_text_ends_before_the_first_complete_stop_string(string, sizes, stop):
    out, stream = run(cut(string.encode(), sizes), stop)
    ends = sorted((string.find(s) + len(s), string.find(s)) for s in stop if s in string)
    assert stream.stopped == bool(ends)
    assert "".join(out) == (string[:ends[0][1]] if ends else string)


def test_nothing_is_held_back_longer_than_needed():
    out, _ = run([b"a", b"E", b"N", b"x", b"E", b"N"], ["END"])
    assert out == ["a", "", "", "ENx", "", "", "EN"]


def test_emoji_cut_into_bytes():
    out, _ = run([bytes([b]) for b in "é😀!".encode()])
    assert out == ["", "é", "", "", "", "😀", "!", ""]


def test_half_a_character_at_the_end_is_marked():
    assert run(["😀".encode()[:2]])[0] == ["", "\ufffd"]


def test_no_text_after_a_stop_string():
    stream = TextStream(decoder([b"ab", b"cd"]), ["b"])
    assert [stream.push(0), stream.push(1), stream.flush()] == ["a", "", ""]


def test_empty_stop_string():
    with pytest.raises(ValueError, match="stop string is empty"):
        TextStream(decoder([]), [""])


def test_docstring():
    assert doctest.testmod(text_module).failed == 0
