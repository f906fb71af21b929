"""Multiple choice by likelihood: the ending that the model finds the likeliest is its answer.

No model has to follow instructions for this, so it measures small and unfinished models too. The likelihood of a whole
ending favours short ones, so three rules are reported: −log p as it is ("raw"), divided by the ending's bytes, and
by its tokens. Bytes do not depend on the tokenizer. A share of right answers has an interval of confidence, and
beside it stands what guessing would get.

Two shapes of JSON Lines are read: HellaSwag's and ARC's (as published, and as the Hugging Face Hub has it):

    {"ctx": "A man sits on a roof. he", "endings": ["is using wrap …", …], "label": 3}
    {"question": {"stem": "Which …?", "choices": [{"text": "dry", "label": "A"}, …]}, "answerKey": "A"}
    {"question": "Which …?", "choices": {"text": ["dry", …], "label": ["A", …]}, "answerKey": "A"}

Prerequisites: likelihood.py, confidence.py. Next: classification.py. Zellers et al., "HellaSwag" (2019); Clark et
al., "Think you have solved question answering? Try ARC" (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import located_records
from ..models import CausalLM
from ..tokenizers import Tokenizer
from .confidence import wilson_interval
from .likelihood import continuation_nats
from .running import Track, untracked

__all__ = ["MultipleChoice", "Question", "answer_questions", "is_multiple_choice", "read_questions"]


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        context: what the model reads.
        choices: how it may go on, without the space in between; at least two.
        answer: the number of the right one.
        where: the file and line it comes from, for messages.
    """

    context: str
    choices: tuple[str, ...]
    answer: int
    where: str = "a question"


def is_multiple_choice(record: Any) -> bool:
    """Whether a record has one of the shapes above."""
    return isinstance(record, dict) and ("endings" in record or "answerKey" in record)


def _hellaswag(record: dict[Any, Any]) -> tuple[Any, Any, Any]:
    context = record["ctx"] if "ctx" in record else f"{record['ctx_a']} {record['ctx_b']}".strip()
    label = record["label"]
    return context, record["endings"], int(label) if isinstance(label, str) and label.isdecimal() else label


def _arc(record: dict[Any, Any]) -> tuple[Any, Any, Any]:
    question = record["question"]
    choices = question["choices"] if isinstance(question, dict) else record["choices"]
    question = question["stem"] if isinstance(question, dict) else question
    if isinstance(choices, dict):
        choices = [{"text": text, "label": label} for text, label in zip(choices["text"], choices["label"])]
    names = [choice["label"] for choice in choices]
    if record["answerKey"] not in names:
        raise ValueError(f"answerKey {record['answerKey']!r} is none of the choices {', '.join(map(str, names))}")
    return f"Question: {question}\nAnswer:", [choice["text"] for choice in choices], names.index(record["answerKey"])


def _question(where: str, record: dict[Any, Any]) -> Question:
    if not is_multiple_choice(record):
        raise ValueError(f"{where}: expected a question as HellaSwag (ctx, endings, label) or ARC (question, choices, "
                         f"answerKey) has it, got {', '.join(map(str, record))[:60]}")
    try:
        context, choices, answer = _hellaswag(record) if "endings" in record else _arc(record)
    except KeyError as error:
        raise ValueError(f"{where}: this question has no {error.args[0]!r}") from None
    except (TypeError, AttributeError):
        raise ValueError(f"{where}: question, choices or answer are not of the types expected") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if not isinstance(context, str) or not context.strip():
        raise ValueError(f"{where}: the context is empty or no text")
    if not isinstance(choices, list) or len(choices) < 2 \
            or not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise ValueError(f"{where}: expected at least two choices, none of them empty")
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise ValueError(f"{where}: the answer {answer!r} is none of the choices 0 … {len(choices) - 1}")
    return Question(context.rstrip(), tuple(choice.strip() for choice in choices), answer, where)


def read_questions(path: str | Path, limit: int | None = None) -> list[Question]:
    """The questions of a JSON Lines (or JSON) file, at most `limit`; the space around context and choices is cut off.

    Raises:
        ValueError: a record of another shape, with its line.
    """
    found: list[Question] = []
    for where, record in located_records(path):
        if limit is not None and len(found) >= limit:
            break
        found.append(_question(where, record))
    return found


@dataclass(frozen=True)
class MultipleChoice:
    """What answering came to.

    Attributes:
        n_questions: how many there were.
        n_right: how many were answered right under each rule: "raw", "per_byte", "per_token".
        chance: what guessing gets on average.
    """

    n_questions: int
    n_right: dict[str, int]
    chance: float

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
        return figures | {"chance": self.chance}


def answer_questions(model: CausalLM, tokenizer: Tokenizer, questions: Sequence[Question],
                     batch_size: int = 32, track: Track = untracked) -> MultipleChoice:
    """Answer questions by the likelihood of their choices, each written after its context and a space.

    Context and choice are tokenized apart, so that the tokens to be scored are the choice's own.

    Raises:
        ValueError: no questions, or a text that the tokenizer cannot write.
    """
    if not questions:
        raise ValueError("multiple choice needs at least one question")
    pairs, owners, sizes = [], [], []
    for number, question in enumerate(questions):
        try:
            context = [*tokenizer.prefix_ids, *tokenizer.encode(question.context, add_special_tokens=False)]
            endings = [tokenizer.encode(f" {choice}", add_special_tokens=False) for choice in question.choices]
        except ValueError as error:
            raise ValueError(f"{question.where}: {error}") from None
        pairs += [(context, ending) for ending in endings]
        owners += [number] * len(endings)
        sizes += [(1, len(choice.encode()), len(ending)) for choice, ending in zip(question.choices, endings)]
    costs = continuation_nats(model, pairs, batch_size, track)[:, None] / np.array(sizes)  # (choices, rules)
    answers = np.array([question.answer for question in questions])
    starts = np.searchsorted(owners, np.arange(len(questions)))
    chosen = np.array([costs[start:start + len(question.choices)].argmin(axis=0)
                       for start, question in zip(starts, questions)])  # (questions, rules)
    n_right = (chosen == answers[:, None]).sum(axis=0).tolist()
    return MultipleChoice(len(questions), dict(zip(("raw", "per_byte", "per_token"), n_right)),
                          float(np.mean([1 / len(question.choices) for question in questions])))
