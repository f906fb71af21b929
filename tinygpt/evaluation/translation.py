"""How well a model translates: its translations of given sources, scored against given targets.

Prerequisites: bleu.py, chrf.py, data/texts.py, models/encoder_decoder.py. Next: diversity.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..data import encode_within, similar_lengths
from ..generation import absent
from ..models import EncoderDecoder
from ..tokenizers import Tokenizer
from .bleu import Bleu, corpus_bleu
from .chrf import ChrF, corpus_chrf
from .running import Track, evaluating, untracked

__all__ = ["Translation", "score_translations", "translate", "write_targets"]


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


def write_targets(model: EncoderDecoder, rows: Sequence[Sequence[int]], *, max_new_tokens: int | None = None,
                  batch_size: int = 32, track: Track = untracked, **how: Any) -> list[list[int]]:
    """The target that the model writes for each row of source ids: decoder ids, the start token included.

    Args:
        model: switched to `eval` for the time being.
        rows: none empty; those of similar length go together.
        max_new_tokens: at most so many; by default what the context holds.
        batch_size: sources read at once.
        track: watches the batches.
        how: further arguments of `EncoderDecoder.generate`: `num_beams`, say, or ids that are never written,
            `suppress_tokens`.

    Raises:
        ValueError: settings that nothing can be generated with.
    """
    c = model.config
    found: list[list[int]] = [[]] * len(rows)
    with evaluating(model):
        batches = similar_lengths(rows, batch_size, c.pad_token_id or 0)
        for places, ids, mask in track(batches, -(-len(rows) // batch_size)):
            written = model.generate(ids, c.block_size - 1 if max_new_tokens is None else max_new_tokens,
                                     attention_mask=mask, **how)  # (B, 1 + new)
            for place, row in zip(places, written):
                found[place] = row.tolist()
    return found


def translate(model: EncoderDecoder, tokenizer: Tokenizer, sources: Sequence[str], **options: Any) -> list[str]:
    """The model's translation of each source.

    Args:
        model: switched to `eval` for the time being.
        sources: those longer than the context are cut, with a warning.
        options: as for `write_targets`.
    """
    rows = encode_within(tokenizer, sources, model.config.block_size)
    written = write_targets(model, rows, suppress_tokens=absent(tokenizer.ids, model.config.vocab_size), **options)
    return [tokenizer.decode(row, skip_special_tokens=True) for row in written]


def score_translations(translations: Sequence[str], references: Sequence[str]) -> Translation:
    """Score translations, one reference for each."""
    n_exact = sum(ours.strip() == theirs.strip() for ours, theirs in zip(translations, references))
    return Translation(len(translations), n_exact, corpus_bleu(translations, [references]),
                       corpus_chrf(translations, [references]))
