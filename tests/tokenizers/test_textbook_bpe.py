"""The textbook's byte-pair encoding: worked examples, and `ByteBPE` against it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_texts import awkward_text, corpus, quick

from tinygpt.data import embedded_documents
from tinygpt.tokenizers import ByteBPE
from tinygpt.tokenizers.patterns import PATTERNS, compile_portable
from tinygpt.tokenizers.textbook_bpe import BYTE_ORDER, SPLIT, TextbookBPE

# Words, punctuation and spaces of which `re` and `regex` hold the same opinion; their Unicode versions differ.
plain_text = st.text("ab é日1_.!\n\t", max_size=40)
TRAINED = TextbookBPE.train(corpus()[:2000], 300)


def learned(tokenizer: TextbookBPE, n: int) -> list[str]:
    return [token.decode() for token in tokenizer.tokens[256:256 + n]]


def check_equal(text: str, other: str, vocab_size: int, ours: str, theirs: str) -> None:
    """`ByteBPE` with the pattern `theirs` learns the merges of the textbook with `ours`, and gives the same ids."""
    textbook, fast = TextbookBPE.train(text, vocab_size, ours), ByteBPE.train(text, vocab_size, pattern=theirs)
    assert fast.merges == [(textbook.tokens[left], textbook.tokens[right]) for left, right in textbook.merges]
    assert [fast.token_bytes(i) for i in fast.ids] == textbook.tokens and len(fast) == len(textbook)
    for some in (text, other):
        ids = textbook.encode(some)
        assert fast.encode(some) == ids
        assert textbook.decode(ids) == some


def test_the_example_of_wikipedia():
    """aaabdaaabac: aa is most frequent (4 overlapping), then of the pairs that occur twice the lowest ids."""
    assert learned(TextbookBPE.train("aaabdaaabac", 259), 3) == ["aa", "ab", "aaab"]


def test_the_example_of_sennrich_haddow_and_birch():
    """low ×5, lower ×2, newest ×6, widest ×3 (without their end-of-word sign): es, est, lo, low, …"""
    text = " ".join(["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3)
    assert learned(TextbookBPE.train(text, 260, r"\w+"), 4) == ["es", "est", "lo", "low"]


def test_ties_go_to_the_lowest_ids():
    assert learned(TextbookBPE.train("zy|ab|ya", 259, r"\w+"), 3) == ["ab", "ya", "zy"]


def test_training_ends_when_every_piece_is_one_token():
    assert len(TextbookBPE.train("ab ab", 1000)) == 256 + 2  # ab, and the same with a space before it


def test_bytes_come_in_gpt2s_order():
    assert sorted(BYTE_ORDER) == list(range(256))
    assert (BYTE_ORDER[0], BYTE_ORDER[93], BYTE_ORDER[188], BYTE_ORDER[220]) == (ord("!"), ord("~"), 0, ord(" "))


@pytest.mark.parametrize("text, pieces", [
    ("to be, or", ["to", " be", ",", " or"]), ("a  b\n\n c", ["a", " ", " b", "\n\n", " c"]), ("é_1 ", ["é_1", " "])])
def test_the_split(text, pieces):
    tokenizer = TextbookBPE()
    assert list(map(tokenizer.decode, tokenizer.pieces(text))) == pieces


@quick
@given(awkward_text)
def test_every_text_comes_back(text):
    assert TRAINED.decode(TRAINED.encode(text)) == text


def test_bytes_that_are_no_text_are_marked():
    assert TextbookBPE().decode([BYTE_ORDER.index(0xC3)]) == "\ufffd"


@quick
@given(plain_text.filter(bool), plain_text, st.integers(256, 300))
def test_the_fast_one_is_equal(text, other, vocab_size):
    check_equal(text, other, vocab_size, SPLIT, SPLIT)


@quick
@given(awkward_text.filter(bool), awkward_text, st.sampled_from([r"[^ ]+| +", r"[a-zA-Z]+", r" ?[^ab ]+", r"[0-9]"]))
def test_the_fast_one_is_equal_for_any_text_and_pattern(text, other, pattern):
    """Most of these patterns leave gaps, which are pieces too."""
    check_equal(text, other, 290, pattern, pattern)


def test_the_fast_one_is_equal_on_real_text_with_gpt2s_split():
    """Python's own documentation; `compile_portable` writes GPT-2's pattern for `re`."""
    text = "\n".join(itertools.islice(embedded_documents(), 10))[:6_000]
    assert len(text) == 6_000
    check_equal(text[:4_500], text[4_500:], 350, compile_portable(PATTERNS["gpt2"]).pattern, "gpt2")
