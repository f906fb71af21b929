"""A target for each source: the objective that the transformer was made for, translation above all.

Prerequisites: causal.py, data/pairs.py, models/encoder_decoder.py. Next: task.py. Vaswani et al., "Attention
is all you need" (2017).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ...data.pairs import (IdPair, PairSampler, all_pairs, fitting_pairs, pair_batch, pairs_from_ids, read_pairs,
                           split_pairs)
from ...data.tokens import TextEncoder
from ...evaluation import evaluating, total_loss
from ...generation import absent
from ...models import EncoderDecoder, EncoderDecoderConfig
from ...tokenizers.base import Tokenizer
from ..losses import seq2seq_loss
from .base import KeepGoing, Objective

__all__ = ["Seq2Seq"]


class Seq2Seq(Objective):
    """Predict each token of a target from its source and the tokens before it."""

    data_loss = staticmethod(seq2seq_loss)
    special_tokens, frame = ("</s>", "<pad>"), ((), ("</s>",))  # one vocabulary for both sides
    counted = "pairs"
    eos_id: int
    pad_id: int

    def parts(self) -> tuple[Iterable[str], Iterable[str]]:
        """Source, target, source, target, …; no source is in both parts."""
        o = self.options
        if not o.data:
            raise ValueError(f"{self._name} needs pairs: give --data a table with the source in its first "
                             "column and the target in its second, or the corpus spa-eng")
        train, held_out = split_pairs(read_pairs(o.data), o.validation, o.seed)
        return list(chain.from_iterable(train)), list(chain.from_iterable(held_out))

    def use(self, tokenizer: Tokenizer) -> None:
        """Any tokenizer with an end-of-text and a pad token, whose template closes a text with the former."""
        super().use(tokenizer)
        self._require_roles(tokenizer, "eos", "pad")
        assert tokenizer.eos_token_id is not None and tokenizer.pad_token_id is not None
        self.eos_id, self.pad_id = tokenizer.eos_token_id, tokenizer.pad_token_id
        if tokenizer.suffix_ids[-1:] != (self.eos_id,):
            raise ValueError(f"{self._name} needs a tokenizer that closes every text with its end-of-text token; "
                             f"{self._tokenizer_name} does not (Tokenizer.set_template makes it)")

    def new_model(self) -> EncoderDecoder:
        """An encoder-decoder that never writes padding."""
        return EncoderDecoder(EncoderDecoderConfig(**self._sizes(), suppress_token_ids=(self.pad_id,)))

    def encoder(self) -> TextEncoder:
        """Every text closed by its own end-of-text token, so none stands between them."""
        return TextEncoder(self.tokenizer, separate=False)

    def start(self, train: np.ndarray, validation: np.ndarray) -> PairSampler:
        """Pairs of similar length, each once an epoch."""
        o = self.options
        self.train, self.validation = (
            fitting_pairs(pairs_from_ids(ids, self.eos_id), self.config.block_size, what)
            for ids, what in ((train, "the training pairs"), (validation, "the validation pairs")))
        return PairSampler(self.train, min(o.batch_size, len(self.train)), o.seed, self.pad_id)

    def validate(self, model: Any, keep_going: KeepGoing) -> dict[str, float]:
        """The loss over all held-out pairs, in nats per token."""
        nats, n_tokens = total_loss(model, all_pairs(self.validation, 64, self.pad_id), loss=self.data_loss,
                                    keep_going=keep_going, workers=self.options.threads or 1)
        return {"validation_loss": nats / n_tokens}

    def sample(self, model: Any, final: bool = False) -> str:
        """Held-out sources, their greedy translations, and what the data say."""
        places = np.linspace(0, len(self.validation) - 1, 10 if final else 3, dtype=int)
        pairs: Sequence[IdPair] = [self.validation[place] for place in dict.fromkeys(places.tolist())]
        batch = pair_batch(pairs, self.pad_id)
        with evaluating(model):
            found = model.generate(batch["ids"], self.config.block_size - 1, attention_mask=batch["attention_mask"],
                                   suppress_tokens=absent(self.tokenizer.ids, model.config.vocab_size))
        return "\n".join(f"{self._text(source)}\n-> {self._text(guess)}\n =  {self._text(target)}"
                         for (source, target), guess in zip(pairs, found))

    def _text(self, ids: np.ndarray) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)
