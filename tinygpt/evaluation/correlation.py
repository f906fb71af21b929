"""Do two lists of numbers rise and fall together? Pearson's coefficient, and Spearman's, which only looks at the order.

Similarities that a model gives are judged by Spearman's: whether "a bit alike" is 0.3 or 0.6 does not matter, as long
as what is more alike gets more.

Prerequisites: confidence.py. Next: tasks.py. Spearman, "The proof and measurement of association between two things"
(1904).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["pearson", "spearman"]


def pearson(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Pearson's coefficient, −1 … 1; NaN where one of the lists does not vary.

    Raises:
        ValueError: lists of unequal length, or of fewer than two numbers.

    >>> round(pearson([1, 2, 3], [2, 4, 7]), 4)
    0.9934
    """
    x, y = (np.asarray(values, np.float64) for values in (a, b))
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ValueError(f"a correlation needs two lists of equal length, at least 2, got shapes {x.shape} and "
                         f"{y.shape}")
    x, y = x - x.mean(), y - y.mean()
    length = math.sqrt(x @ x) * math.sqrt(y @ y)
    return float(x @ y) / length if length else math.nan


def spearman(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Spearman's coefficient: Pearson's of the ranks; equal numbers share the mean of their ranks. Errors as there.

    >>> round(spearman([1, 2, 3, 4], [10, 100, 1000, 10_000]), 4)
    1.0
    """
    return pearson(_ranks(a), _ranks(b))


def _ranks(values: Sequence[float] | np.ndarray) -> np.ndarray:
    _, groups, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[groups]
