"""What a configuration names, and what is built for it: one table for positions, masks, norms and feed-forwards each.

A new kind is a class in a file of its own in nn/ and a row here; activations have their table in ops/activation.py.
layout.py says which of them each architecture has.

Prerequisites: nn/, layout.py. Next: config_base.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..nn import (AlibiPositions, Causal, FusedFeedForward, GatedFeedForward, LayerNorm, LearnedPositions, Mask,
                  MixtureOfExperts, Module, MultiHeadAttention, Positions, RMSNorm, RotaryPositions,
                  SinusoidalPositions, Window)

__all__ = ["FEED_FORWARDS", "MASKS", "NORMS", "POSITIONS", "new_attention", "new_feed_forward", "new_mask", "new_norm",
           "new_positions"]

# Each function takes a configuration and gives the part.

MAX_ANGLES = 1 << 24  # positions times channels of a table of angles; beyond, they are computed in each pass

POSITIONS: dict[str, Callable[[Any], Positions]] = {
    "learned": lambda c: LearnedPositions(c.block_size + c.position_offset, c.n_embd, std=c.initializer_range),
    "sinusoidal": lambda c: SinusoidalPositions(c.block_size, c.n_embd),
    "rotary": lambda c: RotaryPositions(
        None if c.endless or c.block_size * c.head_dim > MAX_ANGLES else c.block_size, c.head_dim,
        theta=c.rope_theta, scaling=c.rope_scaling),
    "alibi": lambda c: AlibiPositions(c.n_head),
}

MASKS: dict[str, Callable[[Any], Mask]] = {
    "full": lambda c: Mask(),
    "causal": lambda c: Causal(),
    "window": lambda c: Causal() if c.window is None else Window(c.window),
}

NORMS: dict[str, Callable[[Any], Module]] = {
    "layer": lambda c: LayerNorm(c.n_embd, bias=c.bias, epsilon=c.norm_epsilon),
    "rms": lambda c: RMSNorm(c.n_embd, epsilon=c.norm_epsilon),
}

# These take the configuration, and the options that FeedForward has.
FEED_FORWARDS: dict[str, Callable[..., Module]] = {
    "plain": lambda c, n_embd, n_inner, **options: FusedFeedForward(n_embd, n_inner, **options),
    "gated": lambda c, n_embd, n_inner, **options: GatedFeedForward(n_embd, n_inner, **options),
    "experts": lambda c, n_embd, n_inner, **options: MixtureOfExperts(
        n_embd, n_inner, c.n_experts, c.n_experts_per_token, **options),
}


def new_positions(config: Any) -> Positions:
    """How the model tells positions."""
    return POSITIONS[config.positions](config)


def new_mask(config: Any) -> Mask:
    """Which tokens a query may look at."""
    return MASKS[config.mask](config)


def new_norm(config: Any) -> Module:
    """A norm over the channels."""
    return NORMS[config.norm](config)


def new_attention(config: Any, kind: type[MultiHeadAttention] = MultiHeadAttention, *, n_head: int | None = None,
                  **std: float) -> MultiHeadAttention:
    """An attention layer, or one of another class. `std` and `out_std` as for MultiHeadAttention."""
    c = config
    return kind(c.n_embd, c.n_head if n_head is None else n_head, n_kv_head=getattr(c, "n_kv_head", None),
                head_dim=getattr(c, "head_dim", None), bias=c.bias, dropout=c.dropout, **std)


def new_feed_forward(config: Any, *, n_inner: int | None = None, **std: float) -> Module:
    """A feed-forward layer. `std` and `out_std` as for FeedForward."""
    c = config
    return FEED_FORWARDS[c.feed_forward](c, c.n_embd, c.n_inner if n_inner is None else n_inner,
                                         activation=c.activation, bias=c.bias, **std)
