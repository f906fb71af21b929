"""Tokenizers: `CharTokenizer` and `ByteBPE`, GPT-2's byte-level byte-pair encoding.

Read `base.py` (the interface), `char.py`, then `bpe.py` (the algorithm), then `byte_bpe.py`.
"""

from .auto import load_tokenizer
from .base import Tokenizer
from .byte_bpe import ByteBPE
from .char import CharTokenizer

__all__ = ["Tokenizer", "ByteBPE", "CharTokenizer", "load_tokenizer"]
