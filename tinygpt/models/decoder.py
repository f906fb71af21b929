"""The public GPT: the book's, in every layout that decoders come in, with padding, a cache, two heads, and folders.

The configuration's `architecture` decides between GPT-2's layout (learned positions, LayerNorm, GELU), Llama's (rotary
positions, RMSNorm, SwiGLU, grouped queries), Mistral's (Llama's with a sliding window) and Mixtral's (Llama's with
experts); layout.py has the table.

Shapes: B batch, T time, C channels, V vocabulary.

Prerequisites: gpt.py, kinds.py, config.py, causal.py. Next: recurrent.py. Touvron et al., "LLaMA" (2023).
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import Array, to_device, to_numpy
from ..blas import chooses_threads
from ..nn import (Both, Cache, CachedSight, LayerCache, Linear, Mask, Module, Padding, Positions, Window,
                  balance_loss)
from . import gpt
from .causal import CausalLM
from .config import GPTConfig
from .inputs import attention_mask_on, positions_of, token_ids
from .kinds import new_block, new_mask, new_norm, new_positions, new_views

__all__ = ["GPT"]


class GPT(gpt.GPT, CausalLM):
    """A decoder-only transformer.

    Args:
        config: sizes and layout. head="lm" gives logits over the vocabulary, head="classification" over labels, and
            None the features.
    """

    config_class = GPTConfig
    config: GPTConfig

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        c, std = config, config.initializer_range
        self.lm_head = Linear(c.n_embd, c.vocab_size, bias=False, std=std) \
            if c.head == "lm" and not c.tie_word_embeddings else None
        self.score = Linear(c.n_embd, c.n_labels, bias=False, std=std) if c.head == "classification" else None
        self.views = new_views(c, self.positions, self.mask)  # what the blocks look at

    def new_positions(self) -> Positions:
        """The configuration's."""
        return new_positions(self.config)

    def new_mask(self) -> Mask:
        """The configuration's."""
        return new_mask(self.config)

    def new_norm(self) -> Module:
        """The configuration's."""
        return new_norm(self.config)

    def new_block(self) -> Module:
        """A block of the configuration's layers."""
        c = self.config
        std: dict[str, Any] = dict(
            std=c.initializer_range, out_std=c.initializer_range / math.sqrt(2 * max(1, c.n_layer)))
        return new_block(c, **std)

    # -- from ids to logits -------------------------------------------------------------------------------------------

    def embed(self, ids: Array, where: Array) -> Tensor:
        """As in the book, in the type of activations; Gemma's token embeddings are scaled by √C."""
        if not self.config.layout.scale_embedding:
            return self.activations(super().embed(ids, where))
        x = self.token_embedding(ids) * math.sqrt(self.config.n_embd)
        return self.activations(self.dropout(self.positions.add(x, where)))

    @chooses_threads
    def features(self, ids: Any, attention_mask: Any = None, cache: Cache | None = None) -> Tensor:
        """ids (B, T) -> what the last norm gives, (B, T, C); arguments as for `forward`."""
        device = self.token_embedding.weight.device
        ids = token_ids("GPT", ids, self.config.vocab_size, device)
        start = 0 if cache is None else cache.length
        end = start + ids.shape[1]
        if end > self.config.block_size and not self.config.endless:
            raise ValueError(f"GPT: a text of {end} tokens does not fit the context of {self.config.block_size} tokens "
                             "(block_size)")
        padding = attention_mask_on("GPT", attention_mask, (ids.shape[0], end))
        where = to_device(positions_of(padding, start, end), device)  # (T,) or (B, T)
        kinds = self.config.layers or ("",) * self.config.n_layer
        sights = {kind: CachedSight(positions, mask if padding is None else Both(mask, Padding(padding)), where, cache,
                                    device, kinds.index(kind) if kinds else 0)
                  for kind, (positions, mask) in self.views.items()}
        x = self.embed(ids, where)
        for block, kind in zip(self.blocks, kinds):
            x = block(x, sights[kind])
        x = self.norm(x)
        if cache is not None:
            cache.advance(ids.shape[1])
        return x

    @property
    def output_weight(self) -> Tensor:
        """(V, C): the matrix from features to logits; the token embedding itself where they are tied."""
        return self.token_embedding.weight if self.lm_head is None else self.lm_head.weight

    @property
    def auxiliary_loss(self) -> Tensor | None:
        """What training adds to the loss of each target, (): that experts be used alike. None without experts."""
        coefficient = self.config.router_aux_loss_coef
        loss = balance_loss(self) if coefficient else None
        return None if loss is None else loss * coefficient

    @chooses_threads
    def forward(self, ids: Any, attention_mask: Any = None, cache: Cache | None = None) -> Tensor:
        """Logits for the token that follows each position; for a classifier, of each text's label.

        Args:
            ids: (B, T) integers.
            attention_mask: (B, S), 1 at tokens and 0 at padding, over all S tokens so far, the cache's included.
                Padding on the left shifts nothing: positions count from each row's first token.
            cache: from `new_cache`; holds the earlier tokens, and takes these.

        Returns:
            (B, T, V), (B, n_labels) for head="classification", or (B, T, C) without a head.

        Raises:
            ValueError: a context longer than `block_size` (see `GPTConfig.endless`), or shapes that do not fit.
            IndexError: an id outside the vocabulary.
        """
        x = self.features(ids, attention_mask, cache)
        if self.score is not None:
            return self.score(self._last(x, ids, attention_mask))
        return x if self.config.head is None else ops.linear(x, self.output_weight)

    @property
    def label_layer(self) -> Linear | None:
        """The last layer of a classifier, (n_labels, C)."""
        return self.score

    def label_features(self, ids: Any, attention_mask: Any = None) -> Tensor:
        """What a classifier's `label_layer` takes, (B, C); arguments as for `forward`."""
        return self._last(self.features(ids, attention_mask), ids, attention_mask)

    def _last(self, x: Tensor, ids: Any, attention_mask: Any) -> Tensor:
        """(B, T, C) -> (B, C): each row's features at its last token that is no padding.

        Where the configuration has a padding token, that is the last other token, as in transformers.
        """
        rows, t, pad = np.arange(x.shape[0]), x.shape[1], self.config.pad_token_id
        if pad is not None:
            ids = ids.data if isinstance(ids, Tensor) else ids
            counted = (to_numpy(ids) if hasattr(ids, "dtype") else np.asarray(ids)) != pad  # (B, T)
        elif attention_mask is not None:
            counted = np.asarray(attention_mask) != 0
        else:
            return x[:, t - 1]
        last = np.where(counted.any(axis=1), t - 1 - np.argmax(counted[:, ::-1], axis=1), 0)
        return x[to_device(rows, self.device), to_device(last, self.device)]

    # -- generating ---------------------------------------------------------------------------------------------------

    def new_cache(self, batch_size: int, capacity: int | None = None) -> Cache:
        """An empty cache for `batch_size` sequences of up to `capacity` tokens (the whole context by default; of an
        endless model, any number)."""
        c = self.config
        masks = [self.views[kind][1] for kind in c.layers or ("",) * c.n_layer]
        new_layer = [mask.layer_cache if isinstance(mask, Window) else LayerCache for mask in masks]
        if capacity is None:
            capacity = sys.maxsize if c.endless else c.block_size
        return Cache(c.n_layer, batch_size, c.n_kv_head, capacity, c.head_dim, device=self.device, new_layer=new_layer,
                     dtype=self.dtype if self.compute_dtype is None else self.compute_dtype)
