"""Batches to train on: windows of a text at random places.

The model is to predict the token that follows each position, so the targets are the ids one position later. A batch is
a pure function of (seed, step), with no running generator: to go on after an interruption, the step is all one needs.

Prerequisites: tokenizers/characters.py. Next: optim/adamw.py. Upstairs: sampler.py, windows and examples once each.
"""

import numpy as np

__all__ = ["WindowSampler", "require_block", "step_generator"]


def step_generator(seed: int, step: int) -> np.random.Generator:
    """The random generator of one step: counter-based (Philox), keyed by a hash of (seed, step).

    >>> step_generator(1, 5).integers(100) == step_generator(1, 5).integers(100)
    np.True_
    """
    if seed < 0 or step < 0:
        raise ValueError(f"seed and step must not be negative, got seed {seed}, step {step}")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, step])))


def require_block(n_tokens: int, block_size: int, what: str = "the text", batch_size: int = 1) -> None:
    """Raise ValueError unless `n_tokens` hold one window: block_size inputs, and the target of the last of them."""
    if block_size < 1 or batch_size < 1:
        raise ValueError(f"block_size and batch_size must be at least 1, got {block_size} and {batch_size}")
    if n_tokens < block_size + 1:
        raise ValueError(f"{what} has {n_tokens} tokens, but block_size {block_size} needs at least {block_size + 1}; "
                         "give more text or a smaller block_size")


class WindowSampler:
    """Windows of `block_size` tokens (T) at uniformly random places in `tokens`, `batch_size` of them (B) a step.

    `tokens` are ids of any integer type, more than T of them; a memory map will do. `seed` is not negative.
    """

    def __init__(self, tokens: np.ndarray, block_size: int, batch_size: int, seed: int = 0) -> None:
        require_block(len(tokens), block_size, "the training text", batch_size)
        self.tokens, self.block_size, self.batch_size, self.seed = tokens, block_size, batch_size, seed

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """The batch of one step: {"ids": (B, T) int64, "targets": (B, T) int64}."""
        starts = step_generator(self.seed, step).integers(len(self.tokens) - self.block_size, size=self.batch_size)
        places = starts[:, None] + np.arange(self.block_size + 1)  # (B, T + 1)
        windows = self.tokens[places].astype(np.int64)             # (B, T + 1)
        return {"ids": windows[:, :-1], "targets": windows[:, 1:]}  # (B, T) each
