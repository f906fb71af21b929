"""How far made things are from real ones: the Fréchet distance between what a network sees in both.

A classifier's features of many pictures are taken for a normal distribution, with a mean and a covariance. The distance
is small only if both fit: a generator that makes one perfect picture over and over has the wrong covariance. It depends
on the network and on how many things are compared, so only distances that were measured alike can be compared.

Shapes: N and M things, C features.

Prerequisites: correlation.py. Next: tasks.py. Heusel et al., "GANs trained by a two time-scale update rule converge to
a local Nash equilibrium" (2017); Dowson and Landau, "The Fréchet distance between multivariate normal distributions"
(1982).
"""

from __future__ import annotations

import numpy as np

__all__ = ["frechet_distance"]


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """|m_a − m_b|² + tr(S_a + S_b − 2 (S_a S_b)^½), with means m and covariances S of the rows; at least 0.

    The trace of the root is the sum of the roots of the eigenvalues, which are real and not negative, for S_a S_b has
    those of S_a^½ S_b S_a^½.

    Args:
        a, b: features (N, C) and (M, C).

    Raises:
        ValueError: shapes that do not fit, or fewer than two rows.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(1000, 2))
    >>> round(frechet_distance(x, x + [3, 0]), 6), round(frechet_distance(x, x), 6)
    (9.0, 0.0)
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"frechet_distance: expected features (N, C) and (M, C) of two things at least, got {a.shape} "
                         f"and {b.shape}")
    of_a, of_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    roots = np.sqrt(np.maximum(np.linalg.eigvals(of_a @ of_b).real, 0))
    apart = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + np.trace(of_a) + np.trace(of_b) - 2 * roots.sum()
    return max(0.0, float(apart))
