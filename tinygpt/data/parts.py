"""Data cut into parts of some megabytes, so that several processes can read them, and none has to be read twice.

A part is some small files, or a stretch of a large one. A table of JSON Lines is cut between lines. A text is cut where
no token goes over the cut, as long documents are (sources.py). What is packed is not cut. How data are cut depends on
the files and on the size asked for, never on who reads them.

Prerequisites: sources.py, records.py. Next: prepare.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..files import parse_object, shown, user_path
from .records import file_format
from .sources import Documents, bounded
from .text_files import STDIN, is_packed, read_chunks, read_lines

__all__ = ["Piece", "cut_data", "piece_documents"]

_LOOK = 1 << 20  # bytes that are searched for a place to cut
_SPACE = re.compile(rb"(?<=[!-~]) ")  # behind a character of ASCII, which is no part of a wider white space


@dataclass(frozen=True)
class Piece:
    """A file, a stretch of one, or a corpus that is in memory.

    Attributes:
        name: a path, or the name of the corpus.
        start, stop: its bytes, from `start` to the one before `stop`; of a corpus in memory 0 and 0.
        whole: whether it is all there is of that name, to be read as `Documents` reads it.
    """

    name: str
    start: int
    stop: int
    whole: bool


def cut_data(specs: Sequence[str], size: int) -> list[list[Piece]]:
    """The parts of all data, in order; each of about `size` bytes, and of one piece at least.

    Args:
        specs: what `Documents` takes, but for what can be read only once.
        size: bytes, at least 1.

    Raises:
        ValueError: standard input or a pipe; and all that `Documents` raises.
    """
    parts: list[list[Piece]] = [[]]
    filled = 0  # bytes of the last part
    for spec in specs:
        path = user_path(spec)
        if spec == STDIN or (path.exists() and not path.is_file() and not path.is_dir()):
            raise ValueError(f"{shown(spec)} can be read only once, and to go on after an interruption it has to be "
                             "read again: write it to a file first")
        for source in Documents([spec]).sources:
            for piece in [Piece(spec, 0, 0, True)] if isinstance(source, tuple) else _file_pieces(source, size):
                if parts[-1] and filled + piece.stop - piece.start > size:
                    parts.append([])
                    filled = 0
                parts[-1].append(piece)
                filled += piece.stop - piece.start
    return parts


def _file_pieces(path: Path, size: int) -> Iterator[Piece]:
    n_bytes = path.stat().st_size
    with open(path, "rb") as file:
        if n_bytes <= size or is_packed(file.read(2)):
            yield Piece(str(path), 0, n_bytes, True)
            return
        find = _line_start if file_format(path) == "jsonl" else _text_cut
        n = -(-n_bytes // size)
        bounds = sorted({0, n_bytes, *(find(file, n_bytes * i // n, n_bytes) for i in range(1, n))})
        for start, stop in zip(bounds, bounds[1:]):
            yield Piece(str(path), start, stop, False)


def _line_start(file: BinaryIO, place: int, end: int) -> int:
    """Where the first line begins that begins behind `place`."""
    file.seek(place)
    while block := file.read(_LOOK):
        found = block.find(b"\n")
        if found >= 0:
            return place + found + 1
        place += len(block)
    return end


def _text_cut(file: BinaryIO, place: int, end: int) -> int:
    """The first place behind `place` where a cut changes no token; without one, where a character begins."""
    file.seek(place)
    block = file.read(_LOOK)
    if found := _SPACE.search(block):
        return place + found.start()
    for at in range(1, len(block)):
        if block[at] & 0xC0 != 0x80 and block[at - 1:at + 1] != b"\r\n":
            return place + at
    return end


def piece_documents(piece: Piece) -> Iterator[str]:
    """The documents of a piece, each of at most DOCUMENT_LIMIT characters.

    Raises:
        ValueError: broken JSON, or a record without a text.
    """
    if piece.whole:
        yield from Documents([piece.name])
        return
    span = piece.start, piece.stop
    if file_format(piece.name) != "jsonl":
        yield from bounded(read_chunks(piece.name, span=span))
        return
    for number, line in enumerate(read_lines(piece.name, span), 1):
        if line.strip():
            where = f"{piece.name}, line {number} from byte {piece.start:,} on"
            text = parse_object(line, where).get("text")
            if not isinstance(text, str):
                raise ValueError(f"{where}: no text under the name 'text'; each record of a .jsonl file needs one")
            yield from bounded([text])
