"""Hidden words: `pipeline("fill-mask", model=…)("The function returns<mask> if …")`.

Prerequisites: base.py, evaluation/masked_words.py. Next: feature_extraction.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..data import similar_lengths
from ..evaluation.masked_words import guess_masked
from ..models import BERT, PretrainedModel
from ..tokenizers import ByteBPE, Tokenizer
from ..tokenizers.byte_alphabet import CHAR_TO_BYTE, text_to_bytes
from .base import Pipeline, Settings, check_count, check_tokenizer_kwargs

__all__ = ["FillMaskPipeline", "FillMaskSettings"]


@dataclass(frozen=True, kw_only=True)
class FillMaskSettings(Settings):
    """How hidden words are guessed.

    Attributes:
        top_k: how many guesses for each mask, the likeliest first.
        targets: choose among these words only: a word, or several. One that is no token of the vocabulary is
            represented by its first token, with a warning.
        truncation: as in text classification. A text whose masks are all cut off is an error.
        tokenizer_kwargs: {"truncation": …, "max_length": …, "padding": …}, which is where transformers has them.
    """

    top_k: int = 5
    targets: str | Sequence[str] | None = None
    truncation: bool | None = None
    tokenizer_kwargs: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("top_k", self.top_k)
        check_tokenizer_kwargs("tokenizer_kwargs", self.tokenizer_kwargs)


def target_id(tokenizer: Tokenizer, word: str) -> int:
    """The token that stands for a word: itself, as written or in the alphabet of bytes ("Ġdog"), or its first."""
    if word in tokenizer.special_tokens:
        return tokenizer.special_tokens[word]
    ids = tokenizer.encode(word, add_special_tokens=False)
    if len(ids) == 1:
        return ids[0]
    if isinstance(tokenizer, ByteBPE) and word and CHAR_TO_BYTE.keys() >= set(word):
        spelt = tokenizer.vocab.get(text_to_bytes(word))
        if spelt is not None:
            return spelt
    if not ids:
        raise ValueError("a target is empty, expected a word")
    warnings.warn(f"the target {word!r} is no token of the vocabulary; its first, {tokenizer.decode(ids[:1])!r}, "
                  "stands for it", stacklevel=2)
    return ids[0]


class FillMaskPipeline(Pipeline):
    """Texts with masks to guesses: for each mask a list of {"score", "token", "token_str", "sequence"}.

    A text with one mask gets that list, a text with several a list of lists, one for each mask; then the sequences
    show the other masks, and what the tokenizer puts around the text. As in transformers, a list of a single text
    gets what the text alone gets.
    """

    task = "fill-mask"
    needs = "a masked language model"
    recipe = "tinygpt pretrain --preset masked-words --out runs/masked"
    settings_class = FillMaskSettings
    model: BERT

    def __init__(self, model: PretrainedModel, tokenizer: Tokenizer, **settings: Any) -> None:
        if tokenizer.mask_token_id is None:
            raise ValueError("fill-mask needs a tokenizer with a mask token; its special tokens are "
                             f"{', '.join(tokenizer.special_tokens) or 'none'}")
        self.mask = tokenizer.special.roles["mask_token"]
        super().__init__(model, tokenizer, **settings)

    @classmethod
    def serves(cls, model: PretrainedModel) -> bool:
        """A BERT with the masked-word head."""
        return isinstance(model, BERT) and model.config.head == "masked_lm"

    def run(self, inputs: list[str], settings: FillMaskSettings) -> list[Any]:
        """For each text the guesses for its mask, or a list of them."""
        for place, text in enumerate(inputs):
            if self.mask not in text:
                raise ValueError(f"text {place} has no {self.mask}: {text[:40]!r}")
        rows = self.encode(inputs, **{"truncation": settings.truncation, **(settings.tokenizer_kwargs or {})},
                           allowed_special=[self.mask])
        allowed = None if settings.targets is None else self._targets(settings.targets)
        found: list[Any] = [None] * len(rows)
        for places, ids, attention_mask in similar_lengths(rows, settings.batch_size, self.model.config.pad_token_id):
            hidden = np.flatnonzero(ids == self.tokenizer.mask_token_id)  # (masks,) in the flattened batch
            scores = ops.softmax(guess_masked(self.model, ids, hidden, attention_mask), axis=-1).data  # (masks, V)
            owners = hidden // ids.shape[1]
            for row, place in enumerate(places):
                if not (owners == row).any():
                    raise ValueError(f"text {place} is longer than the model's context, and its {self.mask} was cut "
                                     "off: give less text before it")
                found[place] = self._guesses(rows[place], scores[owners == row], allowed, settings.top_k)
        return found

    def _targets(self, targets: str | Sequence[str]) -> np.ndarray:
        words = [targets] if isinstance(targets, str) else list(targets)
        if not words:
            raise ValueError("targets is empty, expected at least one word, or None for the whole vocabulary")
        return np.array(list(dict.fromkeys(target_id(self.tokenizer, word) for word in words)))

    def _guesses(self, row: list[int], scores: np.ndarray, allowed: np.ndarray | None, top_k: int) -> list[Any]:
        """The guesses for the masks of one text; scores (masks, V)."""
        places = [place for place, token in enumerate(row) if token == self.tokenizer.mask_token_id]
        among = np.array(self.tokenizer.ids) if allowed is None else allowed
        found = []
        for place, p in zip(places, scores[:, among]):
            best = np.argsort(-p, kind="stable")[:top_k]
            found.append([{"score": float(p[choice]), "token": int(among[choice]),
                           "token_str": self.tokenizer.decode([among[choice]]),
                           "sequence": self.tokenizer.decode([*row[:place], int(among[choice]), *row[place + 1:]],
                                                             skip_special_tokens=len(places) == 1)}
                          for choice in best])
        return found[0] if len(found) == 1 else found

    def shape_many(self, results: list[Any]) -> list[Any]:
        """A list of one is as good as its text."""
        return results[0] if len(results) == 1 else results
