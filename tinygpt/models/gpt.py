"""GPT: token and position embeddings, a stack of causal blocks, a norm, and logits for the next token.

This is GPT-2. decoder.py extends it to the other layouts that decoders come in, and to what a program needs around it.

Shapes: B batch, T time, C channels, V vocabulary.

Prerequisites: nn/block.py. Next: tokenizers/characters.py. Radford et al., "Language models are unsupervised multitask
learners" (2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..arrays import Array, array_module
from ..autograd.tensor import Tensor
from ..nn.attention import MultiHeadAttention
from ..nn.block import Block
from ..nn.dropout import Dropout
from ..nn.embedding import Embedding
from ..nn.feedforward import FeedForward
from ..nn.masks import Causal, Mask
from ..nn.module import Module
from ..nn.normalization import LayerNorm
from ..nn.positions import LearnedPositions, Positions
from ..nn.sight import Sight
from ..ops.linalg import linear

__all__ = ["GPT", "GPTConfig"]


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT.

    Args:
        vocab_size: V, the number of token ids. block_size: the longest context, in tokens.
        n_layer, n_head, n_embd: blocks, heads in each, and C.
        dropout: the probability of dropping, in [0, 1).
        bias: biases on linear layers and norms.
        initializer_range: standard deviation of the initial weights.
    """

    vocab_size: int
    block_size: int = 1024
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = True
    initializer_range: float = 0.02


class GPT(Module):
    """A decoder-only transformer.

    Weights start as GPT-2's: normal with standard deviation `initializer_range`, divided by √(2 L) for the matrices
    that write to the residual stream, so that its variance does not grow with the number L of blocks. Biases start at
    0, norms at 1.

    Args:
        config: its sizes.
    """

    def __init__(self, config: Any) -> None:
        c = self.config = config
        self.token_embedding = Embedding(c.vocab_size, c.n_embd, std=c.initializer_range)
        self.positions = self.new_positions()
        self.mask = self.new_mask()
        self.dropout = Dropout(c.dropout)
        self.blocks = [self.new_block() for _ in range(c.n_layer)]
        self.norm = self.new_norm()

    # -- the parts that it is made of ---------------------------------------------------------------------------------

    def new_positions(self) -> Positions:
        """How it tells positions."""
        c = self.config
        return LearnedPositions(c.block_size, c.n_embd, std=c.initializer_range)

    def new_mask(self) -> Mask:
        """Which tokens a query may look at."""
        return Causal()

    def new_norm(self) -> Module:
        """A norm over the channels."""
        return LayerNorm(self.config.n_embd, bias=self.config.bias)

    def new_block(self) -> Module:
        """One of its blocks."""
        c = self.config
        std = c.initializer_range
        out_std = std / math.sqrt(2 * c.n_layer)
        return Block(
            MultiHeadAttention(c.n_embd, c.n_head, bias=c.bias, dropout=c.dropout, std=std, out_std=out_std),
            FeedForward(c.n_embd, 4 * c.n_embd, bias=c.bias, std=std, out_std=out_std),
            self.new_norm, c.dropout)

    # -- from ids to logits -------------------------------------------------------------------------------------------

    def forward(self, ids: Array) -> Tensor:
        """Token ids (B, T) -> logits (B, T, V) for the token that follows each position."""
        where = array_module(ids).arange(ids.shape[1])  # (T,)
        x = self.through(ids, Sight(self.positions, self.mask, where))
        return linear(x, self.token_embedding.weight)  # a token is likely where the features look like its embedding

    def through(self, ids: Array, sight: Sight) -> Tensor:
        """Ids (B, T) -> features (B, T, C), by way of all blocks."""
        x = self.embed(ids, sight.where)
        for block in self.blocks:
            x = block(x, sight)
        return self.norm(x)

    def embed(self, ids: Array, where: Array) -> Tensor:
        """Ids (B, T) at the positions `where` -> their embeddings (B, T, C)."""
        return self.dropout(self.positions.add(self.token_embedding(ids), where))
