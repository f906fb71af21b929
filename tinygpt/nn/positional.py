"""Positions: attention sees a set of tokens, so their order must be told it in some other way.

Three ways: a learned row for each position, which is an Embedding; the fixed sines of Vaswani et al. (2017); and the
rotary angles of Su et al. (2021), by which queries and keys are turned.

Prerequisites: dropout.py. Next: cache.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import Array, on_device, resolve_device, to_device, wide_dtype
from .module import Module

__all__ = ["RotaryPositions", "SinusoidalPositions", "rotary_frequencies", "sinusoidal_table"]


def sinusoidal_table(n: int, n_embd: int) -> np.ndarray:
    """(n, n_embd): sin(t · ω_i) for all frequencies ω_i = 10000^(−2i/n_embd), then cos(t · ω_i).

    Vaswani et al. (section 3.5) interleave sine and cosine; here, as in Marian's models, the sines fill the first half.
    """
    frequencies = 10000.0 ** (-2 * np.arange((n_embd + 1) // 2) / n_embd)
    angles = np.arange(n)[:, None] * frequencies  # (n, n_embd / 2)
    return np.concatenate([np.sin(angles), np.cos(angles)[:, :n_embd // 2]], axis=1).astype(np.float32)


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


class _Tables(Module):
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


class SinusoidalPositions(_Tables):
    """Adds fixed sines of the position to the embeddings."""

    def __init__(self, n: int, n_embd: int) -> None:
        super().__init__(sinusoidal_table(n, n_embd))

    def forward(self, x: Tensor, positions: Array) -> Tensor:
        """x (B, T, C) and positions (T,) or (B, T) -> (B, T, C)."""
        (table,) = self.tables(x)
        return x + ops.getitem(table, key=positions)


class RotaryPositions(_Tables):
    """Turns queries and keys by angles that grow with the position."""

    def __init__(self, n: int, head_dim: int, *, theta: float = 10000.0,
                 scaling: Mapping[str, Any] | None = None) -> None:
        angles = np.arange(n)[:, None] * rotary_frequencies(head_dim, theta, scaling)  # (n, D/2)
        super().__init__(np.cos(angles), np.sin(angles))

    def angles(self, like: Tensor, positions: Array) -> tuple[Array, Array]:
        """cos and sin for positions (T,) or (B, T): (T, D/2), or (B, 1, T, D/2), to go with (B, H, T, D)."""
        cos, sin = self.tables(like)
        with on_device(like.device):
            cos, sin = cos[positions], sin[positions]
            return (cos, sin) if positions.ndim == 1 else (cos[:, None], sin[:, None])

    def forward(self, x: Tensor, angles: tuple[Array, Array]) -> Tensor:
        """(B, H, T, D) -> the same shape, turned."""
        return ops.rotary_embedding(x, *angles)
