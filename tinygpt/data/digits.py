"""Pictures of digits: drawn by a seeded pen, so that no file is needed, or scikit-learn's handwritten ones.

The pen follows the strokes of a digit, turned, stretched, shaken and shifted. Small networks learn them in seconds.

Shapes: N pictures of S by S points.

Prerequisites: windows.py. Next: labelled.py.
"""

from __future__ import annotations

import numpy as np

from .windows import step_generator

__all__ = ["drawn_digits", "handwritten_digits", "picture_text"]

SIGNS = np.array(list(" .:-=+*#%@"))  # from no ink to much

# The strokes of each digit as corners (x, y) from the upper left (0, 0) to the lower right (1, 1), one pen stroke each.
STROKES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((.5, .1), (.74, .25), (.8, .5), (.74, .75), (.5, .9), (.26, .75), (.2, .5), (.26, .25), (.5, .1)),
    ((.3, .3), (.55, .1), (.55, .9)),
    ((.22, .28), (.45, .1), (.72, .22), (.68, .45), (.22, .9), (.8, .9)),
    ((.25, .15), (.55, .1), (.75, .27), (.48, .47), (.78, .68), (.55, .9), (.22, .82)),
    ((.65, .9), (.65, .1), (.2, .62), (.85, .62)),
    ((.75, .1), (.3, .1), (.27, .45), (.6, .42), (.78, .65), (.6, .88), (.22, .85)),
    ((.68, .1), (.4, .3), (.25, .65), (.42, .9), (.7, .83), (.73, .6), (.5, .5), (.28, .65)),
    ((.2, .1), (.8, .1), (.42, .9)),
    ((.5, .47), (.27, .28), (.5, .1), (.73, .28), (.5, .47), (.22, .7), (.5, .9), (.78, .7), (.5, .47)),
    ((.73, .35), (.5, .5), (.27, .38), (.35, .13), (.63, .1), (.74, .35), (.6, .7), (.38, .9)))


def _drawn(corners: np.ndarray, width: float, size: int) -> np.ndarray:
    """The ink of a line through corners (P, 2): 1 on it, falling to 0 at its edge; (S, S)."""
    grid = (np.arange(size) + 0.5) / size
    points = np.stack(np.meshgrid(grid, grid), axis=-1)[:, :, None]  # (S, S, 1, 2): x, y
    starts, ways = corners[:-1], np.diff(corners, axis=0)  # (P − 1, 2)
    part = ((points - starts) * ways).sum(axis=-1) / (ways ** 2).sum(axis=-1)  # (S, S, P − 1): where along each line
    nearest = starts + np.clip(part, 0, 1)[..., None] * ways
    distance = np.sqrt(((points - nearest) ** 2).sum(axis=-1)).min(axis=-1)  # (S, S)
    return np.clip(1.4 - distance / width, 0, 1)


def drawn_digits(n: int, seed: int = 0, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of digits and what they show; fewer pictures of a seed are a prefix of more.

    Args:
        n: N. seed: which ones. size: S.

    Returns:
        Ink from 0 to 1, (N, S, S) float32; labels from 0 to 9, (N,).

    Raises:
        ValueError: a negative n or seed, or a size below 1.

    >>> pictures, labels = drawn_digits(3)
    >>> pictures.shape, labels.shape
    ((3, 8, 8), (3,))
    """
    if n < 0 or seed < 0 or size < 1:
        raise ValueError(f"drawn_digits: n and seed must not be negative and size at least 1, got n {n}, seed {seed}, "
                         f"size {size}")
    rng = np.random.default_rng(seed)
    pictures, labels = np.empty((n, size, size), dtype=np.float32), np.empty(n, dtype=np.int64)
    for i in range(n):
        labels[i] = rng.integers(10)
        corners = np.array(STROKES[labels[i]]) - 0.5
        corners += rng.normal(0, 0.03, corners.shape)  # a hand that shakes
        turn, slant = rng.normal(0, [0.12, 0.15])
        turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [[1, slant], [0, 1]]
        corners = corners * rng.uniform(0.75, 1.05, 2) @ turned.T + rng.normal(0, 0.04, 2)
        pictures[i] = _drawn(corners + 0.5, rng.uniform(0.07, 0.1), size)
    return pictures, labels


def handwritten_digits(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 handwritten digits of 8 by 8 points that scikit-learn brings along, in a shuffled order.

    Returns:
        Ink from 0 to 1, (N, 8, 8) float32; labels from 0 to 9, (N,).

    Raises:
        ImportError: scikit-learn is not installed.
    """
    from sklearn.datasets import load_digits
    found = load_digits()
    order = step_generator(seed, 0).permutation(len(found.target))
    return (found.images[order] / 16).astype(np.float32), found.target[order]


def picture_text(pictures: np.ndarray) -> str:
    """Pictures (N, S, S) side by side as text, two signs a point.

    >>> print(picture_text(np.array([[[0.0, 1.0], [0.5, 0.0]]])))
      @@
    ++
    """
    signs = SIGNS[np.clip(pictures * len(SIGNS), 0, len(SIGNS) - 1).astype(int)]  # (N, S, S)
    return "\n".join("  ".join("".join(np.repeat(picture[row], 2)) for picture in signs).rstrip()
                     for row in range(pictures.shape[1]))
