"""What a configuration names, and what is built for it: one table for positions, masks, norms and feed-forwards each.

A new kind is a class in a file of its own in nn/ and a row here; activations have their table in ops/activation.py.
layout.py says which of them each architecture has.

Prerequisites: nn/, layout.py. Next: config_base.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..nn import (AlibiPositions, Block, BranchNormBlock, Causal, CrossAttention, CrossBlock, FusedFeedForward,
                  GatedFeedForward, LayerNorm, LearnedPositions, Mask, MixtureOfExperts, Module, MultiHeadAttention,
                  NormedAttention, OffsetRMSNorm, ParallelBlock, Positions, PostNormBlock, PreNormCrossBlock, RMSNorm,
                  RelativePositions, RotaryPositions, SandwichBlock, SinusoidalPositions, Window)

__all__ = ["BLOCKS", "CROSS_BLOCKS", "FEED_FORWARDS", "MASKS", "NORMS", "POSITIONS", "VIEWS", "new_attention",
           "new_block", "new_feed_forward", "new_mask", "new_norm", "new_positions", "new_views"]

# Each function takes a configuration and gives the part.

MAX_ANGLES = 1 << 24  # positions times channels of a table of angles; beyond, they are computed in each pass

# These take the name of the mask as well, by default the configuration's.
POSITIONS: dict[str, Callable[..., Positions]] = {
    "learned": lambda c, mask=None: LearnedPositions(
        c.block_size + c.position_offset, c.n_embd, std=c.initializer_range),
    "sinusoidal": lambda c, mask=None: SinusoidalPositions(c.block_size, c.n_embd),
    "rotary": lambda c, mask=None: RotaryPositions(
        None if c.endless or c.block_size * c.rotary_dim > MAX_ANGLES else c.block_size, c.rotary_dim,
        theta=c.rope_theta, scaling=c.rope_scaling),
    "alibi": lambda c, mask=None: AlibiPositions(c.n_head),
    "relative": lambda c, mask=None: RelativePositions(
        c.n_head, n_buckets=getattr(c, "relative_buckets", 32), farthest=getattr(c, "relative_distance", 128),
        both_sides=(mask or c.mask) == "full", std=c.initializer_range),
}

MASKS: dict[str, Callable[[Any], Mask]] = {
    "full": lambda c: Mask(),
    "causal": lambda c: Causal(),
    "window": lambda c: Causal() if c.window is None else Window(c.window),
}

# What the blocks of a model look at, where they differ: the configuration and the model's own positions give both.
VIEWS: dict[str, Callable[[Any, Positions], tuple[Positions, Mask]]] = {
    "full": lambda c, positions: (positions, Causal()),
    "window": lambda c, positions: (_local(c, positions), Causal() if c.window is None else Window(c.window)),
    "still": lambda c, positions: (Positions(), Causal()),  # rotary positions do not turn here
}

# These take the width, by default that of the residual stream.
NORMS: dict[str, Callable[..., Module]] = {
    "layer": lambda c, width=None: LayerNorm(width or c.n_embd, bias=c.bias, epsilon=c.norm_epsilon),
    "rms": lambda c, width=None: RMSNorm(width or c.n_embd, epsilon=c.norm_epsilon),
    "offset_rms": lambda c, width=None: OffsetRMSNorm(width or c.n_embd, epsilon=c.norm_epsilon),
}

BLOCKS: dict[str, type[Block]] = {
    "pre": Block, "post": PostNormBlock, "branch": BranchNormBlock, "sandwich": SandwichBlock,
    "parallel": ParallelBlock,
}

# Of the decoders that look at another sequence too.
CROSS_BLOCKS: dict[str, type[CrossBlock]] = {"pre": PreNormCrossBlock, "post": CrossBlock}

# These take the configuration, and the options that FeedForward has.
FEED_FORWARDS: dict[str, Callable[..., Module]] = {
    "plain": lambda c, n_embd, n_inner, **options: FusedFeedForward(n_embd, n_inner, **options),
    "gated": lambda c, n_embd, n_inner, **options: GatedFeedForward(n_embd, n_inner, **options),
    "experts": lambda c, n_embd, n_inner, **options: MixtureOfExperts(
        n_embd, n_inner, c.n_experts, c.n_experts_per_token, **options),
}


def new_positions(config: Any, mask: str | None = None) -> Positions:
    """How the model tells positions; or a part of it that has another mask."""
    return POSITIONS[config.positions](config, mask)


def new_mask(config: Any) -> Mask:
    """Which tokens a query may look at."""
    return MASKS[config.mask](config)


def _local(config: Any, positions: Positions) -> Positions:
    """The positions of layers with a window, which may have frequencies of their own."""
    c = config
    if c.local_rope_theta is None:
        return positions
    return RotaryPositions(None if c.endless else c.block_size, c.rotary_dim, theta=c.local_rope_theta)


def new_views(config: Any, positions: Positions, mask: Mask) -> dict[str, tuple[Positions, Mask]]:
    """What the kinds of layers of a model look at; under the name "" where there is only one kind."""
    if config.layers is None:
        return {"": (positions, mask)}
    return {kind: VIEWS[kind](config, positions) for kind in dict.fromkeys(config.layers)}


def new_norm(config: Any, width: int | None = None) -> Module:
    """A norm over the channels, or over so many."""
    return NORMS[config.norm](config, width)


def new_attention(config: Any, kind: type[MultiHeadAttention] = MultiHeadAttention, *, n_head: int | None = None,
                  **std: float) -> MultiHeadAttention:
    """An attention layer, or one of another class. `std` and `out_std` as for MultiHeadAttention."""
    c, layout = config, config.layout
    options: dict[str, Any] = dict(n_kv_head=getattr(c, "n_kv_head", None), head_dim=getattr(c, "head_dim", None),
                                   bias=c.bias, dropout=c.dropout, **std)
    scale = getattr(c, "attention_scale", None)
    if issubclass(kind, CrossAttention):
        return kind(c.n_embd, c.n_head if n_head is None else n_head, scale=scale, **options)
    if layout.qk_norm or layout.biases == "qkv" or scale is not None:
        return NormedAttention(c.n_embd, c.n_head, norm=(lambda width: new_norm(c, width)) if layout.qk_norm else None,
                               norm_of=layout.qk_norm, scale=scale, out_bias=layout.biases != "qkv", **options)
    return kind(c.n_embd, c.n_head if n_head is None else n_head, **options)


def new_feed_forward(config: Any, *, n_inner: int | None = None, **std: float) -> Module:
    """A feed-forward layer. `std` and `out_std` as for FeedForward."""
    c = config
    return FEED_FORWARDS[c.feed_forward](c, c.n_embd, c.n_inner if n_inner is None else n_inner,
                                         activation=c.activation, bias=c.bias and c.layout.biases == "all", **std)


def new_block(config: Any, **std: Any) -> Block:
    """A block of both layers. `std` and `out_std` as for them."""
    return BLOCKS[config.layout.block](new_attention(config, **std), new_feed_forward(config, **std),
                                       lambda: new_norm(config), config.dropout)
