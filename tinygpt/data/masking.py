"""Hidden words: batches in which 15% of the tokens are to be guessed from both sides.

Of the tokens chosen, 80% become `<mask>`, 10% a random token and 10% stay: a model that saw `<mask>` alone would learn
nothing about texts without one, and one that could trust every visible token would not look at them. Which tokens are
chosen is drawn anew for every step (RoBERTa's dynamic masking), for the whole batch at once, and is a pure function of
(seed, step).

A window stands between what the tokenizer puts around every text, so training sees what `tokenizer.encode` gives later:

    <s> The <mask> list is evaluated … </s>        targets: only `expression` at its place, -100 everywhere else

Shapes: B batch, T time.

Prerequisites: sampler.py, padding.py. Next: pairs.py. Devlin et al., "BERT" (2018); Liu et al., "RoBERTa" (2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .sampler import IGNORE, step_generator

__all__ = ["MaskedSampler", "Masking", "all_masked_windows"]


@dataclass(frozen=True)
class Masking:
    """What a tokenizer says about masking, and how much is masked.

    Attributes:
        n_vocab: ids are below it.
        mask_id: the id of `<mask>`. pad_id: what fills up the last window.
        special_ids: never chosen, and never put at random in another's place.
        prefix_ids, suffix_ids: what stands around every text.
        share: of the tokens that are not special, how many are chosen.
        masked, random: of those chosen, how many become `<mask>` and how many a random token; the rest stays.
    """

    n_vocab: int
    mask_id: int
    pad_id: int
    special_ids: tuple[int, ...]
    prefix_ids: tuple[int, ...] = ()
    suffix_ids: tuple[int, ...] = ()
    share: float = 0.15
    masked: float = 0.8
    random: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or min(self.masked, self.random) < 0 or self.masked + self.random > 1:
            raise ValueError(f"masking chooses a share in (0, 1], and masks and replaces parts of it that sum to at "
                             f"most 1, got share {self.share}, masked {self.masked}, random {self.random}")

    @property
    def n_frame(self) -> int:
        """How many tokens stand around the text of a window."""
        return len(self.prefix_ids) + len(self.suffix_ids)

    def ordinary_ids(self) -> np.ndarray:
        """The ids that are not special."""
        return np.setdiff1d(np.arange(self.n_vocab), self.special_ids)

    def frame(self, windows: np.ndarray) -> np.ndarray:
        """Windows of text (B, T - n_frame) with what stands around them: (B, T) int64."""
        parts = [np.tile(np.array(ids, np.int64), (len(windows), 1)) for ids in (self.prefix_ids, self.suffix_ids)]
        return np.concatenate([parts[0], windows.astype(np.int64), parts[1]], axis=1)

    def hide(self, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Ids (B, T) -> the ids to show and the targets, (B, T) each; -100 where nothing is to be guessed.

        Of n ordinary tokens in the batch exactly round(share · n) are chosen, one at least if there is one.
        """
        flat = ids.reshape(-1)
        places = np.flatnonzero(~np.isin(flat, self.special_ids))
        n_chosen = max(1, round(self.share * len(places))) if len(places) else 0
        chosen = rng.permutation(places)[:n_chosen]  # in random order, so its first 80% are a random 80%
        n_masked, n_random = round(self.masked * n_chosen), round(self.random * n_chosen)
        shown, targets = flat.copy(), np.full_like(flat, IGNORE)
        targets[chosen] = flat[chosen]
        shown[chosen[:n_masked]] = self.mask_id
        shown[chosen[n_masked:n_masked + n_random]] = rng.choice(self.ordinary_ids(), n_random)
        return shown.reshape(ids.shape), targets.reshape(ids.shape)


class MaskedSampler:
    """Masked windows at uniformly random places of a text; `batch(step)` is a pure function of (seed, step).

    Args:
        tokens: (N,) ids of the text, without what stands around a window; a memory map too.
        block_size: T, what stands around the text included.
        batch_size: B.
        masking: what to hide.
        seed: not negative.

    Raises:
        ValueError: the text is shorter than a window, or a window has no room for text.
    """

    def __init__(self, tokens: np.ndarray, block_size: int, batch_size: int, masking: Masking, seed: int = 0) -> None:
        self.length = _text_length(block_size, masking)
        if len(tokens) < self.length:
            raise ValueError(f"the training text has {len(tokens)} tokens, but block_size {block_size} needs at least "
                             f"{self.length}; give more text or a smaller block_size")
        self.tokens, self.batch_size, self.masking, self.seed = tokens, batch_size, masking, seed

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """The batch of one step: {"ids": (B, T) int64, "targets": (B, T) int64}."""
        rng = step_generator(self.seed, step)
        starts = rng.integers(len(self.tokens) - self.length + 1, size=self.batch_size)
        windows = self.tokens[starts[:, None] + np.arange(self.length)]  # (B, T - n_frame)
        ids, targets = self.masking.hide(self.masking.frame(windows), rng)  # (B, T) each
        return {"ids": ids, "targets": targets}


def all_masked_windows(tokens: np.ndarray, block_size: int, batch_size: int, masking: Masking,
                       seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Every window once, side by side, masked the same way whenever it is asked for: for validation.

    Args:
        tokens: (N,) ids, N >= 1. The last window is filled up with `pad_id` after its end.
        block_size, batch_size, masking, seed: as for `MaskedSampler`; the last batch may have fewer rows.

    Yields:
        {"ids", "targets", "attention_mask"}, each (B, T) int64.
    """
    length = _text_length(block_size, masking)
    for number, start in enumerate(range(0, len(tokens), batch_size * length)):
        piece = np.asarray(tokens[start:start + batch_size * length])
        full = masking.frame(piece[:len(piece) // length * length].reshape(-1, length))  # (B, T)
        if rest := len(piece) % length:
            row = masking.frame(piece[None, -rest:])
            filled = np.full((1, block_size), masking.pad_id)
            filled[:, :row.shape[1]] = row
            full = np.concatenate([full, filled])
        attention_mask = np.ones_like(full)
        if rest:
            attention_mask[-1, rest + masking.n_frame:] = 0
        ids, targets = masking.hide(full, step_generator(seed, number))
        yield {"ids": ids, "targets": targets, "attention_mask": attention_mask}


def _text_length(block_size: int, masking: Masking) -> int:
    if block_size <= masking.n_frame:
        raise ValueError(f"block_size {block_size} leaves no room for text beside the {masking.n_frame} tokens that "
                         "stand around it; give a larger one")
    return block_size - masking.n_frame
