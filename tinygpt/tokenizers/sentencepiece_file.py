"""The file of a SentencePiece model: a vocabulary with scores, and how a text is normalised.

It is a protocol buffer. That format is a list of fields, each a number, a wire type and a value: an integer of seven
bits a byte, eight bytes, four bytes, or a length and as many bytes, which may be a message again. It takes forty lines
to read, with every length checked against what is there.

Prerequisites: nothing. Next: `sentencepiece.py`.
Source: sentencepiece_model.proto of github.com/google/sentencepiece; protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BYTE", "CONTROL", "NORMAL", "UNKNOWN", "UNUSED", "USER_DEFINED", "Pieces", "read_pieces"]

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # types of pieces; GGUF numbers them alike

_ALGORITHMS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
_MAX_BYTES = 1 << 26  # the largest public model has 14 million
_MAX_PIECES = 1 << 20


@dataclass(frozen=True)
class Pieces:
    """What a SentencePiece model holds.

    Attributes:
        pieces, scores, types: one of each for every id; "▁" in a piece is a space.
        algorithm: "unigram" or "bpe".
        charsmap: the table of normalisation, empty for none.
        add_dummy_prefix: a space goes before the text.
        remove_extra_whitespaces: no spaces at either end, and one where there are several.
        escape_whitespaces: spaces are written as "▁".
        byte_fallback: unknown characters are written as bytes.
        roles: the names of the pieces that play "bos_token", "eos_token", "pad_token" and "unk_token".
    """

    pieces: Sequence[str]
    scores: Sequence[float]
    types: Sequence[int]
    algorithm: str = "unigram"
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True
    byte_fallback: bool = False
    roles: tuple[tuple[str, str], ...] = ()

    def of_type(self, *types: int) -> list[str]:
        """The pieces of these types."""
        return [piece for piece, kind in zip(self.pieces, self.types) if kind in types]


def read_pieces(path: Path) -> Pieces:
    """Read a `.model` or `.spm` file.

    Raises:
        ValueError: no such file of SentencePiece's, or one with settings that are not read here.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; at most {_MAX_BYTES:,} are read")
    try:
        return _pieces(path.read_bytes())
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no SentencePiece model that can be read: {error}") from None


def _pieces(data: bytes) -> Pieces:
    pieces: list[str] = []
    scores: list[float] = []
    types: list[int] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for number, value in _fields(data):
        if number == 1:
            entry = dict(_fields(_bytes(value)))
            pieces.append(_bytes(entry.get(1, b"")).decode("utf-8"))
            scores.append(_float(entry.get(2, b"\0\0\0\0")))
            types.append(_int(entry.get(3, NORMAL)))
            if len(pieces) > _MAX_PIECES:
                raise ValueError(f"more than {_MAX_PIECES:,} pieces")
        elif number == 2:
            trainer = dict(_fields(_bytes(value)))
        elif number == 3:
            normalizer = dict(_fields(_bytes(value)))
    if not pieces:
        raise ValueError("it holds no pieces")
    algorithm = _ALGORITHMS.get(_int(trainer.get(3, 1)), "unknown")
    if algorithm not in ("unigram", "bpe"):
        raise ValueError(f"the algorithm is {algorithm!r}; unigram and bpe can be read")
    if _int(trainer.get(24, 0)):
        raise ValueError("it treats a space as the end of a word (treat_whitespace_as_suffix), which is not read")
    ids = {"unk_token": trainer.get(40, 0), "bos_token": trainer.get(41, 1), "eos_token": trainer.get(42, 2),
           "pad_token": trainer.get(43, (1 << 64) - 1)}
    roles = tuple((role, pieces[_int(i)]) for role, i in ids.items()
                  if _int(i) < len(pieces) and types[_int(i)] in (UNKNOWN, CONTROL))
    return Pieces(pieces, scores, types, algorithm, _bytes(normalizer.get(2, b"")), bool(_int(normalizer.get(3, 1))),
                  bool(_int(normalizer.get(4, 1))), bool(_int(normalizer.get(5, 1))), bool(_int(trainer.get(35, 0))),
                  roles)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The number and the value of each field of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        length = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            length, at = _varint(data, at)
        if length is None:
            raise ValueError(f"wire type {wire} at byte {at:,}")
        if length > len(data) - at:
            raise ValueError(f"a field of {length:,} bytes at byte {at:,}, where {len(data) - at:,} are left")
        yield tag >> 3, data[at:at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends in the middle of a number")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError(f"a number of more than ten bytes at byte {at:,}")


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("a text stands where a number is expected")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number stands where a text is expected")
    return value


def _float(value: int | bytes) -> float:
    if len(_bytes(value)) != 4:
        raise ValueError("a score is not of four bytes")
    score: float = struct.unpack("<f", _bytes(value))[0]
    if not math.isfinite(score):
        raise ValueError(f"a score is {score}")
    return score
