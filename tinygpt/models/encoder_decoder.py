"""EncoderDecoder: one stack reads the source, another writes the target and looks at the source by cross attention.

The transformer as it was invented, for translation. Both stacks are made of the one block; the decoder's has a second
attention layer, whose keys and values come from the encoder's output (the memory). Marian's layout is Vaswani's: fixed
sines for positions. BART's learns positions and puts a norm after the embeddings. T5's tells positions by learned
numbers for distances, and has its norms before the layers.

Shapes: B batch, S source time, T target time, C channels, V vocabulary.

Prerequisites: bert.py. Next: auto.py. Vaswani et al., "Attention is all you need" (2017); Lewis et al., "BART"
(2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from .. import ops
from ..autograd import Tensor, no_grad
from ..backend import Array, to_device
from ..blas import chooses_threads
from ..generation import Rules, Sampling, as_list, beam_search, check_beams, check_suppressed, generate
from ..nn import (Cache, CachedSight, CrossAttention, DecoderSight, Dropout, Embedding, LayerNorm, Mask, Module,
                  MultiHeadAttention, Padding, Sight)
from .base import FROM_CONFIG, PretrainedModel
from .bert import Output
from .config import EncoderDecoderConfig
from .inputs import attention_mask_on, token_ids
from .kinds import BLOCKS, CROSS_BLOCKS, new_attention, new_feed_forward, new_mask, new_norm, new_positions

__all__ = ["EncoderDecoder", "Stack", "shift_right"]


def shift_right(targets: np.ndarray, start: int, pad: int) -> np.ndarray:
    """What the decoder reads to predict targets (B, T): the start token, then all but the last target.

    >>> shift_right(np.array([[5, 6, 0], [7, 0, -100]]), start=1, pad=1)
    array([[1, 5, 6],
           [1, 7, 0]])
    """
    read = np.concatenate([np.full_like(targets[:, :1], start), targets[:, :-1]], axis=1)
    return np.where(read == ops.IGNORE_INDEX, pad, read)


class Stack(Module):
    """Embeddings and blocks: the encoder, or with `cross` the decoder.

    Args:
        config: sizes and layout. embedding: the token embedding, its own or the one that all share.
    """

    def __init__(self, config: EncoderDecoderConfig, embedding: Embedding, *, cross: bool) -> None:
        c = config
        n_layer, n_head, n_inner = (c.n_decoder_layer, c.n_decoder_head, c.n_decoder_inner) if cross \
            else (c.n_layer, c.n_head, c.n_inner)
        self.token_embedding = embedding
        self.scale = math.sqrt(c.n_embd) if c.scale_embedding else 1.0
        self.positions = new_positions(c, c.mask if cross else "full")
        self.embedding_norm = LayerNorm(c.n_embd, epsilon=c.norm_epsilon) if c.layout.embedding_norm else None
        self.dropout = Dropout(c.dropout)
        self.blocks = [self._block(c, n_head, n_inner, cross) for _ in range(n_layer)]
        self.norm = new_norm(c) if c.layout.norm_first else None

    def _block(self, c: EncoderDecoderConfig, n_head: int, n_inner: int, cross: bool) -> Module:
        std = c.initializer_range
        kind: Any = (CROSS_BLOCKS if cross else BLOCKS)[c.layout.block]
        layers = [new_attention(c, which, n_head=n_head, std=std)
                  for which in (MultiHeadAttention, *[CrossAttention] * cross)]
        return kind(*layers, new_feed_forward(c, n_inner=n_inner, std=std), lambda: new_norm(c), c.dropout)

    def forward(self, ids: Array, sight: Sight) -> Tensor:
        """ids (B, T) on the device -> (B, T, C)."""
        x = self.positions.add(self.token_embedding(ids) * self.scale, sight.where)  # (B, T, C)
        if self.embedding_norm is not None:
            x = self.embedding_norm(x)
        x = self.dropout(self.activations(x))
        for block in self.blocks:
            x = block(x, sight)
        return x if self.norm is None else self.norm(x)


class EncoderDecoder(PretrainedModel):
    """An encoder-decoder transformer.

    Args:
        config: sizes and layout.

    Attributes:
        token_embedding: the one that both stacks share, and the output too if it is tied; None where each has its own.
    """

    config_class = EncoderDecoderConfig
    config: EncoderDecoderConfig

    def __init__(self, config: EncoderDecoderConfig) -> None:
        c = self.config = config

        def embedding() -> Embedding:
            return Embedding(c.vocab_size, c.n_embd, std=c.initializer_range)

        self.token_embedding = embedding() if c.tie_word_embeddings or c.layout.shared_embedding else None
        self.encoder, self.decoder = (
            Stack(c, embedding() if self.token_embedding is None else self.token_embedding, cross=cross)
            for cross in (False, True))
        self.lm_head = Output(c)
        self.scale = c.n_embd ** -0.5 if c.layout.scale_output and c.tie_word_embeddings else 1.0

    @property
    def output_weight(self) -> Tensor:
        """(V, C): the matrix from features to logits; the token embedding itself where they are tied."""
        return self.decoder.token_embedding.weight if self.lm_head.weight is None else self.lm_head.weight

    # -- from ids to logits -------------------------------------------------------------------------------------------

    def _ids(self, ids: Any, start: int = 0) -> Array:
        ids = token_ids("EncoderDecoder", ids, self.config.vocab_size, self.device)
        if start + ids.shape[1] > self.config.block_size:
            raise ValueError(f"EncoderDecoder: a text of {start + ids.shape[1]} tokens does not fit the context of "
                             f"{self.config.block_size} tokens (block_size)")
        return ids

    @chooses_threads
    def encode(self, ids: Any, attention_mask: Any = None) -> tuple[Tensor, Array | None]:
        """Source ids (B, S) -> the memory (B, S, C), and where to look at it, (B, 1, 1, S); None for everywhere."""
        ids = self._ids(ids)
        padding = attention_mask_on("EncoderDecoder", attention_mask, ids.shape)
        mask = Mask() if padding is None else Padding(padding)
        where = to_device(np.arange(ids.shape[1]) + self.config.position_offset, self.device)
        memory = self.encoder(ids, CachedSight(self.encoder.positions, mask, where, None, self.device))
        return memory, None if padding is None else to_device(padding[:, None, None, :], self.device)

    def decode(self, decoder_ids: Any, memory: Tensor, memory_mask: Array | None = None,
               cache: Cache | None = None) -> Tensor:
        """Target ids (B, T) -> features (B, T, C), which the output matrix turns into logits."""
        start = 0 if cache is None else cache.length
        ids = self._ids(decoder_ids, start)
        where = to_device(np.arange(start, start + ids.shape[1]) + self.config.position_offset, self.device)
        x = self.decoder(ids, DecoderSight(self.decoder.positions, new_mask(self.config), where, cache, self.device,
                                           memory, memory_mask))
        if cache is not None:
            cache.advance(ids.shape[1])
        return x if self.scale == 1.0 else x * self.scale

    @chooses_threads
    def forward(self, ids: Any, decoder_ids: Any, attention_mask: Any = None) -> Tensor:
        """Logits (B, T, V) for the token that follows each position of the target.

        Args:
            ids: (B, S) source tokens.
            decoder_ids: (B, T) target tokens so far, from `decoder_start_token_id` on.
            attention_mask: (B, S), 1 at source tokens and 0 at padding.

        Raises:
            ValueError: a text longer than `block_size`, or shapes that do not fit.
            IndexError: an id outside the vocabulary.
        """
        memory, mask = self.encode(ids, attention_mask)
        return ops.linear(self.decode(decoder_ids, memory, mask), self.output_weight, self.lm_head.bias)

    # -- generating ---------------------------------------------------------------------------------------------------

    def new_cache(self, batch_size: int, capacity: int | None = None) -> Cache:
        """An empty cache of the decoder: `batch_size` targets of up to `capacity` tokens, by default `block_size`."""
        c = self.config
        return Cache(c.n_decoder_layer, batch_size, c.n_decoder_head, c.block_size if capacity is None else capacity,
                     c.head_dim or c.n_embd // c.n_decoder_head, device=self.device,
                     dtype=self.dtype if self.compute_dtype is None else self.compute_dtype)

    @chooses_threads
    def _step(self, decoder_ids: np.ndarray, memory: Tensor, memory_mask: Array | None, cache: Cache | None) -> Array:
        """Logits (B, V) for the token after the last of decoder_ids (B, T)."""
        x = self.decode(decoder_ids, memory, memory_mask, cache)
        return ops.linear(x[:, -1], self.output_weight, self.lm_head.bias).data

    def _rules(self, max_length: int, eos: Any, chosen: Sampling) -> Rules:
        """The rules for texts of up to `max_length` tokens, the start token included: the configuration's, and what was
        asked for."""
        c = self.config
        check_suppressed(chosen.suppress_tokens, c.vocab_size)
        size = c.no_repeat_ngram_size if chosen.no_repeat_ngram_size is None else chosen.no_repeat_ngram_size
        return Rules(max_length, c.suppress_token_ids, tuple(chosen.suppress_tokens), size, tuple(as_list(eos)),
                     max(c.min_length, 1 + chosen.min_new_tokens), c.forced_bos_token_id,
                     None if eos is None else c.forced_eos_token_id)

    @no_grad()
    def generate(self, ids: Any, max_new_tokens: int = 20, *, attention_mask: Any = None, seed: int | None = None,
                 stop: Any = None, decode: Any = None, eos_token_id: int | Sequence[int] | None = FROM_CONFIG,
                 num_return_sequences: int = 1, num_beams: int = 1, length_penalty: float = 1.0,
                 early_stopping: bool | Literal["never"] = False, use_cache: bool = True,
                 **sampling: Any) -> np.ndarray:
        """Write a target for each source (B, S): decoder ids from the start token on, (B, 1 + new) int64 on the host.

        With `num_return_sequences` n the rows are B · n, those of a source together; of beams the best comes first.

        Args:
            ids, attention_mask: sources, as for `forward`.
            seed: row b draws from (seed, b); None draws a fresh seed.
            stop: ids, or texts (which need `decode`), after which a row ends.
            eos_token_id: ids after which a row ends; the configuration's by default. None for none; then the
                configuration's `forced_eos_token_id` is not heeded either.
            num_return_sequences: how many targets of each source: drawn ones, or the best of as many beams at least.
            num_beams: above 1, beam search (generation/beam.py), with `length_penalty` and `early_stopping`: nothing is
                sampled, and `stop` and `repetition_penalty` cannot be used.
            use_cache: False computes every step anew: slower, the same result.
            sampling: how a token is chosen, as in `generation.Sampling`; temperature 0, the default, takes the most
                likely one.

        Raises:
            ValueError, TypeError, IndexError: sources or settings that nothing can be generated from.
        """
        c = self.config
        chosen = Sampling.of(sampling, temperature=0.0)
        if num_beams != 1:
            check_beams(num_beams, stop, chosen.repetition_penalty, num_return_sequences)
        else:
            ids, attention_mask = chosen.repeated(num_return_sequences, ids, attention_mask)
        memory, memory_mask = self.encode(ids, attention_mask)
        n = memory.shape[0]
        if max_new_tokens > c.block_size:
            raise ValueError(f"EncoderDecoder: max_new_tokens={max_new_tokens} does not fit the context of "
                             f"{c.block_size} tokens (block_size)")
        eos = c.eos_token_id if eos_token_id is FROM_CONFIG else eos_token_id
        rules = self._rules(max_new_tokens + 1, eos, chosen)
        if num_beams != 1:  # row b · num_beams + k is beam k of source b
            rows = to_device(np.repeat(np.arange(n), num_beams), self.device)
            memory, memory_mask = memory[rows], None if memory_mask is None else memory_mask[rows]

        def step(decoder_ids: np.ndarray, cache: Cache | None) -> Array:
            return self._step(decoder_ids, memory, memory_mask, cache)

        def make_cache(batch_size: int) -> Cache:
            return self.new_cache(batch_size, min(c.block_size, max_new_tokens + 1))

        options: dict[str, Any] = dict(make_cache=make_cache if use_cache else None, context_length=c.block_size,
                                       eos_token_id=eos, pad_token_id=c.pad_token_id, max_new_tokens=max_new_tokens,
                                       rules=rules)
        start = np.full((n, 1), c.decoder_start_token_id, dtype=np.int64)
        if num_beams != 1:
            return beam_search(step, start, num_beams=num_beams, length_penalty=length_penalty,
                               early_stopping=early_stopping, renormalize=c.renormalize_logits,
                               num_return_sequences=num_return_sequences, **options)
        return generate(step, start, sampling=chosen, seed=seed, stop=stop, decode=decode, **options)
