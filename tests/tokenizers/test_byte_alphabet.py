"""GPT-2's alphabet of 256 printable characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_texts import quick

from tinygpt.tokenizers.byte_alphabet import BYTE_ORDER, BYTE_TO_CHAR, CHAR_TO_BYTE, bytes_to_text, text_to_bytes


def test_each_byte_has_a_printable_character_of_its_own():
    assert sorted(BYTE_TO_CHAR) == list(range(256)) and len(CHAR_TO_BYTE) == 256
    assert all(char.isprintable() and not char.isspace() for char in CHAR_TO_BYTE)


def test_what_readers_of_vocabularies_know():
    assert bytes_to_text(b" the\n") == "ĠtheĊ"
    assert bytes_to_text("é".encode()) == "Ã©"
    assert (BYTE_ORDER[0], BYTE_ORDER[93], BYTE_ORDER[220]) == (ord("!"), ord("~"), ord(" "))


def test_bytes_are_numbered_as_their_characters_sort():
    assert [BYTE_TO_CHAR[byte] for byte in BYTE_ORDER] == sorted(CHAR_TO_BYTE)


@quick
@given(st.binary())
def test_round_trip(data):
    assert text_to_bytes(bytes_to_text(data)) == data


def test_other_characters_are_refused():
    with pytest.raises(KeyError):
        text_to_bytes("a b")
