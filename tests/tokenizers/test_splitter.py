"""Stages of splitting, and cutting a long text into blocks."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_texts import awkward_text, quick

from tinygpt.tokenizers import splitter as splitter_module
from tinygpt.tokenizers.patterns import PATTERNS
from tinygpt.tokenizers.splitter import Splitter, Stage

STAGES = {name: [Stage(name)] for name in PATTERNS} | {
    "digits, gpt2": [Stage(r"\p{N}"), Stage("gpt2")],
    "digits together, llama3": [Stage(r"\p{N}+"), Stage("llama3")],
    "space, gpt2": [Stage("gpt2", add_prefix_space=True)],
    "cl100k, then nothing": [Stage("cl100k"), Stage("")],
}


@pytest.mark.parametrize("name", STAGES)
@quick
@given(text=awkward_text, size=st.integers(1, 9), step=st.integers(1, 9))
def test_blocks_change_no_piece(name, text, size, step):
    splitter = Splitter(STAGES[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitter_module, "BLOCK", size)
        blocks = list(splitter.blocks(text[i:i + step] for i in range(0, len(text), step)))
    assert "".join(blocks) == text and all(blocks)
    assert [piece for block in blocks for piece in splitter(block)] == splitter(text)


def test_a_long_text_comes_in_many_blocks():
    blocks = list(Splitter([Stage("gpt2")]).blocks(["some words " * 100_000]))
    assert len(blocks) > 50 and max(map(len, blocks)) < 2 * splitter_module.BLOCK


def test_an_unknown_pattern_sees_the_whole_text():
    parts = ["one two ", "three " * 10_000]
    assert list(Splitter([Stage(r"\w+ \w+")]).blocks(parts)) == ["".join(parts)]


@pytest.mark.parametrize("stages, pieces", [
    ([Stage("")], ["ab 12 cd"]),
    ([Stage(r"\d+")], ["ab ", "12", " cd"]),
    ([Stage(r"\d+", "matches")], ["12"]),
    ([Stage(r"\d+", "gaps")], ["ab ", " cd"]),
    ([Stage(r"(\d)(\d)")], ["ab ", "12", " cd"]),  # groups change nothing
    ([Stage(r"x*")], list("ab 12 cd")),  # an empty match cuts, too
    ([Stage(r"\p{N}"), Stage("gpt2")], ["ab", " ", "1", "2", " cd"]),
    ([Stage(r"\p{N}", "gaps")], ["ab ", " cd"]),
    ([Stage("gpt2", add_prefix_space=True)], [" ab", " 12", " cd"]),
    ([Stage(r"\d+"), Stage("", add_prefix_space=True)], [" ab ", " 12", " cd"]),
])
def test_stages(stages, pieces):
    assert Splitter(stages)("ab 12 cd") == pieces
    assert Splitter(stages)("") == []


@quick
@given(awkward_text)
def test_a_pattern_of_ones_own_loses_nothing(text):
    pieces = Splitter([Stage(r"[a-z]+|\s\w")])(text)
    assert "".join(pieces) == text
    assert {match[0] for match in regex.finditer(r"[a-z]+|\s\w", text)} <= set(pieces)


def test_a_pattern_without_end_is_stopped():
    with pytest.raises(ValueError, match=r"the pattern .* needs more than 2 s for 31 characters"):
        Splitter([Stage("(?:a|a)*$")])("a" * 30 + "b")


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["cl100k", "o200k"])
def test_splits_as_tiktoken(name):
    """tiktoken does not show its pieces; but with a vocabulary of whole pieces, each piece is one token."""
    tiktoken = pytest.importorskip("tiktoken")
    openai = pytest.importorskip("tiktoken_ext.openai_public")
    from tokenizer_texts import random_texts

    with pytest.MonkeyPatch.context() as patch:  # its constructor wants to download the vocabulary
        patch.setattr(openai, "load_tiktoken_bpe", lambda *args, **kwargs: {})
        pattern = getattr(openai, f"{name}_base")()["pat_str"]
    splitter = Splitter([Stage(name)])
    texts = random_texts(10_000, seed=11)
    ranks = {bytes([i]): i for i in range(256)}
    for text in texts:
        for piece in splitter(text):
            ranks.setdefault(piece.encode(), len(ranks))
    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    for text in texts:
        assert [encoding.decode_single_token_bytes(i) for i in encoding.encode_ordinary(text)] == [
            piece.encode() for piece in splitter(text)]
