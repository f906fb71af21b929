"""Pick the tokenizer class from the files in a folder.

Prerequisites: `char.py`, `byte_bpe.py`. Next: `tinygpt/data/`, which turns files of text into arrays of ids.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from .base import Tokenizer
from .byte_bpe import ByteBPE
from .char import CharTokenizer
from .files import TOKENIZER, read_json

__all__ = ["load_tokenizer"]


def load_tokenizer(folder: str | PathLike[str]) -> Tokenizer:
    """The tokenizer saved in `folder`, in any of the formats that this package reads.

    Raises:
        FileNotFoundError: no such folder, or no tokenizer in it.
        ValueError: a tokenizer of a kind that is not read (WordPiece, Unigram, …), or a malformed file.
    """
    path = Path(folder)
    if not path.exists():
        raise FileNotFoundError(f"there is no folder {path}")
    if not path.is_dir():
        raise ValueError(f"{path} is a file; give the folder that holds it")
    if not (path / TOKENIZER).exists():
        return ByteBPE.load(path)
    document = read_json(path / TOKENIZER)
    return (CharTokenizer if CharTokenizer.is_saved_as(document) else ByteBPE).from_json(document, path)
