"""The next token: GPT's objective, on running text.

Prerequisites: base.py, data/sampler.py. Next: masked.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...data import Documents, WindowSampler, require_block, split_documents
from ...evaluation import byte_lengths, evaluating, text_loss
from ...generation import absent
from ...models import GPT, CausalLM, GPTConfig, RecurrentConfig, RecurrentLM
from ...tokenizers.base import Tokenizer
from ..losses import language_loss
from .base import KeepGoing, Objective

__all__ = ["Causal", "END_OF_TEXT"]

END_OF_TEXT = "<|endoftext|>"


class Causal(Objective):
    """Predict each token from those before it."""

    data_loss = staticmethod(language_loss)
    special_tokens = (END_OF_TEXT,)  # GPT-2's only one, which stands between documents

    def parts(self) -> tuple[Iterable[str], Iterable[str]]:
        """Documents; the validation part is their end."""
        return split_documents(Documents(self.options.data), self.options.validation)

    def use(self, tokenizer: Tokenizer) -> None:
        """Any tokenizer will do."""
        super().use(tokenizer)
        self.lengths = byte_lengths(tokenizer)

    def new_model(self) -> CausalLM:
        """A GPT, or a recurrent network."""
        if self.options.architecture in RecurrentConfig.ARCHITECTURES:
            return RecurrentLM(RecurrentConfig(**self._sizes()))
        given = [name for name in ("positions", "window", "feed_forward")  # where none is named, the layout's
                 if getattr(self.options, name) is not None]
        return GPT(GPTConfig(**self._sizes("n_kv_head", "bias", *given)))

    def start(self, train: np.ndarray, validation: np.ndarray) -> WindowSampler:
        """Windows at random places."""
        o, block_size = self.options, self.config.block_size
        require_block(len(train), block_size, "the training text")
        require_block(len(validation), 1, "the validation text")
        self.train, self.validation = train, validation
        return WindowSampler(train, block_size, min(o.batch_size, len(train) - block_size), o.seed)

    def validate(self, model: Any, keep_going: KeepGoing) -> dict[str, float]:
        """The loss of the whole validation text, per token and per byte."""
        found = text_loss(model, self.validation, self.config.block_size, loss=self.data_loss, lengths=self.lengths,
                          keep_going=keep_going, workers=self.options.threads or 1)
        return {"validation_loss": found.loss, "bits_per_byte": found.bits_per_byte}

    def sample(self, model: Any, final: bool = False) -> str:
        """A text that the model makes up from nothing: from the end of another text, or from a line's end."""
        start = self.tokenizer.eos_token_id
        prompt = [start] if start is not None else self._newline() or [0]
        n = min(200 if final else 60, 4 * self.config.block_size)  # past that it has long forgotten how it began
        with evaluating(model):
            ids = model.generate([prompt], n, temperature=0.8, top_k=200, seed=self.options.seed,
                                 eos_token_id=None, suppress_tokens=absent(self.tokenizer.ids, model.config.vocab_size))
        return self.tokenizer.decode(ids[0, len(prompt):].tolist(), skip_special_tokens=True)

    def _newline(self) -> list[int]:
        try:
            return self.tokenizer.encode_prompt("\n")
        except ValueError:  # not among the characters
            return []
