"""Whole texts as ids within the context, and in batches of similar length."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data import encode_within, similar_lengths
from tinygpt.tokenizers import CharTokenizer

TEXTS = st.lists(st.text("abc", max_size=9), max_size=6)


def tokenizer(framed: bool = True) -> CharTokenizer:
    tok = CharTokenizer.train("abc", ["<s>", "</s>", "<mask>"])
    if framed:
        tok.set_template(["<s>"], ["</s>"])
    return tok


@given(TEXTS, st.integers(3, 12))
def test_a_text_keeps_its_template_and_its_beginning(texts, length):
    tok = tokenizer()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        rows = encode_within(tok, texts, length)
    for text, row in zip(texts, rows, strict=True):
        assert row == tok.encode(text[:length - 2])
    n_long = sum(len(text) > length - 2 for text in texts)
    assert [str(warning.message).startswith(f"{n_long} of {len(texts)} texts") for warning in said] \
        == [True] * (n_long > 0)


def test_truncation_can_be_silent_or_refused():
    tok = tokenizer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert encode_within(tok, ["abcabc"], 4, truncation=True) == [tok.encode("ab")]
    with pytest.raises(ValueError, match="1 of 2 texts are longer than the model's context of 4 tokens"):
        encode_within(tok, ["a", "abcabc"], 4, truncation=False)


def test_nothing_to_read_is_an_error():
    assert encode_within(tokenizer(), [""], 4) == [[3, 4]]
    with pytest.raises(ValueError, match="text 1 is empty"):
        encode_within(tokenizer(framed=False), ["a", ""], 4)
    with pytest.raises(ValueError, match="leaves no room"):
        encode_within(tokenizer(), ["a"], 2)


def test_special_tokens_are_found_where_they_are_allowed():
    tok = CharTokenizer.train("a<mask>b", ["[MASK]"])
    assert encode_within(tok, ["a<mask>"], 20)[0] == tok.encode("a<mask>")
    tok = tokenizer()
    assert encode_within(tok, ["a<mask>b"], 20, allowed_special=["<mask>"]) == [[3, 0, 5, 1, 4]]


@given(st.lists(st.lists(st.integers(1, 9), max_size=7), max_size=9), st.integers(1, 4))
def test_batches_hold_every_row_once_and_little_filling(rows, batch_size):
    seen = {}
    widths, filling = [], 0
    for places, ids, mask in similar_lengths(rows, batch_size, pad_id=0):
        assert ids.shape == mask.shape and 0 < len(ids) <= batch_size
        assert (ids[mask == 0] == 0).all() and ids.shape[1] == mask.sum(axis=1).max(initial=0)
        seen |= {place: row[kept == 1].tolist() for place, row, kept in zip(places, ids, mask, strict=True)}
        widths.append(ids.shape[1])
        filling += int((mask == 0).sum())
    assert [seen[place] for place in range(len(rows))] == rows and widths == sorted(widths)
    assert filling <= batch_size * max(map(len, rows), default=0)  # batches of texts as they come: each its own


def test_a_batch_has_a_row():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        next(similar_lengths([[1]], 0, 0))
