"""Vectors: `pipeline("feature-extraction", model=…)("…")`, what the last block makes of each token.

The mean over a text's tokens is one vector for the text; texts of similar meaning have similar ones, as far as the
model is any good. `examples/16_semantic_search.py` searches with them.

Shapes: T time, C channels.

Prerequisites: base.py, models/bert.py. Next: text_generation.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..backend import to_numpy
from ..data import similar_lengths
from ..models import BERT, GPT, PretrainedModel
from .base import Pipeline, Settings, check_tokenizer_kwargs

__all__ = ["FeatureExtractionPipeline", "FeatureSettings"]


@dataclass(frozen=True, kw_only=True)
class FeatureSettings(Settings):
    """How features are given.

    Attributes:
        return_tensors: arrays (1, T, C) float32 instead of nested lists.
        truncation: as in text classification.
        tokenize_kwargs: {"truncation": …, "max_length": …, "padding": …}, which is where transformers has them.
    """

    return_tensors: bool = False
    truncation: bool | None = None
    tokenize_kwargs: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tokenizer_kwargs("tokenize_kwargs", self.tokenize_kwargs)


class FeatureExtractionPipeline(Pipeline):
    """Texts to features: for each text a nested list [1, T, C], one vector for each token, the template's included.

    Batches change nothing: a text's features are those of its own tokens. (transformers returns the padding's too.)
    """

    task = "feature-extraction"
    needs = "a decoder or an encoder"
    recipe = "tinygpt pretrain --preset masked-words --out runs/masked"
    settings_class = FeatureSettings
    model: BERT | GPT

    @classmethod
    def serves(cls, model: PretrainedModel) -> bool:
        """Any BERT and any GPT, whatever its head, which is not used."""
        return isinstance(model, (BERT, GPT))

    def run(self, inputs: list[str], settings: FeatureSettings) -> list[Any]:
        """For each text its features."""
        rows = self.encode(inputs, **{"truncation": settings.truncation, **(settings.tokenize_kwargs or {})})
        found: list[Any] = [None] * len(rows)
        for places, ids, mask in similar_lengths(rows, settings.batch_size, self.model.config.pad_token_id or 0):
            features = to_numpy(self.model.features(ids, mask).data)  # (B, T, C)
            for place, row in zip(places, features):
                own = row[None, :len(rows[place])].copy()  # (1, T, C), without the filling
                found[place] = own if settings.return_tensors else own.tolist()
        return found
