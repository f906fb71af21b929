"""What the tests of layers share: random weights, a mask that is given, what a pass sees, attention as a loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygpt.nn import (Block, Causal, CrossAttention, CrossBlock, FeedForward, GatedFeedForward, LayerNorm, Mask,
                        Module, MultiHeadAttention, Positions, PostNormBlock, RMSNorm, Sight)

__all__ = ["GivenMask", "attention_by_loop", "block_of", "randomized", "rotated", "sight_of", "tokens"]


def randomized(module: Any, seed: int, scale: float = 1.0) -> Any:
    """The module with random weights everywhere, biases and gains too, in float64."""
    rng = np.random.default_rng(seed)
    for p in module.parameters():
        p.data = rng.standard_normal(p.shape) * scale
    return module


def tokens(b: int, t: int, c: int, seed: int = 0) -> np.ndarray:
    """(B, T, C)."""
    return np.random.default_rng(seed + 1).standard_normal((b, t, c)) / 2


class GivenMask(Mask):
    """A mask that is given: booleans that broadcast against (B, H, T, S)."""

    def __init__(self, table: np.ndarray, causal: bool = False) -> None:
        self.table, self.causal = table, causal

    def allowed(self, n_queries: int, n_keys: int) -> np.ndarray:
        return self.table


def sight_of(t: int, *, positions: Positions | None = None, mask: Mask | None = None, causal: bool = False) -> Sight:
    """What T tokens that begin a text see."""
    return Sight(Positions() if positions is None else positions,
                 (Causal() if causal else Mask()) if mask is None else mask, np.arange(t))


def rotated(x: np.ndarray, position: int, theta: float = 10000.0) -> np.ndarray:
    """Su et al.: the pair (x_i, x_{i + D/2}) as a complex number, times e^{i · position · ω_i}."""
    half = len(x) // 2
    turned = (x[:half] + 1j * x[half:]) * np.exp(1j * position * theta ** (-np.arange(half) / half))
    return np.concatenate([turned.real, turned.imag])


def attention_by_loop(layer: Any, x: np.ndarray, *, memory: np.ndarray | None = None,
                      allowed: Callable[[int, int, int], bool] = lambda b, t, s: True,
                      rotary: bool = False) -> np.ndarray:
    """Attention one query at a time."""
    h, kv, d = layer.n_head, layer.n_kv_head, layer.head_dim
    source = x if memory is None else memory

    def project(linear: Any, x: np.ndarray) -> np.ndarray:
        return x @ linear.weight.data.T + (0 if linear.bias is None else linear.bias.data)

    if memory is None:
        q, k, v = np.split(project(layer.qkv, x), [h * d, (h + kv) * d], axis=-1)
    else:
        q, (k, v) = project(layer.q, x), np.split(project(layer.kv, memory), 2, axis=-1)
    out = np.zeros((*x.shape[:2], h * d))
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            for j in range(h):
                mine, theirs = slice(j * d, j * d + d), slice(j // (h // kv) * d, j // (h // kv) * d + d)
                seen = [s for s in range(source.shape[1]) if allowed(b, t, s)]
                query = rotated(q[b, t, mine], t) if rotary else q[b, t, mine]
                keys = [rotated(k[b, s, theirs], s) if rotary else k[b, s, theirs] for s in seen]
                if seen:
                    scores = np.exp([query @ key / math.sqrt(d) for key in keys])
                    out[b, t, mine] = scores / scores.sum() @ v[b, seen, theirs]
    return project(layer.out, out)


def block_of(kind: type[Module], seed: int = 0, *, norm: str = "layer", gated: bool = False,
             activation: str = "gelu") -> Any:
    """A block of 12 channels, 4 heads and 20 inner channels, with random weights."""
    attention = [MultiHeadAttention(12, 4)] + [CrossAttention(12, 4)] * (kind is CrossBlock)
    assert kind in (Block, PostNormBlock, CrossBlock)
    return randomized(kind(
        *attention, (GatedFeedForward if gated else FeedForward)(12, 20, activation=activation),
        lambda: RMSNorm(12, epsilon=1e-3) if norm == "rms" else LayerNorm(12, epsilon=1e-3)), seed, 1 / 3)
