"""Tokenizers: `CharTokenizer` and `ByteBPE`, GPT-2's byte-level byte-pair encoding.

The book: `characters.py` (the simplest tokenizer) → `textbook_bpe.py` (byte-pair encoding, whole).
Upstairs: `jinja_worker.py`, `jinja.py`, `tool_schema.py`, `chat_text.py` (conversations), `special.py`, `template.py`,
`files.py` → `base.py` (the interface) → `unicode_classes.py`, `patterns.py`,
`splitter.py`, `counting.py` (what byte-level BPE works on) → `bpe.py` (the algorithm, fast) → `hf_pipeline.py`,
`hf_json.py`, `gpt2_files.py` (what is stored) → `char.py`, `byte_bpe.py` (all of it together) → `auto.py`,
`inspection.py`.
"""

from .auto import TOKENIZERS, load_tokenizer
from .base import Tokenizer
from .byte_bpe import ByteBPE
from .char import CharTokenizer

__all__ = ["Tokenizer", "ByteBPE", "CharTokenizer", "TOKENIZERS", "load_tokenizer"]
