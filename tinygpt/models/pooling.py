"""Pooling: the features of a text's tokens to one vector for the text.

Shapes: B batch, T time, C channels.

Prerequisites: inputs.py. Next: bert.py. Reimers and Gurevych, "Sentence-BERT" (2019); Muennighoff, "SGPT" (2022), for
the weighted mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import to_device, wide_dtype

__all__ = ["POOLINGS", "pool"]


def _weighted(x: Tensor, weights: np.ndarray, power: float = 1.0) -> Tensor:
    """Σ weight · x over the tokens, by (Σ weight) to a power; weights (B, T)."""
    share = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1) ** power  # (B, T)
    share = share[:, :, None].astype(wide_dtype(x.dtype))
    return ops.sum(x * to_device(share, x.device), axis=1)  # (B, C)


def _at(x: Tensor, places: np.ndarray) -> Tensor:
    """The features of one token of each text; places (B,)."""
    return x[to_device(np.arange(len(places)), x.device), to_device(places, x.device)]  # (B, C)


def _max(x: Tensor, mask: np.ndarray) -> Tensor:
    return ops.max(ops.where(to_device(mask[:, :, None], x.device), x, -np.inf), axis=1)


# Each takes features (B, T, C) and booleans (B, T), true at tokens, and gives (B, C).
POOLINGS: dict[str, Callable[[Tensor, np.ndarray], Tensor]] = {
    "mean": _weighted,
    "first": lambda x, mask: _at(x, mask.argmax(axis=1)),
    "last": lambda x, mask: _at(x, mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)),
    "max": _max,
    "mean_sqrt": lambda x, mask: _weighted(x, mask, 0.5),
    "weighted_mean": lambda x, mask: _weighted(x, mask * np.arange(1, mask.shape[1] + 1)),
}


def pool(x: Tensor, attention_mask: Any = None, pooling: str = "mean") -> Tensor:
    """One vector for each text: (B, T, C) -> (B, C).

    Args:
        x: features of tokens.
        attention_mask: (B, T), 1 at tokens and 0 at padding; None where there is none.
        pooling: a key of POOLINGS: the "mean" over the tokens; the "first" or the "last" token's features; the "max" of
            each channel; "mean_sqrt", the sum over √T; "weighted_mean", where the token in place t, from 1, counts t
            times.

    Raises:
        ValueError: no such pooling.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(map(repr, POOLINGS))}, got {pooling!r}")
    mask = np.ones(x.shape[:2], bool) if attention_mask is None else np.asarray(attention_mask) != 0
    return POOLINGS[pooling](x, mask)
