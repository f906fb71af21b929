"""The simplest tokenizer, and `CharTokenizer`, which takes its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from tokenizer_texts import awkward_text, quick

from tinygpt.tokenizers import CharTokenizer
from tinygpt.tokenizers.characters import Characters


@quick
@given(awkward_text.filter(bool))
def test_the_one_with_files_gives_the_same_ids_and_texts(text):
    textbook, other = Characters(text), CharTokenizer.train(text)
    ids = textbook.encode(text[::-1])
    assert ids == other.encode(text[::-1]) and len(textbook) == len(other)
    assert textbook.decode(ids) == other.decode(ids) == text[::-1]


def test_characters_that_it_lacks_are_named():
    with pytest.raises(ValueError, match=r"lacks \['x', 'é'\]"):
        Characters("abc").encode("abxéc")
