"""Rotary positions: queries and keys are turned by angles that grow with the position.

The product of a query and a key then depends on the distance between them, not on where they stand.

Prerequisites: sinusoidal.py, ops/rotary.py. Next: alibi.py. Su et al., "RoFormer" (2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import Array, array_module, on_device, resolve_device, to_device, wide_dtype
from .sinusoidal import Tables

__all__ = ["RotaryPositions", "rotary_frequencies"]


def rotary_frequencies(head_dim: int, theta: float = 10000.0, scaling: Mapping[str, Any] | None = None) -> np.ndarray:
    """(head_dim / 2,): the angle per position of each pair, ω_i = theta^(−2i/head_dim).

    Args:
        scaling: None; {"rope_type": "linear", "factor": f}, which divides all of them by f (Chen et al. 2023); or
            {"rope_type": "llama3", "factor": f, "low_freq_factor": a, "high_freq_factor": b,
            "original_max_position_embeddings": n}, which divides those that turn less than a times in n positions by
            f, leaves those that turn more than b times, and blends in between (Llama 3.1).
    """
    frequencies = theta ** (-np.arange(0, head_dim, 2) / head_dim)
    kind = scaling["rope_type"] if scaling else "default"
    if kind == "default":
        return frequencies
    assert scaling is not None
    if kind == "linear":
        return frequencies / scaling["factor"]
    if kind == "llama3":
        turns = scaling["original_max_position_embeddings"] * frequencies / (2 * math.pi)
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        keep = np.clip((turns - low) / (high - low), 0, 1)
        return frequencies * (keep + (1 - keep) / scaling["factor"])
    raise ValueError(f'unknown rope_type {kind!r}: expected "default", "linear" or "llama3"')


class RotaryPositions(Tables):
    """Turns queries and keys by angles that grow with the position.

    Args:
        n: how many positions a table of angles is made for; None for no table: the angles of any positions are computed
            anew in each pass.
        head_dim: D, or how many channels of each head are turned: the first ones. The others are as they were.
        theta, scaling: as for `rotary_frequencies`.
    """

    def __init__(self, n: int | None, head_dim: int, *, theta: float = 10000.0,
                 scaling: Mapping[str, Any] | None = None) -> None:
        self.frequencies = rotary_frequencies(head_dim, theta, scaling)  # (D/2,)
        angles = np.arange(n or 0)[:, None] * self.frequencies  # (n, D/2)
        super().__init__(np.cos(angles), np.sin(angles))
        self.has_table = n is not None
        self._last: tuple[Array | None, Any, tuple[Array, Array] | None] = (None, None, None)

    def angles(self, like: Tensor, where: Array) -> tuple[Array, Array]:
        """cos and sin for positions (T,) or (B, T): (T, D/2), or (B, 1, T, D/2), to go with (B, H, T, D)."""
        with on_device(like.device):
            if self.has_table:
                cos, sin = (table[where] for table in self.tables(like))
            else:
                xp, dtype = array_module(where), wide_dtype(like.dtype)
                angles = where[..., None] * to_device(self.frequencies, resolve_device(like.device))
                cos, sin = xp.cos(angles).astype(dtype), xp.sin(angles).astype(dtype)
            return (cos, sin) if where.ndim == 1 else (cos[:, None], sin[:, None])

    def turn(self, q: Tensor, k: Tensor, where: Array) -> tuple[Tensor, Tensor]:
        """(B, H, T, D) and (B, Hkv, T, D) -> the same shapes, turned."""
        asked, dtype, angles = self._last  # every layer of a pass asks for the same positions
        if asked is not where or dtype != q.dtype or angles is None:
            angles = self.angles(q, where)
            self._last = (where, q.dtype, angles)
        return self._turned(q, *angles), self._turned(k, *angles)

    def _turned(self, x: Tensor, cos: Array, sin: Array) -> Tensor:
        """(…, D) with its first channels turned, as many as there are angles for."""
        n, size = 2 * len(self.frequencies), x.shape[-1]
        if n == size:
            return ops.rotary_embedding(x, cos, sin)
        first, rest = ops.split(x, lengths=(n, size - n), axis=-1)
        return ops.concatenate([ops.rotary_embedding(first, cos, sin), rest], axis=-1)
