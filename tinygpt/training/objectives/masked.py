"""Hidden tokens: BERT's objective, in RoBERTa's form: running text, masks drawn anew in every step, no sentence pairs.

Prerequisites: causal.py, data/masking.py, evaluation/masked_words.py. Next: seq2seq.py. Devlin et al., "BERT"
(2018); Liu et al., "RoBERTa" (2019).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ...autograd import no_grad
from ...data import Documents, require_block, split_documents, step_generator
from ...data.masking import MaskedSampler, Masking, all_masked_windows
from ...data.tokens import TextEncoder
from ...evaluation import evaluating
from ...evaluation.masked_words import guess_masked, masked_words, masking_of
from ...models import BERT, BERTConfig
from ...tokenizers.base import Tokenizer
from ..losses import masked_loss
from .base import KeepGoing, Objective

__all__ = ["FRAME", "Masked", "SPECIAL_TOKENS"]

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # RoBERTa's, numbered as there but for the last
FRAME = ("<s>",), ("</s>",)
VALIDATION_SEED = 0  # the same tokens are hidden in every validation of every run


class Masked(Objective):
    """Predict hidden tokens from both sides."""

    data_loss = staticmethod(masked_loss)
    special_tokens, frame = SPECIAL_TOKENS, FRAME
    masking: Masking

    def parts(self) -> tuple[Iterable[str], Iterable[str]]:
        """Documents; the validation part is their end."""
        return split_documents(Documents(self.options.data), self.options.validation)

    def use(self, tokenizer: Tokenizer) -> None:
        """Any tokenizer with a mask and a pad token; windows stand in its template."""
        super().use(tokenizer)
        self._require_roles(tokenizer, "mask", "pad")
        self.masking = masking_of(tokenizer)

    def new_model(self) -> BERT:
        """A BERT with the masked-word head."""
        return BERT.for_masked_lm(BERTConfig(**self._sizes()))

    def encoder(self) -> TextEncoder:
        """The bare text with the end-of-text token between documents: the template belongs around each window."""
        return TextEncoder(self.tokenizer, template=False)

    def start(self, train: np.ndarray, validation: np.ndarray) -> MaskedSampler:
        """Masked windows at random places."""
        o = self.options
        require_block(len(validation), 1, "the validation text")
        self.train, self.validation = train, validation
        return MaskedSampler(train, self.config.block_size, o.batch_size, self.masking, o.seed)

    def validate(self, model: Any, keep_going: KeepGoing) -> dict[str, float]:
        """Loss and accuracy over every window. Here each chosen token is hidden: none can be read off."""
        batches = all_masked_windows(self.validation, self.config.block_size, 32,
                                     replace(self.masking, masked=1.0, random=0.0), VALIDATION_SEED)
        found = masked_words(model, batches, keep_going, self.options.threads or 1)
        return {"validation_loss": found.loss, "masked_accuracy": found.accuracy,
                "most_frequent_token": found.most_frequent}

    @no_grad()
    def sample(self, model: Any, final: bool = False) -> str:
        """Pieces of the validation text, a few of their tokens hidden, and the same with the model's guesses."""
        n = 10 if final else 3
        length = min(40, self.config.block_size - self.masking.n_frame, len(self.validation))
        starts = np.linspace(0, len(self.validation) - length, n, dtype=int)
        windows = self.masking.frame(np.stack([self.validation[start:start + length] for start in starts]))
        hiding = replace(self.masking, masked=1.0, random=0.0)
        shown, targets = map(np.concatenate, zip(*(
            hiding.hide(window[None], step_generator(VALIDATION_SEED, i)) for i, window in enumerate(windows))))
        hidden = targets >= 0
        filled = shown.copy()
        with evaluating(model):
            filled[hidden] = guess_masked(model, shown, np.flatnonzero(hidden)).argmax(axis=1)
        right = (filled == windows) & hidden
        return "\n".join(
            f"{self._text(before)}\n-> {self._text(after)}  ({right[i].sum()} of {hidden[i].sum()} right)"
            for i, (before, after) in enumerate(zip(shown, filled)))

    def _text(self, ids: np.ndarray) -> str:
        inside = ids[len(self.masking.prefix_ids):len(ids) - len(self.masking.suffix_ids)]
        return " ".join(self.tokenizer.decode(inside).split())
