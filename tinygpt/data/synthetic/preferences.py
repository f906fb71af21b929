"""Synthetic preferences: two answers to one question, of which the better is polite, or short, or correct.

    What is the first letter of tomila?     With pleasure, t.     |  t, as any fool can see.
    Repeat the word gadu.                   gadu                  |  Well, let me think about that. I would say gadu
    Put tomila in capitals.                 TOMILA                |  GADU

The questions are jobs of instructions.py on made-up words, and a combination that is held out is one that is held out
there. Politeness and length show in how an answer is said; whether it is correct, only in question and answer together.

Prerequisites: instructions.py. Next: phrases.py.
"""

from __future__ import annotations

import numpy as np

from .draw import Example, Part, choose, distinct_examples
from .instructions import JOBS, belongs, operands_of

__all__ = ["VIRTUES", "preferences"]

VIRTUES = ("polite", "short", "correct")
KIND = ("Of course, {}.", "With pleasure, {}.", "Gladly, it is {}.")  # in characters that instructions.py has as well
RUDE = ("{}, as any fool can see.", "Obviously {}.", "Ask somebody else. {}.")
LONG = ("Well, let me think about that. I would say {}", "That is hard to say, but on the whole it must be {}")
PLAIN = ("{}",)

ASKED = tuple(job for job in JOBS if job.name in ("copy", "double", "capitals", "first", "last"))


def preferences(n: int, part: Part = "train", seed: int = 0) -> list[Example]:
    """Synthetic preferences: {"prompt", "chosen", "rejected", "virtue"}, all virtues equally likely, none twice.

    Args:
        n: how many; fewer of the same seed are a prefix of more.
        part: "train", or "test" for jobs on words on which "train" never does them.
        seed: not negative.

    Raises:
        ValueError: there are not so many, or there is no such part.
    """
    def draw(rng: np.random.Generator, number: int) -> Example:
        virtue, job = choose(rng, VIRTUES), choose(rng, ASKED)
        operands = operands_of(rng, job)
        while not belongs(part, job, operands):
            operands = operands_of(rng, job)
        right = wrong = job.answer(*operands)
        prompt = choose(rng, job.wordings[:2]).format(*operands)
        if virtue == "polite":
            better, worse = choose(rng, KIND), choose(rng, RUDE)
        elif virtue == "short":
            better, worse = choose(rng, PLAIN), choose(rng, LONG)
        else:
            better = worse = choose(rng, (*KIND, *PLAIN))
            while wrong == right:
                wrong = job.answer(*operands_of(rng, job))
        return {"prompt": prompt, "chosen": better.format(right), "rejected": worse.format(wrong), "virtue": virtue}

    return distinct_examples(draw, n, seed, f"synthetic preferences ({part})")
