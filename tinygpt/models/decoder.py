"""The public GPT: the book's, in every layout that decoders come in, with padding, a cache, two heads, and folders.

The configuration's `architecture` decides between GPT-2's layout (learned positions, LayerNorm, GELU), Llama's (rotary
positions, RMSNorm, SwiGLU, grouped queries), Mistral's (Llama's with a sliding window) and Mixtral's (Llama's with
experts); layout.py has the table.

Shapes: B batch, T time, C channels, V vocabulary.

Prerequisites: gpt.py, kinds.py, config.py, base.py. Next: bert.py. Touvron et al., "LLaMA" (2023).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from .. import ops
from ..autograd import Tensor, no_grad
from ..backend import Array, to_device, to_numpy
from ..generation import (Rules, Sampling, as_list, beam_search, check_beams, check_suppressed, generate, stream,
                          stream_text)
from ..nn import (Both, Cache, CachedSight, LayerCache, Linear, Mask, Module, Padding, Positions, Window,
                  balance_loss)
from . import gpt
from .base import FROM_CONFIG, PretrainedModel
from .config import GPTConfig
from .inputs import attention_mask_on, positions_of, token_ids
from .kinds import new_block, new_mask, new_norm, new_positions, new_views

__all__ = ["GPT"]


class GPT(gpt.GPT, PretrainedModel):
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

    @no_grad()
    def step(self, ids: Any, cache: Cache | None = None, attention_mask: Any = None) -> Array:
        """Logits (B, V) for the token after the last of ids (B, T): one step of the decoding loop."""
        x = self.features(ids, attention_mask, cache)
        return ops.linear(x[:, -1], self.output_weight).data

    def _decoding(self, ids: Any, max_new_tokens: int, eos_token_id: Any, pad_token_id: int | None, use_cache: bool,
                  chosen: Sampling) -> dict[str, Any]:
        """What the decoding loop needs to know of this model, and the rules that its texts follow."""
        c = self.config
        if c.head != "lm":
            what = "classifier" if c.head else "model without a head"
            raise ValueError(f"GPT: a {what} does not generate text; load a model with head='lm'")
        check_suppressed(chosen.suppress_tokens, c.vocab_size)
        eos = c.eos_token_id if eos_token_id is FROM_CONFIG else eos_token_id
        length = np.shape(ids)[-1]
        rules = Rules(length + max_new_tokens, absent=tuple(chosen.suppress_tokens), ends=tuple(as_list(eos)),
                      no_repeat_ngram_size=chosen.no_repeat_ngram_size or 0, min_length=length + chosen.min_new_tokens)
        capacity = length + max_new_tokens
        if not c.endless:
            capacity = min(c.block_size, capacity)
        return dict(
            make_cache=(lambda batch_size: self.new_cache(batch_size, capacity)) if use_cache else None,
            context_length=None if c.endless else c.block_size,
            max_new_tokens=max_new_tokens, pad_token_id=c.pad_token_id if pad_token_id is None else pad_token_id,
            eos_token_id=eos,
            rules=rules if chosen.suppress_tokens or chosen.no_repeat_ngram_size or chosen.min_new_tokens else None)

    def generate(self, ids: Any, max_new_tokens: int = 20, *, seed: int | None = None, stop: Any = None,
                 decode: Callable[[Sequence[int]], str] | None = None,
                 eos_token_id: int | Sequence[int] | None = FROM_CONFIG, pad_token_id: int | None = None,
                 attention_mask: Any = None, num_return_sequences: int = 1, num_beams: int = 1,
                 length_penalty: float = 1.0, early_stopping: bool | Literal["never"] = False, use_cache: bool = True,
                 long_prompt: Literal["error", "crop"] = "error",
                 **sampling: Any) -> np.ndarray:
        """Continue prompts (B, T): the ids with up to `max_new_tokens` more, (B, T + new) int64 on the host.

        With `num_return_sequences` n the rows are B · n, those of a prompt together; of beams the best comes first.

        Args:
            ids: prompts; unequal ones padded on the left, with `attention_mask` 0 there.
            seed: row b draws from (seed, b); None draws a fresh seed.
            stop: ids, or texts (which need `decode`), after which a row ends.
            eos_token_id: ids after which a row ends; the configuration's by default, None for none.
            pad_token_id: what a row is filled with once it has ended; the configuration's by default.
            num_return_sequences: how many continuations of each prompt: drawn ones, or the best of as many beams at
                least.
            num_beams: above 1, beam search (generation/beam.py), with `length_penalty` and `early_stopping`: nothing is
                sampled, and `stop` and `repetition_penalty` cannot be used.
            use_cache: False computes every step anew: slower, the same result.
            long_prompt: "error", or "crop" to go on from the last `block_size` tokens of a longer prompt.
            sampling: how a token is chosen, as in `generation.Sampling`: temperature (0 takes the most likely token; 1,
                the default, draws from the model's distribution), top_k, top_p, min_p, repetition_penalty; and
                no_repeat_ngram_size, min_new_tokens, suppress_tokens, which beams heed too.

        Raises:
            ValueError, TypeError, IndexError: prompts or settings that nothing can be generated from.
        """
        chosen = Sampling.of(sampling)
        settings = self._decoding(ids, max_new_tokens, eos_token_id, pad_token_id, use_cache, chosen)
        if num_beams != 1:
            check_beams(num_beams, stop, chosen.repetition_penalty, num_return_sequences)
            settings["num_return_sequences"] = num_return_sequences
            return beam_search(self.step, np.asarray(ids), num_beams=num_beams, length_penalty=length_penalty,
                               early_stopping=early_stopping, attention_mask=attention_mask, **settings)
        ids, attention_mask = chosen.repeated(num_return_sequences, ids, attention_mask)
        return generate(self.step, np.asarray(ids), sampling=chosen, seed=seed, stop=stop, decode=decode,
                        attention_mask=attention_mask, long_prompt=long_prompt, **settings)

    def stream(self, ids: Any, max_new_tokens: int = 20, *, seed: int | None = None, stop: Any = None,
               decode: Callable[[Sequence[int]], str] | None = None,
               eos_token_id: int | Sequence[int] | None = FROM_CONFIG, pad_token_id: int | None = None,
               attention_mask: Any = None, use_cache: bool = True, long_prompt: Literal["error", "crop"] = "error",
               cache: Cache | None = None, **sampling: Any) -> Iterator[np.ndarray]:
        """As `generate`, but yields the new token of every row, (B,), as soon as it is chosen.

        Args:
            cache: from `new_cache`: holds the beginning of the prompts already, from an earlier call, and takes what is
                read and written now; it grows as needed.
        """
        chosen = Sampling.of(sampling)
        settings = self._decoding(ids, max_new_tokens, eos_token_id, pad_token_id, use_cache, chosen)
        if cache is not None:
            new_cache, given = settings["make_cache"], iter([cache])
            length = np.shape(ids)[-1] + max_new_tokens
            cache.grow(length if self.config.endless else min(self.config.block_size, length))
            settings["make_cache"] = lambda batch_size: next(given, None) or new_cache(batch_size)
        return stream(self.step, np.asarray(ids), sampling=chosen, seed=seed, stop=stop, decode=decode,
                      attention_mask=attention_mask, long_prompt=long_prompt, **settings)

    def stream_text(self, ids: Any, max_new_tokens: int = 20, *, decode: Callable[[list[int]], str],
                    seed: int | None = None, stop: Any = None,
                    eos_token_id: int | Sequence[int] | None = FROM_CONFIG, use_cache: bool = True,
                    long_prompt: Literal["error", "crop"] = "error", **sampling: Any) -> Iterator[str]:
        """As `stream`, for one prompt (1, T): yields its continuation in pieces of whole characters, ends left out."""
        chosen = Sampling.of(sampling)
        return stream_text(self.step, np.asarray(ids), decode=decode, sampling=chosen, seed=seed, stop=stop,
                           long_prompt=long_prompt,
                           **self._decoding(ids, max_new_tokens, eos_token_id, None, use_cache, chosen))
