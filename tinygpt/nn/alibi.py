"""ALiBi: attention with linear biases. The further away a key is, the less its score.

Nothing is added to the tokens and nothing is turned: each score loses an amount proportional to the distance between
query and key, at a rate of its own for each head. Since distances mean the same everywhere, a model reads texts longer
than those that it was trained on.

Shapes: H heads, T queries, S keys.

Prerequisites: positions.py. Next: rms_norm.py. Press, Smith and Lewis, "Train short, test long: attention with linear
biases enables input length extrapolation" (2022).
"""

from __future__ import annotations

import numpy as np

from .positions import Positions

__all__ = ["AlibiPositions", "alibi_slopes"]


def alibi_slopes(n_head: int) -> np.ndarray:
    """(H,): how much a score loses per position, for each head: a geometric sequence from 2^(−8/H) down to 2^(−8).

    For a number of heads that is no power of two it is the sequence of the next lower power of two, and then every
    second number of the sequence of twice as many heads, as in the paper's code.
    """
    lower = 1 << n_head.bit_length() - 1  # the largest power of two that is not above H

    def sequence(n: int) -> np.ndarray:
        return 2.0 ** (-8 / n * np.arange(1, n + 1))

    return np.concatenate([sequence(lower), sequence(2 * lower)[::2][:n_head - lower]])


class AlibiPositions(Positions):
    """Subtracts from each score its head's slope times the distance between query and key.

    Args:
        n_head: H.

    Attributes:
        slopes: (H,) float32.
    """

    def __init__(self, n_head: int) -> None:
        self.slopes = alibi_slopes(n_head).astype(np.float32)
        self._last: tuple[tuple[int, int], np.ndarray] | None = None

    def bias(self, n_queries: int, n_keys: int) -> np.ndarray:
        """(H, T, S) float32, on the host. Keys after the query, which only a mask hides, lose by their distance too."""
        if self._last is None or self._last[0] != (n_queries, n_keys):  # in training every pass has the same lengths
            queries = np.arange(n_keys - n_queries, n_keys, dtype=np.float32)[:, None]  # (T, 1): the last positions
            distance = np.abs(queries - np.arange(n_keys, dtype=np.float32))  # (T, S)
            self._last = (n_queries, n_keys), -self.slopes[:, None, None] * distance  # (H, T, S)
        return self._last[1]
