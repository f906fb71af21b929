"""Numbers for checks, drawn by NumPy from a seed; and the same numbers laid out in memory in other ways.

Prerequisites: nothing here. Next: strategies.py.
"""

from __future__ import annotations

import numpy as np

from ..backend import Array

__all__ = ["LAYOUTS", "draw_cotangent", "draw_values", "in_layout", "scales"]

LAYOUTS = ("C", "F", "strided", "reversed")  # row-major; column-major; every other element of a larger array; backwards


def in_layout(x: Array, layout: str) -> Array:
    """The same numbers in another memory layout; a copy.

    Args:
        x: any array.
        layout: one of LAYOUTS.
    """
    if layout == "C":
        return x.copy(order="C")
    if layout == "F":
        return x.copy(order="F")
    if layout == "strided":
        wide = x.repeat(2, axis=-1) if x.ndim else x.copy()
        return wide[..., ::2] if x.ndim else wide
    if layout == "reversed":
        flip = (slice(None, None, -1),) * x.ndim
        return x[flip].copy()[flip]
    raise ValueError(f"unknown layout {layout!r}: expected one of {', '.join(LAYOUTS)}")


def draw_values(rng: np.random.Generator, shape: tuple[int, ...], low: float = -3.0, high: float = 3.0,
                ties: bool = False) -> np.ndarray:
    """Numbers between `low` and `high`, float64; with `ties` only a few different ones among them."""
    if not ties:
        return rng.uniform(low, high, shape)
    few = rng.uniform(low, high, 2)
    return few[rng.integers(0, 2, shape)]


def draw_cotangent(rng: np.random.Generator, n: int) -> np.ndarray:
    """n numbers of both signs, none near zero, and exact in any floating-point type."""
    return rng.integers(64, 193, n) / 128 * rng.choice([-1.0, 1.0], n)


def scales(x: np.ndarray) -> np.ndarray:
    """How far each entry is stepped per unit: about its own size, or that of its smaller neighbours if it is tiny."""
    sizes = np.abs(x)
    nonzero = sizes[sizes > 0]
    if not nonzero.size:
        return np.ones_like(x)
    return np.maximum(sizes, np.quantile(nonzero, 0.1, method="lower"))
