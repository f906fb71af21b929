"""How well a model translates: its translations of given sources, scored against given targets.

Read before: bleu.py, chrf.py, models/encoder_decoder.py. Read next: diversity.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..data import pad
from ..models import EncoderDecoder
from ..tokenizers import Tokenizer
from .bleu import Bleu, corpus_bleu
from .chrf import ChrF, corpus_chrf
from .labelling import encode_within

__all__ = ["Translation", "score_translations", "translate"]


@dataclass(frozen=True)
class Translation:
    """What translations are worth.

    Attributes:
        n_pairs: how many there are.
        n_exact: how many are equal to their reference, but for the space around them.
        bleu, chrf: see bleu.py and chrf.py.
    """

    n_pairs: int
    n_exact: int
    bleu: Bleu
    chrf: ChrF

    def to_dict(self) -> dict[str, Any]:
        """The figures by name."""
        return {"bleu": self.bleu.score, "chrf": self.chrf.score, "exact_match": self.n_exact / self.n_pairs,
                "bleu_precisions": list(self.bleu.precisions), "brevity_penalty": self.bleu.brevity_penalty,
                "n_pairs": self.n_pairs}


def translate(model: EncoderDecoder, tokenizer: Tokenizer, sources: Sequence[str], *, num_beams: int = 1,
              max_new_tokens: int | None = None, batch_size: int = 32) -> list[str]:
    """The model's translation of each source: its likeliest tokens one by one, or the best of `num_beams` beams.

    Args:
        model: switched to `eval` for the time being.
        sources: none empty; those longer than the context are cut, with a warning.
        max_new_tokens: at most so many; by default what the context holds.
        batch_size: sources read at once; those of similar length go together.

    Raises:
        ValueError: an empty source, or settings that nothing can be generated with.
    """
    c = model.config
    rows = encode_within(tokenizer, sources, c.block_size)
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    found = [""] * len(rows)
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            places = order[start:start + batch_size]
            ids = pad([rows[place] for place in places], c.pad_token_id or 0)  # (B, S)
            mask = pad([[1] * len(rows[place]) for place in places], 0)
            written = model.generate(ids, c.block_size - 1 if max_new_tokens is None else max_new_tokens,
                                     attention_mask=mask, num_beams=num_beams)  # (B, 1 + new)
            for place, row in zip(places, written):
                found[place] = tokenizer.decode(row, skip_special_tokens=True)
    finally:
        model.train(training)
    return found


def score_translations(translations: Sequence[str], references: Sequence[str]) -> Translation:
    """Score translations, one reference for each."""
    n_exact = sum(ours.strip() == theirs.strip() for ours, theirs in zip(translations, references))
    return Translation(len(translations), n_exact, corpus_bleu(translations, [references]),
                       corpus_chrf(translations, [references]))
