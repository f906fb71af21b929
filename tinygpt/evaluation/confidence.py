"""How sure a share is: k right answers out of n say little when n is small.

Wilson's interval asks which true shares p would make a result as far off as k/n not surprising: those with
|k/n − p| ≤ z·√(p(1−p)/n). Unlike k/n ± z·√(k/n·(1−k/n)/n), it stays inside [0, 1] and does not shrink to nothing at
0 or n right answers.

Prerequisites: table.py. Next: running.py. Wilson, "Probable inference, the law of succession, and
statistical inference" (1927).
"""

from __future__ import annotations

import math

__all__ = ["Z_95", "wilson_interval"]

Z_95 = 1.959963984540054  # 95% of a normal distribution lies within so many standard deviations


def wilson_interval(n_right: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """(lowest, highest) true share that `n_right` of `n` leaves plausible; 95% by default.

    >>> low, high = wilson_interval(8, 10)
    >>> round(low, 3), round(high, 3)
    (0.49, 0.943)

    Raises:
        ValueError: n below 1, or n_right outside 0 … n.
    """
    if n < 1 or not 0 <= n_right <= n:
        raise ValueError(f"an interval needs 0 ≤ n_right ≤ n and n ≥ 1, got {n_right} of {n}")
    share = n_right / n
    scale = 1 + z * z / n  # the inequality above, squared, is a quadratic in p; these are its two roots
    middle = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    return max(middle - half, 0.0), min(middle + half, 1.0)
