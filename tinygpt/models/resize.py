"""A larger vocabulary for a trained model: new rows in its embedding, for new special tokens.

A row of the embedding is where a token starts, and with tied weights also how its logit is read off. A random new row
makes a random logit, which may well be the largest and spoil every text of a trained model. The mean of the rows that
are there is a token of average likelihood, which hardly changes anything before it is trained; each new row is that,
and a little noise of its own, so that new tokens can become different ones.

Prerequisites: gpt.py. Next: auto.py. Hewitt, "Initializing new word embeddings for pretrained language models"
(2021).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..backend import to_numpy
from .decoder import GPT

__all__ = ["resize_vocabulary"]

NOISE = 0.1  # of a new row, as a part of the deviation of the old ones


def resize_vocabulary(model: GPT, vocab_size: int, **fields: Any) -> GPT:
    """A model with a vocabulary of `vocab_size` tokens, whose first ids mean what they did.

    Args:
        model: stays as it is; the new one has copies of its weights, on the same device.
        vocab_size: at least the model's own.
        fields: further fields of the configuration to change, such as `eos_token_id`.

    Raises:
        ValueError: a smaller vocabulary: tokens would be lost.
    """
    old = model.config.vocab_size
    if vocab_size < old:
        raise ValueError(f"resize_vocabulary: the model has {old} tokens; {vocab_size} would lose some")
    larger = GPT(replace(model.config, vocab_size=vocab_size, **fields))
    fresh = {name: to_numpy(value) for name, value in larger.state_dict().items()}
    state = {name: to_numpy(value) for name, value in model.state_dict().items()}
    for name in ("token_embedding.weight", "lm_head.weight"):
        if name in state:
            rows = state[name]  # (V, C)
            noise = fresh[name][old:] * (NOISE * rows.std() / max(float(fresh[name].std()), 1e-12))
            state[name] = np.concatenate([rows, (rows.mean(axis=0) + noise).astype(rows.dtype)])
    larger.load_state_dict(state)
    return larger.to(model.device, dtype=model.dtype).train(model.training)
