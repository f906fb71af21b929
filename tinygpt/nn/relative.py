"""Relative positions: each score gets a learned number for the distance between query and key. T5's way.

Short distances have a number each; longer ones share a bucket with their neighbours, and the more the longer they are,
so that a few numbers for each head reach far. All layers of a stack share them.

Shapes: H heads, T queries, S keys, R buckets.

Prerequisites: positions.py. Next: alibi.py, whose numbers are not learned. Raffel et al., "Exploring the limits of
transfer learning with a unified text-to-text transformer" (2020), section 2.1.
"""

from __future__ import annotations

import math

import numpy as np

from ..autograd import Tensor
from ..backend import to_device
from ..ops import transpose
from .embedding import Embedding
from .positions import Positions

__all__ = ["RelativePositions", "buckets"]


def buckets(distance: np.ndarray, n: int, farthest: int, both_sides: bool) -> np.ndarray:
    """The bucket of each distance (key − query), integers below n.

    Half of the buckets are for a single distance each. The others grow by a constant factor up to `farthest`, and the
    last takes what is beyond. Where queries look to both sides, each side has half of all.

    >>> buckets(np.arange(-9, 3), 8, 16, both_sides=True).tolist()
    [3, 3, 3, 3, 2, 2, 2, 2, 1, 0, 5, 6]
    """
    first = np.zeros_like(distance)
    if both_sides:
        n //= 2
        first = (distance > 0) * n
        distance = np.abs(distance)
    else:
        distance = np.maximum(-distance, 0)  # what comes later is hidden by a mask
    exact = n // 2
    with np.errstate(divide="ignore"):
        # In float32, for in a few places the rounding decides.
        steps = np.log(distance.astype(np.float32) / exact) / np.float32(math.log(farthest / exact)) * (n - exact)
    grown = np.minimum(exact + np.maximum(steps, 0).astype(np.int64), n - 1)
    return first + np.where(distance < exact, distance, grown)


class RelativePositions(Positions, Embedding):
    """Adds to each score its head's number for the distance between query and key.

    Args:
        n_head: H.
        n_buckets: R. farthest: from which distance on all share a bucket.
        both_sides: whether queries look at keys after them too.
        std: standard deviation of the initial numbers.

    Attributes:
        weight: (R, H).
    """

    def __init__(self, n_head: int, *, n_buckets: int = 32, farthest: int = 128, both_sides: bool = False,
                 std: float = 0.02) -> None:
        super().__init__(n_buckets, n_head, std=std)
        self.farthest, self.both_sides = farthest, both_sides

    def learned_bias(self, n_queries: int, n_keys: int) -> Tensor:
        """(H, T, S): what is added to the scores of queries that are the last of the S positions."""
        distance = np.arange(n_keys) - np.arange(n_keys - n_queries, n_keys)[:, None]  # (T, S)
        where = buckets(distance, self.weight.shape[0], self.farthest, self.both_sides)
        return transpose(self(to_device(where, self.device)), axes=(2, 0, 1))  # (T, S, H) to (H, T, S)
