"""Translation: `pipeline("translation", model=…)("…")`, or whatever else an encoder-decoder was trained to write.

Prerequisites: base.py, evaluation/translation.py. Next: factory.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..evaluation.translation import write_targets
from ..generation import absent
from ..models import EncoderDecoder, PretrainedModel
from .base import Pipeline, Settings, check_count, prefer_new_tokens

__all__ = ["TranslationPipeline", "TranslationSettings"]


@dataclass(frozen=True, kw_only=True)
class TranslationSettings(Settings):
    """How translations are written.

    Attributes:
        max_new_tokens: at most so many; by default what the context holds.
        max_length: at most so many, the token that targets start with counted; where both are given, max_new_tokens
            counts, with a warning.
        num_beams: 1 takes the likeliest tokens one by one; above, beam search with `length_penalty`.
        return_tensors: the ids, "translation_token_ids", instead of the text.
        truncation: as in text classification.
    """

    max_new_tokens: int | None = None
    max_length: int | None = None
    num_beams: int = 1
    length_penalty: float = 1.0
    return_tensors: bool = False
    truncation: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("num_beams", self.num_beams)
        check_count("max_new_tokens", self.max_new_tokens, "what the context holds")
        check_count("max_length", self.max_length, "what the context holds", least=2)
        prefer_new_tokens(self.max_new_tokens, self.max_length)

    @property
    def room(self) -> int | None:
        """How many tokens may follow the start token."""
        if self.max_new_tokens is None and self.max_length is not None:
            return self.max_length - 1
        return self.max_new_tokens


class TranslationPipeline(Pipeline):
    """Texts to translations: [{"translation_text": …}] for one text, and for a list a list of such dicts."""

    task = "translation"
    needs = "an encoder-decoder"
    recipe = "tinygpt pretrain --objective seq2seq --data synthetic-phrases --out runs/phrases"
    settings_class = TranslationSettings
    model: EncoderDecoder

    @classmethod
    def serves(cls, model: PretrainedModel) -> bool:
        """An encoder-decoder."""
        return isinstance(model, EncoderDecoder)

    def run(self, inputs: list[str], settings: TranslationSettings) -> list[dict[str, Any]]:
        """A dict for each text."""
        rows = self.encode(inputs, truncation=settings.truncation)
        written = write_targets(self.model, rows, num_beams=settings.num_beams, batch_size=settings.batch_size,
                                max_new_tokens=settings.room, length_penalty=settings.length_penalty,
                                suppress_tokens=absent(self.tokenizer.ids, self.model.config.vocab_size))
        if settings.return_tensors:
            return [{"translation_token_ids": row} for row in written]
        return [{"translation_text": self.tokenizer.decode(row, skip_special_tokens=True)} for row in written]

    def shape_one(self, result: Any, value: Any, given: dict[str, Any]) -> Any:
        """A text alone gets a list."""
        return [result]
