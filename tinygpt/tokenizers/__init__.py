"""Tokenizers: `CharTokenizer` and `ByteBPE`, GPT-2's byte-level byte-pair encoding.

Reading order: `special.py`, `template.py` → `base.py` (the interface) → `char.py` (the simplest tokenizer) →
`byte_alphabet.py`, `unicode_classes.py`, `patterns.py`, `splitter.py`, `counting.py` (what byte-level BPE works on) →
`bpe.py` (the algorithm) → `files.py`, `hf_pipeline.py`, `hf_json.py`, `gpt2_files.py` (what is stored) →
`byte_bpe.py` (all of it together) → `auto.py`, `inspection.py`. In a hurry: `base.py`, `char.py`, `bpe.py`.
"""

from .auto import load_tokenizer
from .base import Tokenizer
from .byte_bpe import ByteBPE
from .char import CharTokenizer

__all__ = ["Tokenizer", "ByteBPE", "CharTokenizer", "load_tokenizer"]
