"""Multiple choice by likelihood: the choice that the model finds the likeliest is its answer.

No model has to follow instructions for this, so it measures small and unfinished models too. The likelihood of a whole
choice favours short ones, so there are four rules: −log p as it is ("raw", which others call acc), divided by the
choice's characters (acc_norm), by its bytes, and by its tokens. All but the last can be compared between tokenizers. A
share of right answers has an interval of confidence, and beside it stands what guessing would get.

Of minimal pairs, two sentences that differ in what is asked about, one is right in the same way.

Prerequisites: questions.py, confidence.py. Next: last_word.py. Gao et al., "A framework for few-shot language model
evaluation" (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..models import PretrainedModel
from ..tokenizers import Tokenizer
from .confidence import wilson_interval
from .questions import Question
from .running import Track, untracked
from .text_pairs import score_texts

__all__ = ["RULES", "MultipleChoice", "answer_questions"]

RULES = ("raw", "per_character", "per_byte", "per_token")


@dataclass(frozen=True)
class MultipleChoice:
    """What answering came to.

    Attributes:
        n_questions: how many there were.
        n_right: how many were answered right under each of RULES.
        chance: what guessing gets on average.
        chosen: the number of the choice taken under each rule, one for each question.
        groups: for each group of questions how many it has, and how many were right under the rule "raw".
    """

    n_questions: int
    n_right: dict[str, int]
    chance: float
    chosen: dict[str, list[int]] = field(repr=False)
    groups: dict[str, tuple[int, int]] = field(repr=False)

    def accuracy(self, rule: str) -> float:
        """The share of right answers under a rule."""
        return self.n_right[rule] / self.n_questions

    def to_dict(self) -> dict[str, Any]:
        """The figures by name; each accuracy with its 95% interval."""
        figures: dict[str, Any] = {"n_questions": self.n_questions}
        for rule in self.n_right:
            name = "accuracy" if rule == "raw" else f"accuracy_{rule}"
            figures[name] = self.accuracy(rule)
            figures[f"{name}_interval"] = list(wilson_interval(self.n_right[rule], self.n_questions))
        if self.groups:
            figures["groups"] = {group: right / n for group, (n, right) in self.groups.items()}
        return figures | {"chance": self.chance}


def answer_questions(model: PretrainedModel, tokenizer: Tokenizer, questions: Sequence[Question],
                     batch_size: int = 64, track: Track = untracked) -> MultipleChoice:
    """Answer questions by the likelihood of their choices, each written after its context and a space.

    Args:
        model: a decoder, or a masked model, which scores by pseudo-likelihood.
        batch_size: choices read at once.

    Raises:
        ValueError: no questions, a model of another kind, or a text that the tokenizer cannot write.
    """
    if not questions:
        raise ValueError("multiple choice needs at least one question")
    counts = [len(question.choices) for question in questions]
    scores = score_texts(model, tokenizer, [pair for question in questions for pair in question.pairs], counts,
                         [question.where for question in questions], batch_size, track)
    choices = [choice for question in questions for choice in question.choices]
    sizes = {"raw": np.ones(len(choices)), "per_character": np.array([len(choice) for choice in choices]),
             "per_byte": np.array([len(choice.encode()) for choice in choices]), "per_token": scores.n_tokens}
    starts = np.cumsum([0, *counts])
    chosen = {rule: [int((scores.nats[a:b] / sizes[rule][a:b]).argmin()) for a, b in zip(starts, starts[1:])]
              for rule in RULES}
    right = {rule: [own == question.answer for own, question in zip(chosen[rule], questions)] for rule in RULES}
    groups: dict[str, tuple[int, int]] = {}
    for question, good in zip(questions, right["raw"]):
        if question.group:
            n, n_right = groups.get(question.group, (0, 0))
            groups[question.group] = (n + 1, n_right + good)
    return MultipleChoice(len(questions), {rule: sum(marks) for rule, marks in right.items()},
                          float(np.mean([1 / count for count in counts])), chosen, groups)
