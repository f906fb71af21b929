"""How well a model guesses hidden tokens: loss and accuracy, beside what one answer for all of them would get.

Prerequisites: data/masking.py, models/bert.py. Next: multiple_choice.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np

from .. import ops
from ..backend import to_device, to_numpy
from ..blas import chooses_threads
from ..data.masking import Masking
from ..models import BERT
from ..tokenizers import Tokenizer
from .running import side_by_side

__all__ = ["MaskedWords", "guess_masked", "masked_words", "masking_of"]


@dataclass(frozen=True)
class MaskedWords:
    """What guessing hidden tokens came to.

    Attributes:
        n_tokens: how many were hidden.
        loss: nats a hidden token.
        accuracy: the share whose likeliest guess was right.
        most_frequent: the accuracy of always answering the token that was hidden most often, the best that any single
            answer could do.
    """

    n_tokens: int
    loss: float
    accuracy: float
    most_frequent: float

    def to_dict(self) -> dict[str, int | float]:
        """The figures by name."""
        return asdict(self)


def masking_of(tokenizer: Tokenizer) -> Masking:
    """What to hide of texts that this tokenizer encodes.

    Raises:
        ValueError: it has no token to hide words behind, or none to fill up with.
    """
    if tokenizer.mask_token_id is None or tokenizer.pad_token_id is None:
        raise ValueError("hiding words needs a tokenizer with a mask and a pad token; its special tokens are "
                         f"{', '.join(tokenizer.special_tokens) or 'none'}")
    return Masking(len(tokenizer), tokenizer.mask_token_id, tokenizer.pad_token_id,
                   tuple(sorted(tokenizer.special_tokens.values())), tokenizer.prefix_ids, tokenizer.suffix_ids)


@chooses_threads
def guess_masked(model: BERT, ids: np.ndarray, places: np.ndarray,
                 attention_mask: np.ndarray | None = None) -> np.ndarray:
    """Logits (N, V) on the host for the tokens at `places`, N indices into the flattened ids (B, T)."""
    if model.lm_head is None:
        raise ValueError("guessing hidden words needs a model with a masked-word head; BERT.for_masked_lm gives it one")
    x = model.features(ids, attention_mask)
    x = x.reshape(-1, x.shape[-1])[to_device(places, model.device)]  # (N, C)
    return to_numpy(ops.linear(model.lm_head(x), model.output_weight, model.lm_head.bias).data)


def masked_words(model: BERT, batches: Iterable[dict[str, np.ndarray]],
                 keep_going: Callable[[], bool] = lambda: True, workers: int = 1) -> MaskedWords:
    """Guess the hidden tokens of batches, such as `all_masked_windows` gives.

    Args:
        model: switched to `eval` for the time being.
        batches: with "ids", "targets" and "attention_mask".
        keep_going: asked after each batch; False breaks off.
        workers: how many batches are read at the same time.
    """
    def guessed(batch: dict[str, np.ndarray]) -> tuple[float, int, np.ndarray]:
        flat = batch["targets"].reshape(-1)
        places = np.flatnonzero(flat != ops.IGNORE_INDEX)
        logits = guess_masked(model, batch["ids"], places, batch["attention_mask"])
        return (float(ops.cross_entropy(logits, flat[places], reduction="sum").data),
                int((logits.argmax(axis=1) == flat[places]).sum()), flat[places])

    counts = np.zeros(model.config.vocab_size, dtype=np.int64)
    nats, n_right = 0.0, 0
    for more, right, hidden in side_by_side(guessed, model, batches, workers):
        nats, n_right = nats + more, n_right + right
        counts += np.bincount(hidden, minlength=len(counts))
        if not keep_going():
            break
    n_tokens = int(counts.sum())
    if not n_tokens:
        raise ValueError("no token of this text was hidden: it has none but special ones")
    return MaskedWords(n_tokens, nats / n_tokens, n_right / n_tokens, int(counts.max()) / n_tokens)
