"""The kinds of tokenizers, and which of them a folder holds.

A new kind is one file with a subclass of `Tokenizer`, and one row in `TOKENIZERS`.

Prerequisites: `char.py`, `byte_bpe.py`. Next: `tinygpt/data/`, which turns files of text into arrays of ids.
"""

from __future__ import annotations

from pathlib import Path

from ..pretrained import resolve_tokenizer
from ..pretrained.gguf_file import is_gguf
from .base import Tokenizer
from .bert import BertTokenizer
from .byte_bpe import ByteBPE
from .char import CharTokenizer
from .files import TOKENIZER, SavedTokenizer
from .gguf import GGUFTokenizer
from .pipeline import PipelineTokenizer
from .sentencepiece_folder import MODEL_FILES, SUFFIXES, SentencePieceFolder

__all__ = ["TOKENIZERS", "load_tokenizer"]

TOKENIZERS: dict[str, type[Tokenizer]] = {  # by the name that the command line gives them; the first that matches loads
    "char": CharTokenizer,
    "bpe": ByteBPE,
    "pipeline": PipelineTokenizer,
    "sentencepiece": SentencePieceFolder,
    "wordpiece": BertTokenizer,
}


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of a folder, a GGUF file or a SentencePiece file, in any of the formats that this package reads.

    Args:
        folder: the folder or the file; or, with the `hub` extra, the name of a model on the Hugging Face Hub.

    Raises:
        FileNotFoundError: no such folder, or no tokenizer in it.
        ValueError: a step or a setting that is not read, by its name, or a malformed file.
    """
    path = resolve_tokenizer(folder)
    if path.suffix in SUFFIXES and path.is_file():
        return SentencePieceFolder.from_file(path)
    if path.is_file() and not is_gguf(path):
        raise ValueError(f"{path} is a file, and no GGUF file; give the folder that holds it")
    saved = GGUFTokenizer(path) if path.is_file() else SavedTokenizer(path)
    for kind in TOKENIZERS.values():
        if kind.matches(saved):
            return kind.load(saved)
    raise FileNotFoundError(f"{path} has no {TOKENIZER}, no vocab.json with merges.txt, no encoder.json with "
                            f"vocab.bpe, no vocab.txt and no SentencePiece model ({', '.join(MODEL_FILES)})")
