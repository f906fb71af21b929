"""Tokenizers: `CharTokenizer`, `ByteBPE` (GPT-2's), and those of all other public models, read and applied.

The book: `characters.py` (the simplest tokenizer) → `textbook_bpe.py` (byte-pair encoding, whole).
Upstairs: `special.py`, `template.py`, `files.py` → `base.py` (the interface) → `unicode_classes.py`, `oniguruma.py`,
`patterns.py`, `splitter.py`, `counting.py` (what byte-level BPE works on) → `bpe.py` (the algorithm, fast) →
`hf_pipeline.py`, `hf_json.py`, `gpt2_files.py` (what is stored) → `char.py`, `byte_bpe.py` (all of it together).

The others are steps: `normalizers.py` → `pre_tokenizers.py` → `model.py` and its kinds (`wordpiece.py`, `unigram.py`,
`character_bpe.py`) → `decoders.py` → `pipeline.py` (all of it together) → `bert.py`, `sentencepiece.py`,
`sentencepiece_folder.py`. `auto.py` finds the kind of a folder; `inspection.py` shows what a tokenizer does.
"""

from .auto import TOKENIZERS, load_tokenizer
from .base import Tokenizer
from .bert import BertTokenizer
from .byte_bpe import ByteBPE
from .char import CharTokenizer
from .pipeline import PipelineTokenizer
from .sentencepiece import SentencePieceTokenizer

__all__ = ["Tokenizer", "BertTokenizer", "ByteBPE", "CharTokenizer", "PipelineTokenizer", "SentencePieceTokenizer",
           "TOKENIZERS", "load_tokenizer"]
