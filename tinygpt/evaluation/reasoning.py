"""Reasoning by sampling: many answers to one question, and what can be made of them.

    pass@k              at least one of k drawn answers is right, where a check can tell
    self-consistency    the answer that most of k agree on
    best of n           the answer that a score of any kind finds the best

Whoever draws n answers and finds c right ones knows pass@k for every k ≤ n. Taking the first k would be noisy, and
1 − (1 − c/n)^k too high or too low; the unbiased estimate is the share of all choices of k among the n that hold a
right one: 1 − C(n − c, k) / C(n, k). The same holds for a vote: the mean over all choices of k, or, where those are too
many, over drawn ones.

Prerequisites: free_answers.py. Next: references.py. Chen et al., "Evaluating large language models trained on code"
(2021); Wang et al., "Self-consistency improves chain of thought reasoning in language models" (2022).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import combinations
from math import comb

import numpy as np

__all__ = ["best_of", "majority", "pass_at_k", "vote_at_k"]

MOST_SUBSETS = 2_000


def pass_at_k(n: int, n_right: int, k: int) -> float:
    """The probability that k of n drawn answers, of which n_right are right, hold a right one.

    Raises:
        ValueError: k outside 1 … n, or n_right outside 0 … n.

    >>> pass_at_k(10, 1, 5)
    0.5
    """
    if not 1 <= k <= n or not 0 <= n_right <= n:
        raise ValueError(f"pass@k needs 1 ≤ k ≤ n and 0 ≤ right ≤ n, got k = {k}, n = {n}, right = {n_right}")
    return 1 - comb(n - n_right, k) / comb(n, k)


def majority(answers: Sequence[Hashable | None]) -> Hashable | None:
    """The answer given most often, of equals the first; None, an answer without a result, has no vote.

    >>> majority([4, 5, None, 5]), majority([None])
    (5, None)
    """
    counts = Counter(answer for answer in answers if answer is not None)
    return counts.most_common(1)[0][0] if counts else None


def vote_at_k(answers: Sequence[Hashable | None], right: Hashable, k: int, seed: int = 0) -> float:
    """The probability that the majority of k of these answers is right.

    The mean over all choices of k answers in their order, or over MOST_SUBSETS drawn ones where there are more.

    >>> vote_at_k([4, 5, 5], right=5, k=1), vote_at_k([4, 5, 5], right=5, k=3)
    (0.6666666666666666, 1.0)
    """
    n = len(answers)
    if not 1 <= k <= n:
        raise ValueError(f"a vote of k needs 1 ≤ k ≤ n, got k = {k}, n = {n}")
    if comb(n, k) <= MOST_SUBSETS:
        subsets = [list(subset) for subset in combinations(range(n), k)]
    else:
        rng = np.random.default_rng(seed)
        subsets = [sorted(rng.permutation(n)[:k].tolist()) for _ in range(MOST_SUBSETS)]
    return sum(majority([answers[place] for place in subset]) == right for subset in subsets) / len(subsets)


def best_of(scores: Sequence[float], right: Sequence[bool], k: int) -> float:
    """The probability that the best-scored of k of these answers is right; unbiased, over all choices of k.

    The answer of rank r (from 0, the best first) is the best of k if the k − 1 others come from those after it:
    C(n − 1 − r, k − 1) of C(n, k) choices. Of equal scores the first counts as better.

    >>> best_of([0.1, 0.9], [False, True], k=2), best_of([0.1, 0.9], [False, True], k=1)
    (1.0, 0.5)
    """
    n = len(scores)
    if not 1 <= k <= n or len(right) != n:
        raise ValueError(f"best of k needs 1 ≤ k ≤ n and a mark for each score, got k = {k}, n = {n} and {len(right)}")
    order = sorted(range(n), key=lambda place: -scores[place])
    return sum(comb(n - 1 - rank, k - 1) for rank, place in enumerate(order) if right[place]) / comb(n, k)
