"""The last step of a tokenizer, on the way back: tokens -> text.

A decoder is a function of the tokens of a text, which it changes, joins or leaves alone; what remains is joined.
`DECODERS` has one row for each kind that `tokenizer.json` knows. A new kind is one function and one row.

Prerequisites: `normalizers.py`, `pre_tokenizers.py`. Next: `pipeline.py`.
Source: github.com/huggingface/tokenizers, tokenizers/src/decoders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from .byte_alphabet import CHAR_TO_BYTE, text_to_bytes
from .files import flat_steps, member
from .normalizers import replacer
from .pre_tokenizers import prepend_scheme

__all__ = ["BYTE_TOKEN", "DECODERS", "Decoder", "read_decoder"]

Decoder = Callable[[list[str]], list[str]]

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # how a vocabulary writes a byte that is no character
_CLEANED = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
            (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))


def read_decoder(step: Any) -> Decoder:
    """The function that a decoder of `tokenizer.json` is; ValueError for an unknown kind. None puts spaces between."""
    if step is None:
        return lambda tokens: [" ".join(tokens)]
    steps = [_read(kind, inner) for kind, inner in flat_steps(step, "decoder", "decoders")]

    def decode(tokens: list[str]) -> list[str]:
        for one in steps:
            tokens = one(tokens)
        return tokens

    return decode


def _read(kind: str, step: Mapping[str, Any]) -> Decoder:
    if kind not in DECODERS:
        raise ValueError(f"the decoder {kind!r:.100} is none that can be read ({', '.join(DECODERS)})")
    return DECODERS[kind](step)


def _cleaned(text: str) -> str:
    """The text without the spaces that stand before punctuation."""
    for old, new in _CLEANED:
        text = text.replace(old, new)
    return text


def _byte_level(tokens: list[str]) -> list[str]:
    """Tokens in the byte alphabet; one with another character is taken as the text that it is."""
    data = [text_to_bytes(token) if CHAR_TO_BYTE.keys() >= set(token) else token.encode("utf-8") for token in tokens]
    return [b"".join(data).decode("utf-8", errors="replace")]


def _word_piece(step: Mapping[str, Any]) -> Decoder:
    prefix, cleanup = member(step, "prefix", str, "##"), member(step, "cleanup", bool, True)

    def decode(tokens: list[str]) -> list[str]:
        parts = [token if i == 0 else token[len(prefix):] if token.startswith(prefix) else f" {token}"
                 for i, token in enumerate(tokens)]
        return [_cleaned(part) for part in parts] if cleanup else parts

    return decode


def _metaspace(step: Mapping[str, Any]) -> Decoder:
    sign = member(step, "replacement", str, "▁")
    first = " " if prepend_scheme(step) == "never" else ""
    return lambda tokens: [token.replace(sign, " " if i else first) for i, token in enumerate(tokens)]


def _byte_fallback(tokens: list[str]) -> list[str]:
    """Bytes that stand together become characters, or one U+FFFD each if they make none."""
    parts: list[str] = []
    for is_byte, run in groupby(tokens, lambda token: BYTE_TOKEN.fullmatch(token) is not None):
        if not is_byte:
            parts += run
            continue
        data = bytes(int(token[3:5], 16) for token in run)
        try:
            parts.append(data.decode("utf-8"))
        except UnicodeDecodeError:
            parts += "\ufffd" * len(data)
    return parts


def _strip(step: Mapping[str, Any]) -> Decoder:
    content, start, stop = member(step, "content", str), member(step, "start", int, 0), member(step, "stop", int, 0)
    if len(content) != 1 or start < 0 or stop < 0:
        raise ValueError(f"the decoder Strip takes one character off, a number of times; got {step!r:.100}")

    def strip(token: str) -> str:
        left = min(start, len(token) - len(token.lstrip(content)))
        right = min(stop, len(token) - len(token.rstrip(content)))
        return token[left:max(left, len(token) - right)]

    return lambda tokens: [strip(token) for token in tokens]


def _replace(step: Mapping[str, Any]) -> Decoder:
    replace = replacer(step)
    return lambda tokens: [replace(token) for token in tokens]


def _bpe(step: Mapping[str, Any]) -> Decoder:
    suffix = member(step, "suffix", str, "</w>")
    if not suffix:
        return lambda tokens: tokens
    return lambda tokens: [token.replace(suffix, "" if i == len(tokens) else " ") for i, token in enumerate(tokens, 1)]


def _ctc(step: Mapping[str, Any]) -> Decoder:
    pad, delimiter = member(step, "pad_token", str, "<pad>"), member(step, "word_delimiter_token", str, "|")
    cleanup = member(step, "cleanup", bool, True)

    def decode(tokens: list[str]) -> list[str]:
        parts = [token.replace(pad, "") if pad else token for token, _ in groupby(tokens)]
        parts = [_cleaned(part).replace(delimiter, " ") if delimiter else _cleaned(part)
                 for part in parts] if cleanup else parts
        return [part for part in parts if part]

    return decode


DECODERS: dict[str, Callable[[Mapping[str, Any]], Decoder]] = {
    "BPEDecoder": _bpe,
    "ByteFallback": lambda step: _byte_fallback,
    "ByteLevel": lambda step: _byte_level,
    "CTC": _ctc,
    "Fuse": lambda step: lambda tokens: ["".join(tokens)],
    "Metaspace": _metaspace,
    "Replace": _replace,
    "Strip": _strip,
    "WordPiece": _word_piece,
}
