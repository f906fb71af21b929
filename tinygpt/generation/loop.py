"""Writing: ask the model for logits, choose the next token, append it, and again.

Prerequisites: sampling.py, models/gpt.py. The book ends here. Upstairs: decode.py, the same tokens with a cache,
padding, ends and streaming.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import to_numpy
from ..autograd.recording import no_grad
from .sampling import greedy

__all__ = ["generate"]


@no_grad()
def generate(model: Any, ids: Any, n: int, choose: Callable[[np.ndarray], np.ndarray] = greedy) -> np.ndarray:
    """Continue prompts (B, T), T >= 1, by `n` tokens each: (B, T + n).

    Args:
        model: ids (B, T) -> logits (B, T, V), a Tensor; it sees the last `config.block_size` tokens. Call `eval` first.
        choose: logits (B, V) -> the next tokens (B,); to draw them, `sampler(temperature=0.8, seed=1)` say.
    """
    ids = np.asarray(ids)
    for _ in range(n):
        logits = model(ids[:, -model.config.block_size:]).data  # (B, T, V)
        following = choose(to_numpy(logits[:, -1]))             # (B,)
        ids = np.concatenate([ids, following[:, None]], axis=1)
    return ids
