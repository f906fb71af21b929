"""Whole words as tokens: what is in the vocabulary, what is not, and that other libraries open the file."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings, strategies as st

from tinygpt.tokenizers import load_tokenizer
from tinygpt.tokenizers.words import train_words

TEXTS = ["The cat sat; the cat ran.", "A dog ran"]


def test_frequent_words_come_first_and_others_are_unknown():
    tok = train_words(TEXTS, ["<pad>"])
    assert list(tok.special_tokens) == ["<pad>", "<unk>"]
    assert [tok.decode([i]) for i in range(2, 5)] == ["cat", "ran", "the"]
    assert tok.decode(tok.encode("THE cow ran!")) == "the <unk> ran <unk>"
    assert len(train_words(TEXTS, max_words=2)) == 3


def test_text_cannot_name_a_special_token():
    tok = train_words(["<pad> is a word of mine"], ["<pad>"])
    assert 0 not in tok.encode("<pad>")


@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=40))
def test_every_word_of_the_training_text_is_a_token(text):
    tok = train_words([text])
    lowered = text.lower()
    assert tok.decode(tok.encode(text)).split() == re.findall(r"\w+|[^\w\s]", lowered)


@pytest.mark.oracle
def test_hugging_face_reads_the_same_tokens(hf_tokenizers, tmp_path):
    tok = train_words(TEXTS, ["<s>", "<pad>", "</s>", "<unk>"])
    tok.set_template(["<s>"], ["</s>"])
    tok.save(tmp_path)
    theirs = hf_tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in (*TEXTS, "Über-dog, été ran 3 x_y", ""):
        assert theirs.encode(text).ids == list(tok.encode(text)) == list(load_tokenizer(tmp_path).encode(text))
