"""Texts cut into words, and into runs of words, for the figures that count them.

Prerequisites: table.py. Next: confidence.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = ["runs", "words"]


def words(text: str) -> list[str]:
    """A text's words and punctuation marks, in small letters.

    >>> words("It's the END.")
    ['it', "'", 's', 'the', 'end', '.']
    """
    return re.findall(r"\w+|[^\w\s]", text.lower())


def runs(sequence: Sequence[Any], n: int) -> list[Any]:
    """All n-grams, the runs of n neighbours: strings of a string, tuples of anything else.

    >>> runs("abc", 2), runs(["a", "b", "c"], 2)
    (['ab', 'bc'], [('a', 'b'), ('b', 'c')])

    Raises:
        ValueError: n below 1.
    """
    if n < 1:
        raise ValueError(f"n-grams have at least one element, got n = {n}")
    whole = sequence if isinstance(sequence, str) else tuple(sequence)
    return [whole[start:start + n] for start in range(len(whole) - n + 1)]
