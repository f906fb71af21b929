"""What an answer is worth: functions of the answer and of what was expected, by name; and reward models, by folder.

    exact            1 if the answer is the expected one, else 0
    number           1 if its last number is that of the expected answer, else 0
    regex            1 if the expected answer, a regular expression, is found in it, else 0
    similar          the share of characters that stand where the expected answer has them: credit for half an answer
    length           its characters, divided by 100
    exact,length=-1  a sum of several, each with a weight

REWARDS is the table of the functions. A program of your own adds a row, `REWARDS["polite"] = Reward(my_function)`, and
then trains with that name; nothing that a file or a command line says is ever imported or run.

Prerequisites: rollouts.py, evaluation/preferences.py. Next: objectives/grpo.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import regex

from ..data.preferences import Prompt
from ..evaluation.preferences import Judge
from ..files import shown
from ..models import load_model
from ..models.adapter import fingerprint
from ..tokenizers import load_tokenizer

__all__ = ["REWARDS", "SUPERVISION", "Reward", "Rewards"]

SECONDS = 1.0  # that a regular expression may take for an answer
NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")


def exact(answer: str, expected: str) -> float:
    """1 if the answer is the expected one, whatever space stands around it."""
    return float(answer.strip() == expected.strip())


def similar(answer: str, expected: str) -> float:
    """The share of places at which both texts have the same character, of the places of the longer one.

    It grades answers that `exact` calls equally wrong, so a group of them has something to learn from.

    >>> similar("TOMIR", "TOMILA"), similar(" 45 ", "45")
    (0.6666666666666666, 1.0)
    """
    answer, expected = answer.strip(), expected.strip()
    return sum(map(str.__eq__, answer, expected)) / max(len(answer), len(expected), 1)


def _last_number(text: str) -> float | None:
    found = NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found and len(found[-1]) < 300 else None


def number(answer: str, expected: str) -> float:
    """1 if the last number of the answer is the last one of the expected answer: 72 of "so it is 72", and of "#### 72".

    >>> number("3 times 24 is 72.", "#### 72"), number("none", "72")
    (1.0, 0.0)
    """
    found = _last_number(answer)
    return float(found is not None and found == _last_number(expected))


def matches(answer: str, expected: str) -> float:
    """1 if a regular expression is found in the answer.

    Raises:
        ValueError: no regular expression, or one that backtracks without end.
    """
    try:
        return float(regex.search(expected, answer, timeout=SECONDS) is not None)
    except TimeoutError:
        raise ValueError(f"the pattern {shown(expected)} needs more than {SECONDS:.0f} s for an answer of "
                         f"{len(answer)} characters; write it without nested repetition") from None
    except (regex.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{shown(expected)} is no regular expression: {error}") from None


def length(answer: str, expected: str) -> float:
    """Characters, divided by 100; alone, it is an invitation to talk without end."""
    return len(answer) / 100


@dataclass(frozen=True)
class Reward:
    """One way to tell what an answer is worth.

    Attributes:
        function: (answer, expected answer) -> a finite number.
        expects: whether a question must come with an expected answer.
    """

    function: Callable[[str, str], float]
    expects: bool = False


REWARDS: dict[str, Reward] = {
    "exact": Reward(exact, expects=True),
    "similar": Reward(similar, expects=True),
    "number": Reward(number, expects=True),
    "regex": Reward(matches, expects=True),
    "length": Reward(length),
}


class Rewards:
    """The rewards that a text names: "exact", "exact,length=-0.1", "runs/judge", …

    Attributes:
        names: of the parts. weights: as many numbers.

    Raises:
        ValueError: neither a name of REWARDS nor a folder, or one that holds no reward model; a weight that is no
            number.
    """

    def __init__(self, spec: str) -> None:
        self.names: list[str] = []
        self.weights: list[float] = []
        self._parts: list[Reward | Judge] = []
        for part in spec.split(","):
            name, _, weight = part.strip().partition("=")
            try:
                self.weights.append(float(weight) if weight else 1.0)
            except ValueError:
                raise ValueError(f"reward {shown(part)}: the weight {shown(weight)} is no number") from None
            if not math.isfinite(self.weights[-1]):
                raise ValueError(f"reward {shown(part)}: the weight must be finite")
            self._parts.append(REWARDS[name] if name in REWARDS else _judge(name))
            self.names.append(name if name in REWARDS else "model")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"reward {shown(spec)} names a part twice")

    def check(self, prompt: Prompt) -> None:
        """Refuse a question that no answer can be right to.

        Raises:
            ValueError: named by its line: nothing is expected of an answer, or a pattern is none.
        """
        for name, part in zip(self.names, self._parts):
            if isinstance(part, Reward) and part.expects and not prompt.expected:
                raise ValueError(f"{prompt.where}: the reward {name} needs an expected answer (\"answer\")")
            if name == "regex":
                try:
                    matches("", prompt.expected)
                except ValueError as error:
                    raise ValueError(f"{prompt.where}: {error}") from None

    def fingerprints(self) -> list[str]:
        """Of the reward models, so that a resumed run can tell whether they are the same."""
        return [fingerprint(part.model.named_parameters()) for part in self._parts if isinstance(part, Judge)]

    def __call__(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> np.ndarray:
        """The parts of what each answer is worth, not yet weighted: (N, parts) float64.

        Raises:
            ValueError: a reward that is not finite.
        """
        columns = []
        for name, part in zip(self.names, self._parts):
            if isinstance(part, Judge):
                values = part.rewards([prompt.prompt for prompt in prompts], answers)
            else:
                values = np.array([part.function(answer, prompt.expected) for prompt, answer in zip(prompts, answers)],
                                  np.float64)
            if not np.isfinite(values).all():
                place = int(np.argmin(np.isfinite(values)))
                raise ValueError(f"the reward {name} of the answer {shown(answers[place])} is {values[place]}")
            columns.append(values)
        return np.stack(columns, axis=1)  # (N, parts)

    def total(self, parts: np.ndarray) -> np.ndarray:
        """(N, parts) -> (N,): the weighted sum."""
        return parts @ np.array(self.weights)


def _judge(name: str) -> Judge:
    if not name or not Path(name).exists():
        raise ValueError(f"no reward {shown(name)}: it is one of {', '.join(REWARDS)}, or the folder of a reward model")
    return Judge(load_model(name), load_tokenizer(name), name)


def outcome(rewards: Rewards, prompts: Sequence[Prompt], answers: Sequence[list[str]],
            discount: float = 1.0) -> np.ndarray:
    """What each answer earns as a whole, (B,): all of its tokens are praised or blamed alike."""
    return rewards.total(rewards(prompts, [texts[-1] for texts in answers]))


def process(rewards: Rewards, prompts: Sequence[Prompt], answers: Sequence[list[str]],
            discount: float = 1.0) -> np.ndarray:
    """What each answer earns from each token on, (B, L): no token is praised for what came before it.

    A token adds R(the answer up to it) − R(the answer before it). What the n-th token after it adds counts discountⁿ:
    with 1, all together are R(the whole answer) − R(the answer before the token); with 0 it answers for itself alone.
    NaN where an answer has ended.

    Args:
        answers: of each, its beginnings: before the first token, up to the first, …, the whole.
    """
    n = [len(texts) for texts in answers]
    each = rewards.total(rewards([prompt for prompt, k in zip(prompts, n) for _ in range(k)],
                                 [text for texts in answers for text in texts]))
    found = np.full((len(n), max(n) - 1), np.nan)
    for row, worth in zip(found, np.split(each, np.cumsum(n)[:-1])):
        later = 0.0
        for place, added in reversed(list(enumerate(np.diff(worth)))):
            later = row[place] = added + discount * later
    return found


SUPERVISION = {"outcome": outcome, "process": process}
