"""How alike texts are: `pipeline("sentence-similarity", model=…)(source, others)`, the cosines of their vectors.

Inputs and results are those of Hugging Face's inference API, as transformers has no such pipeline.

Prerequisites: base.py, models/sentences.py. Next: text_generation.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..models import BERT, GPT, PretrainedModel, SentenceEncoder, cosines
from ..pretrained.sentence_folder import Modules, read_modules
from .base import Pipeline, Settings

__all__ = ["SentenceSimilarityPipeline", "SimilaritySettings"]


@dataclass(frozen=True, kw_only=True)
class SimilaritySettings(Settings):
    """How vectors are made.

    Attributes:
        modules: what follows on the model; by default what its folder says, and the mean over the tokens where it says
            nothing.
    """

    modules: Modules = field(default_factory=Modules)


class SentenceSimilarityPipeline(Pipeline):
    """A text and others to a list of cosines, one for each of the others.

    An input is {"source_sentence": …, "sentences": […]}, or these two as arguments; a list of inputs gives a list of
    lists. `SentenceEncoder` gives the vectors themselves.
    """

    task = "sentence-similarity"
    needs = "an encoder or a decoder"
    recipe = "tinygpt pretrain --preset masked-words --out runs/masked"
    takes = '{"source_sentence": a text, "sentences": a list of texts}', "such dicts"
    settings_class = SimilaritySettings
    model: BERT | GPT

    @classmethod
    def serves(cls, model: PretrainedModel) -> bool:
        """Any BERT and any GPT, whatever its head, which is not used."""
        return isinstance(model, (BERT, GPT))

    @classmethod
    def settings_of(cls, folder: Path, task: str) -> dict[str, Any]:
        """What follows on the model."""
        return {"modules": read_modules(folder)}

    def is_input(self, value: Any) -> bool:
        """A dict of a text and a list of texts."""
        if not isinstance(value, dict):
            return False
        source, others = value.get("source_sentence"), value.get("sentences")
        if len(value) != 2 or not isinstance(source, str) or not isinstance(others, (list, tuple)) \
                or not all(isinstance(text, str) for text in others):
            raise ValueError(f"an input must be {self.takes[0]}, got {str(value)[:60]}")
        return True

    def __call__(self, inputs: Any, sentences: Sequence[str] | None = None, **settings: Any) -> Any:
        """As for every pipeline; or a text, and the list of `sentences` that it is compared with."""
        if sentences is not None:
            inputs = {"source_sentence": inputs, "sentences": list(sentences)}
        return super().__call__(inputs, **settings)

    def run(self, inputs: list[Any], settings: SimilaritySettings) -> list[list[float]]:
        """For each input a list of cosines."""
        texts = [text for given in inputs for text in (given["source_sentence"], *given["sentences"])]
        encoder = SentenceEncoder(self.model, self.tokenizer, settings.modules)
        vectors, at, found = encoder.encode(texts, batch_size=settings.batch_size), 0, []
        for given in inputs:
            source, others = vectors[at], vectors[at + 1:at + 1 + len(given["sentences"])]
            found.append(cosines(source, others).tolist())
            at += 1 + len(others)
        return found
