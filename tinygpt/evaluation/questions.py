"""A question with a right answer, and how it is put to a model: alone, or after others that are shown with theirs.

Every benchmark becomes questions. Of several choices one is right; of one choice, that is the answer to be written.

Prerequisites: text_pairs.py. Next: multiple_choice.py. Brown et al., "Language models are few-shot learners" (2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Question", "with_shots"]

BETWEEN = "\n\n"  # between two examples, and before the question


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        context: what the model reads; may be empty. A tuple has one for each choice: where it is the beginning that
            differs, as in WinoGrande, the choices are all the same.
        choices: how it may go on, without the space in between; one at least.
        answer: the number of the right one.
        where: the file and line it comes from, for messages.
        group: what it belongs to, such as a phenomenon of grammar; figures are also given by group.
        database: the SQLite file that the answer, a query, is run on; empty where no query is asked for.
    """

    context: str | tuple[str, ...]
    choices: tuple[str, ...]
    answer: int
    where: str = "a question"
    group: str = ""
    database: str = ""

    @property
    def contexts(self) -> tuple[str, ...]:
        """One for each choice."""
        return self.context if isinstance(self.context, tuple) else (self.context,) * len(self.choices)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """For each choice, the context and what follows it, a space first: byte-level tokenizers then write the first
        word of a sentence that nothing stands before as they write it inside a text."""
        return [(context, f" {choice}") for context, choice in zip(self.contexts, self.choices)]

    @property
    def solved(self) -> str:
        """The question with its right answer, as an example for another one."""
        return "".join(self.pairs[self.answer]).strip()


def with_shots(questions: Sequence[Question], n_shots: int, seed: int = 0) -> list[Question]:
    """The questions, each after `n_shots` others with their answers.

    The examples are drawn once and are the same for all questions but those among them, which get one more instead; so
    a fixed beginning is read with every question.

    Raises:
        ValueError: fewer questions than examples and one, or fewer than no examples.

    >>> a, b = with_shots([Question("1+1=", ("2",), 0), Question("2+2=", ("4",), 0)], 1)
    >>> a.context
    '2+2= 4\\n\\n1+1='
    """
    if n_shots < 0:
        raise ValueError(f"--shots is {n_shots}, expected 0 or more")
    if n_shots == 0:
        return list(questions)
    if len(questions) < n_shots + 1:
        raise ValueError(f"{n_shots} examples before each question need {n_shots + 1} questions at least, and the data "
                         f"hold {len(questions)}")
    drawn = np.random.default_rng(seed).permutation(len(questions))[:n_shots + 1].tolist()
    found = []
    for place, question in enumerate(questions):
        shown = [questions[number].solved for number in drawn if number != place][:n_shots]
        before = "".join(text + BETWEEN for text in shown)
        contexts = tuple(before + context for context in question.contexts)
        found.append(replace(question, context=contexts if isinstance(question.context, tuple) else contexts[0]))
    return found
