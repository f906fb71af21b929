"""Counting the pieces of training texts."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_texts import SPECIAL, awkward_text, quick

from tinygpt.tokenizers import counting, splitter
from tinygpt.tokenizers.counting import count_pieces
from tinygpt.tokenizers.special import AddedToken, SpecialTokens
from tinygpt.tokenizers.splitter import Splitter, Stage

GPT2 = Splitter([Stage("gpt2")])
NONE = SpecialTokens()


def special(*names: str) -> SpecialTokens:
    return SpecialTokens(AddedToken(name, i) for i, name in enumerate(names))


def test_counts_pieces_in_bytes():
    assert count_pieces(["to be or not to be"], GPT2, NONE) == {
        b"to": 1, b" be": 2, b" or": 1, b" not": 1, b" to": 1}


def test_texts_do_not_run_into_one_another():
    assert count_pieces(["ab", "cd"], GPT2, NONE) == {b"ab": 1, b"cd": 1}


def test_special_tokens_cut_and_do_not_count():
    text = "one<|endoftext|>two<|end|>three"
    assert count_pieces([text], GPT2, special("<|endoftext|>", "<|end|>")) == {b"one": 1, b"two": 1, b"three": 1}


def test_a_special_token_with_a_space_is_never_cut_in_two(monkeypatch):
    monkeypatch.setattr(splitter, "BLOCK", 3)
    monkeypatch.setattr(counting, "_READ", 3)
    assert count_pieces(["aa<| end |>bb<| end |>"], GPT2, special("<| end |>")) == {b"aa": 1, b"bb": 1}


@quick
@given(texts=st.lists(awkward_text, max_size=4), size=st.integers(1, 12))
def test_blocks_and_files_change_no_count(texts, size, tmp_path_factory):
    tokens = special(*SPECIAL)
    expected = Counter()
    for text in texts:
        for segment, special_id in tokens.split(text, tokens.allowed("all")):
            if special_id is None:
                expected.update(piece.encode() for piece in GPT2(segment))
    folder = tmp_path_factory.mktemp("texts")
    paths = [folder / str(i) for i in range(len(texts))]
    for path, text in zip(paths, texts):
        path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitter, "BLOCK", size)
        patch.setattr(counting, "_READ", size)
        if not expected:
            return
        assert count_pieces(texts, GPT2, tokens) == expected
        assert count_pieces(paths, GPT2, tokens) == expected


def test_bad_texts(tmp_path):
    for nothing in ([], [""], ["<s>"]):
        with pytest.raises(ValueError, match="no text to train on"):
            count_pieces(nothing, GPT2, special("<s>"))
    with pytest.raises(TypeError, match="a str or a path, got int"):
        count_pieces([3], GPT2, NONE)
    with pytest.raises(ValueError, match="lone surrogate"):
        count_pieces(["ab\udc80"], GPT2, NONE)
    (tmp_path / "latin").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(ValueError, match="latin is not UTF-8"):
        count_pieces([tmp_path / "latin"], GPT2, NONE)
