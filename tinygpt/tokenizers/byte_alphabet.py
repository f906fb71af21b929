"""An alphabet with a printable character for each of the 256 bytes.

JSON holds text, and a token can be any bytes. So GPT-2 writes tokens in an alphabet of their own. 188 bytes are
printable Latin-1 characters and stand for themselves; the other 68 (controls, space, 0x7F–0xA0, 0xAD) are moved to
U+0100 and up, so space is "Ġ" and newline is "Ċ". Bytes are numbered as these characters sort: that is `BYTE_ORDER`.

Prerequisites: `textbook_bpe.py`. Next: `hf_json.py`.
Source: `bytes_to_unicode` of github.com/openai/gpt-2 (src/encoder.py).
"""

from __future__ import annotations

from .textbook_bpe import BYTE_ORDER

__all__ = ["BYTE_TO_CHAR", "CHAR_TO_BYTE", "bytes_to_text", "text_to_bytes"]

_PRINTABLE, _MOVED = BYTE_ORDER[:188], BYTE_ORDER[188:]
BYTE_TO_CHAR = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(_MOVED)}
CHAR_TO_BYTE = {char: byte for byte, char in BYTE_TO_CHAR.items()}


def bytes_to_text(data: bytes) -> str:
    """Bytes written in the alphabet: `b" the"` is "Ġthe"."""
    return data.decode("latin-1").translate(BYTE_TO_CHAR)


def text_to_bytes(text: str) -> bytes:
    """The inverse of `bytes_to_text`; KeyError where `text` has a character outside the alphabet."""
    return bytes([CHAR_TO_BYTE[char] for char in text])
