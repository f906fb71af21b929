"""The kinds of models that `tokenizer.json` knows, one row for each.

Prerequisites: `wordpiece.py`, `unigram.py`, `character_bpe.py`. Next: `pipeline.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .character_bpe import BPE
from .files import model_type
from .model import Model
from .unigram import Unigram
from .wordpiece import WordLevel, WordPiece

__all__ = ["MODELS", "read_model"]

MODELS: dict[str, type[Model]] = {"BPE": BPE, "Unigram": Unigram, "WordLevel": WordLevel, "WordPiece": WordPiece}


def read_model(document: Mapping[str, Any]) -> Model:
    """The model of a `tokenizer.json`; ValueError for an unknown kind, or a damaged one."""
    kind = model_type(document)
    if kind not in MODELS:
        raise ValueError(f"the model is {kind!r:.100}; the kinds that can be read are {', '.join(MODELS)}")
    return MODELS[kind].from_json(document["model"])
