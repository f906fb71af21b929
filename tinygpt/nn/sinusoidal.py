"""Sinusoidal positions: fixed sines of the position are added to the embeddings.

Prerequisites: positions.py. Next: rotary.py. Vaswani et al., "Attention is all you need" (2017), section 3.5.
"""

from __future__ import annotations

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import Array, resolve_device, to_device, wide_dtype
from .positions import Positions

__all__ = ["SinusoidalPositions", "Tables", "sinusoidal_table"]


_ROWS = 4096  # computed at once: in float64, the whole would take several times the memory of the table


def sinusoidal_table(n: int, n_embd: int) -> np.ndarray:
    """(n, n_embd): sin(t · ω_i) for all frequencies ω_i = 10000^(−2i/n_embd), then cos(t · ω_i).

    Vaswani et al. (section 3.5) interleave sine and cosine; here, as in Marian's models, the sines fill the first half.
    """
    frequencies = 10000.0 ** (-2 * np.arange((n_embd + 1) // 2) / n_embd)
    table = np.empty((n, n_embd), np.float32)
    half = len(frequencies)
    for start in range(0, n, _ROWS):
        angles = np.arange(start, min(start + _ROWS, n))[:, None] * frequencies  # (rows, n_embd / 2)
        table[start:start + _ROWS, :half] = np.sin(angles)
        table[start:start + _ROWS, half:] = np.cos(angles)[:, :n_embd // 2]
    return table


class Tables(Positions):
    """Arrays that are computed, not learned: made on the host once, sent to a device when first used there."""

    def __init__(self, *tables: np.ndarray) -> None:
        self._host = tables
        self._on: dict[tuple[str, str], list[Array]] = {}

    def tables(self, like: Tensor) -> list[Array]:
        """The tables on the device of `like`, in the dtype that it is computed with."""
        dtype = wide_dtype(like.dtype)
        place = (like.device, str(dtype))
        if place not in self._on:
            self._on[place] = [to_device(table.astype(dtype), resolve_device(like.device)) for table in self._host]
        return self._on[place]


class SinusoidalPositions(Tables):
    """Adds fixed sines of the position to the embeddings.

    Args:
        n: how many positions there are. n_embd: C.
    """

    def __init__(self, n: int, n_embd: int) -> None:
        super().__init__(sinusoidal_table(n, n_embd))

    def add(self, x: Tensor, where: Array) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        (table,) = self.tables(x)
        return x + ops.getitem(table, key=where)
