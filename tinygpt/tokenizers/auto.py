"""Pick the tokenizer class from the files in a folder."""

from __future__ import annotations

import json
from pathlib import Path

from .base import Tokenizer
from .byte_bpe import ByteBPE
from .char import CharTokenizer

__all__ = ["load_tokenizer"]


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer saved in `folder`."""
    with open(Path(folder) / "tokenizer.json", encoding="utf-8") as file:
        saved = json.load(file)
    return ByteBPE.load(folder) if "pattern" in saved else CharTokenizer.load(folder)
