"""The kinds of tokenizers, and which of them a folder holds.

A new kind is one file with a subclass of `Tokenizer`, and one row in `TOKENIZERS`.

Prerequisites: `char.py`, `byte_bpe.py`. Next: `tinygpt/data/`, which turns files of text into arrays of ids.
"""

from __future__ import annotations

from pathlib import Path

from ..pretrained import resolve_tokenizer
from ..pretrained.gguf_file import is_gguf
from .base import Tokenizer
from .byte_bpe import ByteBPE
from .char import CharTokenizer
from .files import TOKENIZER, SavedTokenizer
from .gguf import GGUFTokenizer
from .pipeline import PipelineTokenizer

__all__ = ["TOKENIZERS", "load_tokenizer"]

TOKENIZERS: dict[str, type[Tokenizer]] = {  # by the name that the command line gives them; the first that matches loads
    "char": CharTokenizer,
    "bpe": ByteBPE,
    "pipeline": PipelineTokenizer,
}

# What other kinds are saved as, to name them where they are refused.
_NOT_READ = {"vocab.txt": "a WordPiece vocabulary", "tokenizer.model": "a SentencePiece model",
             "spiece.model": "a SentencePiece model", "sentencepiece.bpe.model": "a SentencePiece model",
             "source.spm": "a SentencePiece model"}


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer saved in `folder`, or in a GGUF file, in any of the formats that this package reads.

    Args:
        folder: the folder or the file; or, with the `hub` extra, the name of a model on the Hugging Face Hub.

    Raises:
        FileNotFoundError: no such folder, or no tokenizer in it.
        ValueError: a tokenizer of a kind that is not read (WordPiece, Unigram, …), or a malformed file.
    """
    path = resolve_tokenizer(folder)
    if path.is_file() and not is_gguf(path):
        raise ValueError(f"{path} is a file, and no GGUF file; give the folder that holds it")
    saved = GGUFTokenizer(path) if path.is_file() else SavedTokenizer(path)
    for kind in TOKENIZERS.values():
        if kind.matches(saved):
            return kind.load(saved)
    if saved.has(TOKENIZER):
        raise ValueError(f"{path / TOKENIZER}: the model is {saved.model_type!r:.100}; the kinds that can be read are "
                         f"{', '.join(TOKENIZERS)}")
    for name, what in _NOT_READ.items():
        if saved.has(name):
            raise ValueError(f"{path} holds {what} ({name}), which is not read; the kinds that can be read are "
                             f"{', '.join(TOKENIZERS)}")
    raise FileNotFoundError(f"{path} has no {TOKENIZER}, no vocab.json with merges.txt and no encoder.json with "
                            "vocab.bpe")
