"""From text to batches: what a model is trained on.

Reading order: `text_files.py` (text out of files) → `synthetic/` (examples from seeded grammars) → `records.py` (tables
of examples) → `embedded.py` (the corpus inside every Python) → `download.py`, `corpora.py` (named public texts) →
`sources.py` (all that `--data` may name) → `split.py` (training and validation) → `tokens.py` (ids on disk) →
`shingles.py`, `minhash.py`, `quality.py` (texts to be dropped) → `parts.py`, `shards.py`, `prepare.py` (more than fits
into memory) → `windows.py` (random windows) → `mixture.py` (windows of several folders) → `sampler.py` (each once) →
`padding.py` (unequal lengths) → `texts.py` (whole texts) → `masking.py` (hidden words) → `pairs.py` (a source and its
target) → `chat_template.py`, `conversations.py` (questions and answers) → `few_shot.py` (examples inside a prompt). By
itself stands `digits.py` (pictures).
"""

from .corpora import CORPORA, Corpus, cache_folder, find_corpus
from .digits import drawn_digits, handwritten_digits, picture_text
from .embedded import embedded_documents
from .padding import SequenceSampler, all_sequences, next_token_batch
from .records import file_format, located_columns, located_records, read_columns
from .sampler import IGNORE, EpochSampler, LabelledSampler, all_windows, pad
from .sources import EMBEDDED, Documents, find_table
from .split import TextSlice, split_documents
from .synthetic import SYNTHETIC
from .text_files import read_chunks, read_lines
from .texts import encode_within, similar_lengths
from .tokens import TokenFile, encode_documents, token_array, write_tokens
from .windows import WindowSampler, require_block, step_generator

__all__ = [
    "CORPORA", "Corpus", "Documents", "EMBEDDED", "EpochSampler", "IGNORE", "LabelledSampler", "SYNTHETIC",
    "SequenceSampler", "TextSlice", "TokenFile", "WindowSampler", "all_sequences", "all_windows", "cache_folder",
    "drawn_digits", "embedded_documents", "encode_documents", "encode_within", "file_format", "find_corpus",
    "find_table", "handwritten_digits", "located_columns", "located_records", "next_token_batch", "pad",
    "picture_text", "read_chunks", "read_columns", "read_lines", "require_block", "similar_lengths",
    "split_documents", "step_generator", "token_array", "write_tokens",
]
