"""Do texts that belong together lie together? An answer beside its question, a sentence beside the next, by vectors.

A model of sentence vectors puts texts of similar meaning near one another. So an answer should lie nearer to its own
question than to others', and a sentence of a text nearer to the one after it than to those of other texts. The figure
is how often it does, over all comparisons; chance is one half. No bound on a cosine has to be chosen for it.

What it does not see: whether an answer is right. An echo of the question is as relevant as can be, and a sentence that
is repeated as coherent; the figures of diversity.py stand beside it for that.

Prerequisites: diversity.py, models/sentences.py. Next: suites.py. Reimers and Gurevych, "Sentence-BERT" (2019);
Barzilay and Lapata, "Modeling local coherence" (2008), neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ..models import SentenceEncoder

__all__ = ["Nearness", "coherence", "nearness", "relevance"]


@dataclass(frozen=True)
class Nearness:
    """How near texts lie to their own partners.

    Attributes:
        nearer: the share of comparisons in which a text's own partner is nearer than another's; a tie counts half.
        cosine: of a text and its own partner, on average. others: of a text and the partners of others.
        n: how many texts there are.
    """

    nearer: float
    cosine: float
    others: float
    n: int


def nearness(a: np.ndarray, b: np.ndarray, groups: Sequence[Hashable] | None = None) -> Nearness:
    """Compare each row of `a` with the same row of `b`, its partner, and with those of other groups.

    Args:
        a, b: (N, D), vectors of length 1.
        groups: of each row; by default each is its own.

    Raises:
        ValueError: fewer than two groups.

    >>> nearness(np.eye(3), np.eye(3)[[0, 1, 1]]).nearer  # the third partner is the second's, too
    0.75
    """
    names = {name: number for number, name in enumerate(dict.fromkeys(groups or range(len(a))))}
    if len(names) < 2:
        raise ValueError(f"nearness compares with other groups, and there is {len(names)} in all")
    group = np.array([names[name] for name in groups or range(len(a))])
    cosines = np.asarray(a, np.float64) @ np.asarray(b, np.float64).T  # (N, N)
    own, apart = np.diag(cosines)[:, None], group[:, None] != group[None, :]
    wins = (own > cosines) + 0.5 * (own == cosines)
    return Nearness(float(wins[apart].mean()), float(own.mean()), float(cosines[apart].mean()), len(a))


def relevance(encoder: SentenceEncoder, questions: Sequence[str], answers: Sequence[str]) -> Nearness:
    """How near answers lie to their questions.

    Args:
        answers: one for each question; an empty one is as near to any.

    Raises:
        ValueError: fewer than two questions, or another number of answers.
    """
    if len(questions) != len(answers):
        raise ValueError(f"relevance needs an answer for each question, got {len(answers)} for {len(questions)}")
    return nearness(_vectors(encoder, answers), _vectors(encoder, questions))


def sentences(text: str) -> list[str]:
    """The sentences of a text, cut after full stops and line ends.

    >>> sentences("It rains. Does it? Yes\\nand no.")
    ['It rains.', 'Does it?', 'Yes', 'and no.']
    """
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if re.search(r"\w", part)]


def coherence(encoder: SentenceEncoder, texts: Sequence[str]) -> Nearness | None:
    """How near sentences lie to the next ones of their texts; None if fewer than two texts have two sentences."""
    pairs = [(first, second, place) for place, text in enumerate(texts)
             for first, second in zip(sentences(text), sentences(text)[1:])]
    if len({place for *_, place in pairs}) < 2:
        return None
    first, second, groups = zip(*pairs)
    return nearness(_vectors(encoder, first), _vectors(encoder, second), groups)


def _vectors(encoder: SentenceEncoder, texts: Sequence[str]) -> np.ndarray:
    """(N, D), each of length 1; an empty text's has no direction."""
    found = np.zeros((len(texts), encoder.size))
    places = [place for place, text in enumerate(texts) if text.strip()]
    if places:
        vectors = encoder.encode([texts[place] for place in places]).astype(np.float64)
        found[places] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return found
