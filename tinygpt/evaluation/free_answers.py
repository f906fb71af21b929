"""Answers that are written freely, and checks that can tell a right one without a judge.

A check is one row of CHECKS. Each says what it does not see.

Prerequisites: questions.py, confidence.py, sql.py, generation/. Next: classification.py. Cobbe et al., "Training
verifiers to solve math word problems" (2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import regex

from ..generation import absent, left_pad
from ..models import CausalLM
from ..tokenizers import Tokenizer
from .confidence import wilson_interval
from .questions import Question
from .running import Track, Unfit, evaluating, untracked
from .sql import QueryRefused, run_query, same_rows

__all__ = ["CHECKS", "FreeAnswers", "last_number", "write_answers"]

STOPS = ("Question:", "\n\n")  # at which an answer is over
LONGEST = 10_000               # characters of an answer that a check looks at
SECONDS = 1.0                  # that an expression may search, or a query run
_NUMBER = regex.compile(r"-?\$?\d[\d,]*(?:\.\d+)?|-?\$?\.\d+")


def last_number(text: str) -> float | None:
    """The last number of a text; of GSM8K's solutions, which end in "#### 18", the result.

    >>> last_number("She has 1,200 - 3.5 = $1,196.50."), last_number("none")
    (1196.5, None)
    """
    found = _NUMBER.findall(text[-LONGEST:])
    return float(found[-1].replace(",", "").replace("$", "")) if found else None


def _same_number(answer: str, question: Question) -> bool:
    """The last numbers agree. Does not see how it was reached, nor whether another number was meant."""
    ours, theirs = last_number(answer), last_number(question.choices[0])
    return ours is not None and theirs is not None and abs(ours - theirs) <= 1e-6 * max(1.0, abs(theirs))


def _exact(answer: str, question: Question) -> bool:
    """The same text, but for case, the space around it and a full stop. Does not see that another wording is right."""
    ours, theirs = (text.strip().rstrip(".").casefold() for text in (answer, question.choices[0]))
    return ours == theirs


def _matches(answer: str, question: Question) -> bool:
    """The regular expression is found. Does not see what else is said; a search of a second counts as not found."""
    try:
        return regex.search(question.choices[0], answer[:LONGEST], timeout=SECONDS) is not None
    except TimeoutError:
        return False


def _asks_for_an_order(query: str) -> bool:
    """Whether a query, not only one inside it, has an ORDER BY."""
    inside = 1
    while inside:
        query, inside = regex.subn(r"\([^()]*\)", "", query)
    return regex.search(r"(?i)\border\s+by\b", query) is not None


def _finds_the_rows(answer: str, question: Question) -> bool:
    """The query finds the expected query's rows, in its order if it asks for one. Does not see other databases, on
    which the two may differ; what is refused or fails is wrong."""
    expected = question.choices[0]
    try:
        ours, theirs = (run_query(question.database, query, seconds=SECONDS) for query in (answer, expected))
    except QueryRefused:
        return False
    return same_rows(ours, theirs, _asks_for_an_order(expected))


# check -> (answer, question) -> whether it is right; the question's one choice is what is expected
CHECKS: dict[str, Callable[[str, Question], bool]] = {
    "number": _same_number, "exact": _exact, "pattern": _matches, "sql": _finds_the_rows}


def _require_answer(question: Question, check: str) -> None:
    """Raise ValueError if what is expected is no expression, or no query that its database runs."""
    try:
        if check == "pattern":
            regex.compile(question.choices[0])
        if check == "sql":
            run_query(question.database, question.choices[0], seconds=SECONDS)
    except regex.error as error:
        raise ValueError(f"{question.where}: the answer is no regular expression ({error})") from None
    except (QueryRefused, FileNotFoundError) as error:
        raise ValueError(f"{question.where}: the answer cannot be run: {error}") from None


@dataclass(frozen=True)
class FreeAnswers:
    """What answering came to.

    Attributes:
        answers: as written.
        right: what the check found.
    """

    answers: list[str] = field(repr=False)
    right: list[bool] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The figures by name."""
        n, n_right = len(self.right), sum(self.right)
        return {"accuracy": n_right / n, "accuracy_interval": list(wilson_interval(n_right, n)), "n_questions": n}


def write_answers(model: CausalLM, tokenizer: Tokenizer, questions: Sequence[Question], check: str, *,
                  max_new_tokens: int = 128, batch_size: int = 16, track: Track = untracked) -> FreeAnswers:
    """Answer questions greedily and check each answer against the one choice.

    Raises:
        ValueError: no questions, an expression that is none, an expected query that does not run, or a prompt that
            leaves no room for an answer.
    """
    if not questions:
        raise ValueError("free answers need at least one question")
    rows = []
    for question in questions:
        _require_answer(question, check)
        try:
            rows.append(tokenizer.encode_prompt(question.contexts[0]))
        except ValueError as error:
            raise Unfit(f"{question.where}: {error}") from None
        if len(rows[-1]) >= model.config.block_size:
            raise Unfit(f"{question.where}: a prompt of {len(rows[-1])} tokens leaves no room for an answer in a "
                        f"context of {model.config.block_size}; show fewer examples")
    order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
    answers = [""] * len(rows)
    nameless = absent(tokenizer.ids, model.config.vocab_size)
    with evaluating(model):
        starts = range(0, len(order), batch_size)
        for start in track(starts, len(starts)):
            batch = order[start:start + batch_size]
            ids, mask = left_pad([rows[place] for place in batch], model.config.pad_token_id or 0)
            room = min(max_new_tokens, model.config.block_size - ids.shape[1])
            written = model.generate(ids, room, attention_mask=mask, temperature=0.0, stop=list(STOPS),
                                     decode=tokenizer.decode, suppress_tokens=nameless)[:, ids.shape[1]:]
            for place, row in zip(batch, written):
                text = tokenizer.decode(row, skip_special_tokens=True)
                answers[place] = min((text.partition(stop)[0] for stop in STOPS), key=len).strip()
    return FreeAnswers(answers, [CHECKS[check](answer, question) for answer, question in zip(answers, questions)])
