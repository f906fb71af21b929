"""What the models that write texts share: the decoding loop and its settings, for a prompt, a stream, or beams.

A subclass gives features and their logits (`features`, `output_weight`), and what it remembers of a text while that
grows (`new_cache`).

Prerequisites: base.py, generation/. Next: decoder.py.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from .. import ops
from ..autograd import Tensor, no_grad
from ..backend import Array
from ..blas import chooses_threads
from ..generation import (Rules, Sampling, as_list, beam_search, check_beams, check_suppressed, generate, stream,
                          stream_text)
from .base import FROM_CONFIG, PretrainedModel

__all__ = ["CausalLM"]


class CausalLM(PretrainedModel):
    """A model that predicts the token after each, and so can write."""

    @abstractmethod
    def features(self, ids: Any, attention_mask: Any = None, cache: Any = None) -> Tensor:
        """ids (B, T) -> (B, T, C), whose products with `output_weight` are logits."""

    @property
    @abstractmethod
    def output_weight(self) -> Tensor:
        """(V, C): the matrix from features to logits."""

    @abstractmethod
    def new_cache(self, batch_size: int, capacity: int | None = None) -> Any:
        """What the model remembers of `batch_size` texts of up to `capacity` tokens; empty."""

    @no_grad()
    @chooses_threads
    def step(self, ids: Any, cache: Any = None, attention_mask: Any = None) -> Array:
        """Logits (B, V) for the token after the last of ids (B, T): one step of the decoding loop."""
        x = self.features(ids, attention_mask, cache)
        return ops.linear(x[:, -1], self.output_weight).data

    def _decoding(self, ids: Any, max_new_tokens: int, eos_token_id: Any, pad_token_id: int | None, use_cache: bool,
                  chosen: Sampling) -> dict[str, Any]:
        """What the decoding loop needs to know of this model, and the rules that its texts follow."""
        c = self.config
        if c.head != "lm":
            what = "classifier" if c.head else "model without a head"
            raise ValueError(f"{type(self).__name__}: a {what} does not generate text; load a model with head='lm'")
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
                        attention_mask=attention_mask, long_prompt=long_prompt, copies=num_return_sequences,
                        **settings)

    def stream(self, ids: Any, max_new_tokens: int = 20, *, seed: int | None = None, stop: Any = None,
               decode: Callable[[Sequence[int]], str] | None = None,
               eos_token_id: int | Sequence[int] | None = FROM_CONFIG, pad_token_id: int | None = None,
               attention_mask: Any = None, use_cache: bool = True, long_prompt: Literal["error", "crop"] = "error",
               cache: Any = None, **sampling: Any) -> Iterator[np.ndarray]:
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
            c = self.config
            cache.grow(length if c.endless else min(c.block_size, length))
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
