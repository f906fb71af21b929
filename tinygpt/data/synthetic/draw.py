"""What all synthetic data share: an endless row of examples from a seed, none twice, in two parts that never meet.

A grammar combines a few words into many sentences. A split of the finished sentences would put near twins on both
sides, so it is the *combinations* that are held out: if "hotel" with "slow" belongs to the test part, no training
sentence of any seed or size has the two together, while both words are in training with others. A model that does well
on the test part has learnt to combine.

Prerequisites: records.py's docstring. Next: sentiment.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np

__all__ = ["Draw", "Example", "Part", "choose", "distinct_examples", "in_part", "in_part_by_name"]

Part = Literal["train", "test"]
Example = dict[str, str]
Draw = Callable[[np.random.Generator, int], Example]

ONE_IN = 5       # every fifth combination is held out
MAX_TRIES = 5000  # draws without a new example, after which a grammar counts as exhausted

T = TypeVar("T")


def in_part(part: Part, *numbers: int) -> bool:
    """Whether the combination of the words with these numbers belongs to a part: the sum decides, as in a Latin square,
    so every word is in both parts.

    >>> ["".join("x" if in_part("test", i, j) else "." for j in range(6)) for i in range(3)]
    ['x....x', '....x.', '...x..']
    """
    return _check(part) == (sum(numbers) % ONE_IN == 0)


def in_part_by_name(part: Part, name: str) -> bool:
    """The same for combinations that have no numbers: a checksum of the name decides."""
    return _check(part) == (zlib.crc32(name.encode()) % ONE_IN == 0)


def _check(part: str) -> bool:
    if part not in ("train", "test"):
        raise ValueError(f'a part is "train" or "test", got {part!r}')
    return part == "test"


def choose(rng: np.random.Generator, values: Sequence[T]) -> T:
    """One of the values, all equally likely."""
    return values[int(rng.integers(len(values)))]


def distinct_examples(draw: Draw, n: int, seed: int, what: str) -> list[Example]:
    """The first n different examples of `draw(rng, k)`, k counting from 0; fewer of them are a prefix of more.

    Raises:
        ValueError: a negative n, or the grammar has not so many.
    """
    if n < 0 or seed < 0:
        raise ValueError(f"n and seed must not be negative, got n {n}, seed {seed}")
    rng = np.random.default_rng([seed, zlib.crc32(what.encode())])
    found: dict[tuple[str, ...], Example] = {}
    tries = 0
    while len(found) < n:
        example = draw(rng, len(found))
        tries = tries + 1 if tuple(example.values()) in found else 0
        found.setdefault(tuple(example.values()), example)
        if tries > MAX_TRIES:
            raise ValueError(f"{what} has hardly more than {len(found):,} different examples, and {n:,} were asked for")
    return list(found.values())
