"""Labels: `pipeline("text-classification", model=…)("…")`, which "sentiment-analysis" is another name for.

Prerequisites: base.py, evaluation/labelling.py. Next: fill_mask.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .. import ops
from ..evaluation.labelling import label_logits
from ..models import BERT, GPT, PretrainedModel
from .base import Pipeline, Settings, check_count

__all__ = ["ClassificationSettings", "TextClassificationPipeline"]

BEST: Any = object()  # the one label alone, without a list around it: what is returned where no top_k was ever given

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": lambda scores: ops.softmax(scores, axis=-1).data,
    "sigmoid": lambda scores: ops.sigmoid(scores).data,
    "none": lambda scores: scores}


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings(Settings):
    """How labels are given.

    Attributes:
        top_k: how many labels for each text, the likeliest first; None for all. Left alone it is the likeliest.
        function_to_apply: what makes scores of the model's outputs: "softmax" (probabilities that sum to 1), "sigmoid"
            (each label by itself), "none". "default" is softmax; sigmoid for a model with a single label or with
            problem_type "multi_label_classification"; none for "regression".
        truncation: what happens to a text that is too long: None cuts its end with a warning, True without one, False
            raises.
        max_length: read at most so many tokens of a text.
    """

    top_k: int | None = BEST
    function_to_apply: Literal["default", "softmax", "sigmoid", "none"] = "default"
    truncation: bool | None = None
    max_length: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k is not BEST:
            check_count("top_k", self.top_k, "all labels")
        if self.function_to_apply not in ("default", *FUNCTIONS):
            raise ValueError(f"function_to_apply must be default, {', '.join(FUNCTIONS)}, got "
                             f"{self.function_to_apply!r}")


class TextClassificationPipeline(Pipeline):
    """Texts to labels: [{"label": …, "score": …}] for one text, and for a list a list of such dicts.

    With `top_k` a text gets a list of them, the likeliest first. A text may also come as {"text": …}, as in
    transformers; pairs of texts are not read.
    """

    task = "text-classification"
    needs = "a model with a classification head"
    recipe = "tinygpt finetune --task classification --data synthetic-sentiment --out runs/sentiment"
    settings_class = ClassificationSettings
    model: BERT | GPT

    @classmethod
    def serves(cls, model: PretrainedModel) -> bool:
        """Any model with labels."""
        return getattr(model.config, "head", None) == "classification"

    def is_input(self, value: Any) -> bool:
        """A text, or a dict that holds one."""
        if isinstance(value, dict):
            if set(value) != {"text"} or not isinstance(value["text"], str):
                raise ValueError('a dict must be {"text": …} with one text; pairs of texts are not read, got '
                                 f"{str(value)[:60]}")
            return True
        return isinstance(value, str)

    def run(self, inputs: list[Any], settings: ClassificationSettings) -> list[Any]:
        """For each text a dict, or with `top_k` a list of them."""
        texts = [value if isinstance(value, str) else value["text"] for value in inputs]
        rows = self.encode(texts, truncation=settings.truncation, max_length=settings.max_length)
        function = FUNCTIONS[self._default() if settings.function_to_apply == "default" else settings.function_to_apply]
        scores = function(label_logits(self.model, rows, settings.batch_size))  # (N, K)
        names = self.model.config.id2label or {}
        found = [[{"label": names[label], "score": float(row[label])} for label in np.argsort(-row, kind="stable")]
                 for row in scores]
        if settings.top_k is BEST:
            return [labels[0] for labels in found]
        return [labels[:settings.top_k] for labels in found]

    def _default(self) -> str:
        """The function that fits the question that the model answers."""
        problem = self.model.config.problem_type
        if problem == "regression":
            return "none"
        return "sigmoid" if problem == "multi_label_classification" or self.model.config.n_labels == 1 else "softmax"

    def shape_one(self, result: Any, value: Any, given: dict[str, Any]) -> Any:
        """A text alone gets a list, unless this very call says how many labels, as in transformers."""
        return [result] if isinstance(value, str) and "top_k" not in given else result
