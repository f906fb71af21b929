"""GPT-2's alphabet: a printable character for each of the 256 bytes, so that files can hold any token as text.

188 bytes are printable Latin-1 characters and stand for themselves; the other 68 (controls, space, 0x7F–0xA0, 0xAD)
are moved to U+0100 and up, so space is "Ġ" and newline is "Ċ". Sorted by their characters, the bytes are numbered as
in GPT-2's vocabulary: "!" is 0, and the 68 come last.

Source: `bytes_to_unicode` of github.com/openai/gpt-2 (src/encoder.py). Next: `unicode_classes.py`.
"""

from __future__ import annotations

__all__ = ["BYTE_TO_CHAR", "CHAR_TO_BYTE", "BYTE_ORDER", "bytes_to_text", "text_to_bytes"]

_PRINTABLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
_MOVED = [byte for byte in range(256) if byte not in _PRINTABLE]

BYTE_ORDER = _PRINTABLE + _MOVED  # BYTE_ORDER[id] is the byte that GPT-2 numbers id
BYTE_TO_CHAR = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(_MOVED)}
CHAR_TO_BYTE = {char: byte for byte, char in BYTE_TO_CHAR.items()}


def bytes_to_text(data: bytes) -> str:
    """Bytes written in the alphabet: `b" the"` is "Ġthe"."""
    return "".join([BYTE_TO_CHAR[byte] for byte in data])


def text_to_bytes(text: str) -> bytes:
    """The inverse of `bytes_to_text`; KeyError where `text` has a character outside the alphabet."""
    return bytes([CHAR_TO_BYTE[char] for char in text])
