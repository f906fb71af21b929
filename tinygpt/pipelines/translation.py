"""What an encoder-decoder writes: `pipeline("translation", model=…)("…")`, "summarization", "text2text-generation".

The three differ in the name of the result, and in what a model's config.json says of each (`task_specific_params`): T5
wants "summarize: " before a text. transformers 5 has none of them any more; arguments and results are those of version
4.

Prerequisites: base.py, evaluation/translation.py. Next: factory.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from ..evaluation.translation import write_targets
from ..generation import absent
from ..files import read_json
from ..models import EncoderDecoder, PretrainedModel
from .base import Pipeline, Settings, check_count, prefer_new_tokens

__all__ = ["SummarizationPipeline", "Text2TextPipeline", "TranslationPipeline", "TranslationSettings"]


@dataclass(frozen=True, kw_only=True)
class TranslationSettings(Settings):
    """How targets are written.

    Attributes:
        prefix: what stands before every text.
        max_new_tokens: at most so many; by default what the context holds.
        max_length: at most so many, the token that targets start with counted; where both are given, max_new_tokens
            counts, with a warning.
        min_length: no target ends before it has so many tokens, the start token counted.
        num_beams: 1 takes the likeliest tokens one by one; above, beam search with `length_penalty` and
            `early_stopping`.
        do_sample: draw tokens instead, at `temperature`, from the `top_k` likeliest and the likeliest whose
            probabilities sum to `top_p`; the same `seed`, the same targets.
        no_repeat_ngram_size: no run of so many tokens is repeated; None as the model's folder says.
        repetition_penalty: above 1, tokens that are there already are less likely.
        return_tensors: the ids, "translation_token_ids" or the like, instead of the text.
        truncation: as in text classification.
    """

    prefix: str = ""
    max_new_tokens: int | None = None
    max_length: int | None = None
    min_length: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = 50
    top_p: float | None = None
    seed: int | None = None
    no_repeat_ngram_size: int | None = None
    repetition_penalty: float = 1.0
    return_tensors: bool = False
    truncation: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("num_beams", self.num_beams)
        check_count("min_length", self.min_length, least=0)
        if not isinstance(self.prefix, str):
            raise ValueError(f"prefix must be a text, got {self.prefix!r}")
        if self.num_beams > 1 and self.do_sample:
            raise ValueError("beams are not drawn: give do_sample=True or num_beams, not both")
        check_count("max_new_tokens", self.max_new_tokens, "what the context holds")
        check_count("max_length", self.max_length, "what the context holds", least=2)
        prefer_new_tokens(self.max_new_tokens, self.max_length)

    @property
    def room(self) -> int | None:
        """How many tokens may follow the start token."""
        if self.max_new_tokens is None and self.max_length is not None:
            return self.max_length - 1
        return self.max_new_tokens

    @property
    def how(self) -> dict[str, Any]:
        """The arguments of `generate`."""
        found: dict[str, Any] = {"min_new_tokens": max(0, self.min_length - 1),
                                 "no_repeat_ngram_size": self.no_repeat_ngram_size}
        if self.num_beams > 1:
            return found | {"num_beams": self.num_beams, "length_penalty": self.length_penalty,
                            "early_stopping": self.early_stopping}
        drawn = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p, "seed": self.seed}
        return found | {"repetition_penalty": self.repetition_penalty} | (drawn if self.do_sample else {})


class TranslationPipeline(Pipeline):
    """Texts to translations: [{"translation_text": …}] for one text, and for a list a list of such dicts."""

    task = "translation"
    result: ClassVar[str] = "translation"  # how its name begins in what is returned
    needs = "an encoder-decoder"
    recipe = "tinygpt pretrain --objective seq2seq --data synthetic-phrases --out runs/phrases"
    settings_class = TranslationSettings
    model: EncoderDecoder

    @classmethod
    def serves(cls, model: PretrainedModel) -> bool:
        """An encoder-decoder."""
        return isinstance(model, EncoderDecoder)

    @classmethod
    def settings_of(cls, folder: Path, task: str) -> dict[str, Any]:
        """What config.json says of the task; settings that are not known here are left out."""
        path = folder / "config.json"
        tasks = (read_json(path) if path.is_file() else {}).get("task_specific_params")
        found = tasks.get(task) if isinstance(tasks, dict) else None
        known = {field.name for field in fields(cls.settings_class)} - {"batch_size", "padding", "return_tensors"}
        return {name: value for name, value in found.items() if name in known} if isinstance(found, dict) else {}

    def run(self, inputs: list[str], settings: TranslationSettings) -> list[dict[str, Any]]:
        """A dict for each text."""
        rows = self.encode([settings.prefix + text for text in inputs], truncation=settings.truncation)
        room, longest = settings.room, self.model.config.block_size - 1
        written = write_targets(self.model, rows, batch_size=settings.batch_size,
                                max_new_tokens=room if room is None else min(room, longest),
                                suppress_tokens=absent(self.tokenizer.ids, self.model.config.vocab_size),
                                **settings.how)
        if settings.return_tensors:
            return [{f"{self.result}_token_ids": row} for row in written]
        return [{f"{self.result}_text": self.tokenizer.decode(row, skip_special_tokens=True)} for row in written]

    def shape_one(self, result: Any, value: Any, given: dict[str, Any]) -> Any:
        """A text alone gets a list."""
        return [result]


class SummarizationPipeline(TranslationPipeline):
    """Texts to summaries: [{"summary_text": …}] for one text, and for a list a list of such dicts."""

    task = "summarization"
    result = "summary"


class Text2TextPipeline(TranslationPipeline):
    """Texts to whatever the model writes: [{"generated_text": …}], and for a list a list of such dicts."""

    task = "text2text-generation"
    result = "generated"
