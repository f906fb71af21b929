"""Labels that nobody trained for: `pipeline("zero-shot-classification", model=…)("…", ["sport", "politics"])`.

A model that tells whether one sentence follows from another (natural language inference) is asked of each label whether
"This example is sport." follows from the text.

Shapes: P pairs of a text and a hypothesis, N classes of the model.

Prerequisites: base.py, tokenizers/template.py. Next: factory.py. Yin, Hay and Roth, "Benchmarking zero-shot text
classification" (2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..backend import to_numpy
from ..data import pad, similar_lengths
from ..models import BERT, GPT, PretrainedModel
from .base import Pipeline, Settings

__all__ = ["ZeroShotPipeline", "ZeroShotSettings"]

PLACE = "{}"


@dataclass(frozen=True, kw_only=True)
class ZeroShotSettings(Settings):
    """Which labels, and how they are asked for.

    Attributes:
        candidate_labels: the labels: a list, or a text with commas between them.
        hypothesis_template: the sentence that a label is put into, at "{}".
        multi_label: each label by itself, against its contradiction; otherwise the scores of all sum to 1.
    """

    candidate_labels: str | Sequence[str] = ()
    hypothesis_template: str = "This example is {}."
    multi_label: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.hypothesis_template, str) or PLACE not in self.hypothesis_template:
            raise ValueError(f"hypothesis_template must be a text with {PLACE} where the label goes, got "
                             f"{self.hypothesis_template!r}")
        if not all(isinstance(label, str) for label in self.candidate_labels):
            raise ValueError(f"candidate_labels must be texts, got {self.candidate_labels!r:.80}")

    @property
    def labels(self) -> list[str]:
        """The labels one by one."""
        given = self.candidate_labels
        return [label for part in given.split(",") if (label := part.strip())] if isinstance(given, str) \
            else list(given)


class ZeroShotPipeline(Pipeline):
    """Texts to labels: {"sequence": …, "labels": […], "scores": […]}, the likeliest first; for a list a list of these.

    The model's labels must name entailment. A text that is too long loses its end; the hypothesis stays whole.
    """

    task = "zero-shot-classification"
    needs = "a model of natural language inference, one of whose labels is entailment,"
    recipe = "tinygpt finetune --task classification --data nli.csv --out runs/nli"
    settings_class = ZeroShotSettings
    model: BERT | GPT

    @classmethod
    def serves(cls, model: PretrainedModel) -> bool:
        """A classifier with a label of entailment."""
        return isinstance(model, (BERT, GPT)) and _entailment(model.config.id2label) is not None

    def __call__(self, inputs: Any, candidate_labels: str | Sequence[str] | None = None, **settings: Any) -> Any:
        """As for every pipeline; the labels may come second."""
        if candidate_labels is not None:
            settings["candidate_labels"] = candidate_labels
        return super().__call__(inputs, **settings)

    def run(self, inputs: list[str], settings: ZeroShotSettings) -> list[dict[str, Any]]:
        """A dict for each text."""
        labels = settings.labels
        if not inputs:
            return []
        if not labels:
            raise ValueError("zero-shot-classification needs candidate_labels, at least one")
        hypotheses = [settings.hypothesis_template.replace(PLACE, label) for label in labels]
        pairs = [self.tokenizer.encode_pair(text, hypothesis, max_length=self.model.config.block_size)
                 for text in inputs for hypothesis in hypotheses]
        logits = self._logits(pairs, settings.batch_size).reshape(len(inputs), len(labels), -1)
        yes = _entailment(self.model.config.id2label) or 0
        if settings.multi_label or len(labels) == 1:
            no = -1 if yes == 0 else 0  # as in transformers: the first label contradicts, or else the last
            scores = ops.softmax(logits[..., [no, yes]], axis=-1).data[..., 1]
        else:
            scores = ops.softmax(logits[..., yes], axis=-1).data
        found = []
        for text, row in zip(inputs, scores):
            order = row.argsort()[::-1]
            found.append({"sequence": text, "labels": [labels[place] for place in order],
                          "scores": row[order].tolist()})
        return found

    def _logits(self, pairs: list[tuple[list[int], list[int]]], batch_size: int) -> np.ndarray:
        """(P, N)."""
        found = np.empty((len(pairs), self.model.config.n_labels), np.float32)
        with_types = isinstance(self.model, BERT) and self.model.config.type_vocab_size > 1
        for places, ids, mask in similar_lengths([ids for ids, _ in pairs], batch_size,
                                                 self.model.config.pad_token_id or 0):
            more = {"token_type_ids": pad([pairs[place][1] for place in places], 0)} if with_types else {}
            found[places] = to_numpy(self.model(ids, attention_mask=mask, **more).data)
        return found


def _entailment(names: dict[int, str] | None) -> int | None:
    """The number of the label that says so."""
    return next((number for number, name in (names or {}).items() if name.lower().startswith("entail")), None)
