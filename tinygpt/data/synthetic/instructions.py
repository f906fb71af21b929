"""Synthetic instructions whose answers can be checked: small jobs on made-up words, and sums.

    Reverse the word tomila.             alimot
    What is 27 plus 18?                  45

The words are strings of syllables, so there are more than can be memorised: what is learnt is the job. There is no
multiplication, whose held-out cases nothing in the training cases explains to a small model, and the numbers of a job
have the same number of digits, for telling 7 from 70 by its place is a lesson of its own. A combination, in the sense
of draw.py, is a job and what it is done to; a sum is the same whichever number stands first.

Prerequisites: draw.py. Next: preferences.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .draw import Example, Part, choose, distinct_examples, in_part_by_name

__all__ = ["JOBS", "Job", "belongs", "instructions", "operands_of"]

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
ENDINGS = ("", "", "", "n", "s", "r")


@dataclass(frozen=True)
class Job:
    """One kind of instruction.

    Attributes:
        name: what it is called.
        wordings: ways to ask for it, with {} (twice for two numbers) where the operands stand; without, they are given
            apart, as the example's "input".
        answer: operands to the right answer.
        n_numbers: how many numbers it is about; 0 for a word.
        least, below: the numbers are at least the one and below the other.
        symmetric: the order of the operands changes nothing.
    """

    name: str
    wordings: tuple[str, ...]
    answer: Callable[..., str]
    n_numbers: int = 0
    least: int = 10
    below: int = 100
    symmetric: bool = False


JOBS = (
    Job("copy", ("Repeat the word {}.", "Say the word {}.", "Copy the word."), lambda w: w),
    Job("double", ("Write the word {} twice.", "Say {} two times.", "Write the word twice."), lambda w: f"{w} {w}"),
    Job("reverse", ("Reverse the word {}.", "Write {} backwards.", "Reverse the word."), lambda w: w[::-1]),
    Job("capitals", ("Write the word {} in capital letters.", "Put {} in capitals.", "Write it in capital letters."),
        lambda w: w.upper()),
    Job("first", ("What is the first letter of {}?", "Which letter does {} begin with?", "Give the first letter."),
        lambda w: w[0]),
    Job("last", ("What is the last letter of {}?", "Which letter does {} end with?", "Give the last letter."),
        lambda w: w[-1]),
    Job("length", ("How many letters does {} have?", "Count the letters of {}.", "Count the letters."),
        lambda w: str(len(w))),
    Job("spell", ("Spell the word {}.", "Write {} with a dash between its letters.", "Spell the word."),
        lambda w: "-".join(w)),
    Job("add", ("What is {} plus {}?", "Add {} and {}.", "Add the two numbers."),
        lambda a, b: str(a + b), 2, below=50, symmetric=True),
    Job("larger", ("Which is larger, {} or {}?", "Give the larger of {} and {}.", "Give the larger number."),
        lambda a, b: str(max(a, b)), 2, symmetric=True),
    Job("next", ("Which number comes after {}?", "Count one up from {}.", "Give the next number."),
        lambda a: str(a + 1), 1, least=100, below=999),
)


def operands_of(rng: np.random.Generator, job: Job) -> tuple[str | int, ...]:
    """What a job is done to, drawn: a made-up word, or its numbers."""
    if job.n_numbers:
        return tuple(int(number) for number in rng.integers(job.least, job.below, size=job.n_numbers))
    syllables = [choose(rng, CONSONANTS) + choose(rng, VOWELS) for _ in range(int(rng.integers(2, 4)))]
    return ("".join([*syllables, choose(rng, ENDINGS)]),)


def belongs(part: Part, job: Job, operands: tuple[str | int, ...]) -> bool:
    """Whether a job on these operands is in a part."""
    ordered = sorted(operands, key=str) if job.symmetric else operands
    return in_part_by_name(part, f"{job.name} {' '.join(map(str, ordered))}")


def instructions(n: int, part: Part = "train", seed: int = 0) -> list[Example]:
    """Synthetic instructions: {"instruction", "input", "output", "task"}, all jobs equally likely, none twice.

    "input" is empty where the instruction itself names what it is about. The answer is never a matter of opinion, so
    the output can be compared as it is.

    Args:
        n: how many; fewer of the same seed are a prefix of more.
        part: "train", or "test" for a job on words and numbers on which "train" never does it.
        seed: not negative.

    Raises:
        ValueError: there are not so many, or there is no such part.
    """
    def draw(rng: np.random.Generator, number: int) -> Example:
        job = choose(rng, JOBS)
        operands = operands_of(rng, job)
        while not belongs(part, job, operands):
            operands = operands_of(rng, job)
        wording = choose(rng, job.wordings)
        apart = "" if "{}" in wording else " ".join(map(str, operands))
        return {"instruction": wording.format(*operands), "input": apart, "output": job.answer(*operands),
                "task": job.name}

    return distinct_examples(draw, n, seed, f"synthetic instructions ({part})")
