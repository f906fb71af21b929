"""Batches of token windows: random ones to train on, every one to validate on.

A batch is a pure function of (seed, step). Nothing is drawn from a running generator, so a resumed run needs no state
but the step to see exactly the batches that an uninterrupted one sees.

Shapes: B batch, T time. Targets are the ids one position later; -100 marks a target that does not count.

Prerequisites: tokens.py. Next: padding.py (examples of unequal length).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .split import require_block

__all__ = ["EpochSampler", "IGNORE", "WindowSampler", "all_windows", "step_generator"]

IGNORE = -100  # a target that the loss leaves out


def step_generator(seed: int, step: int) -> np.random.Generator:
    """The random generator of one step: counter-based (Philox), keyed by a hash of (seed, step).

    >>> bool(step_generator(1, 5).integers(100) == step_generator(1, 5).integers(100))
    True
    """
    if seed < 0 or step < 0:
        raise ValueError(f"seed and step must not be negative, got seed {seed}, step {step}")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, step])))


class WindowSampler:
    """Windows of `block_size` tokens at uniformly random places.

    Args:
        tokens: (N,) ids of any integer type, a memory map too.
        block_size: T.
        batch_size: B.
        seed: not negative.

    Raises:
        ValueError: fewer than block_size + 1 tokens, or a size below 1.
    """

    def __init__(self, tokens: np.ndarray, block_size: int, batch_size: int, seed: int = 0) -> None:
        _check_sizes(block_size, batch_size)
        require_block(len(tokens), block_size, "the training text")
        self.tokens, self.block_size, self.batch_size, self.seed = tokens, block_size, batch_size, seed

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """The batch of one step: {"ids": (B, T) int64, "targets": (B, T) int64}."""
        starts = step_generator(self.seed, step).integers(len(self.tokens) - self.block_size, size=self.batch_size)
        places = starts[:, None] + np.arange(self.block_size + 1)  # (B, T + 1)
        windows = self.tokens[places].astype(np.int64)  # (B, T + 1)
        return {"ids": windows[:, :-1], "targets": windows[:, 1:]}  # (B, T) each


def all_windows(tokens: np.ndarray, block_size: int, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Every window once, side by side: each token but the first is the target of exactly one position.

    A loss summed over these batches and divided by N - 1 is the exact loss of the text, without sampling noise.

    Args:
        tokens: (N,) ids, N >= 2.
        block_size: T. The last window is filled up with id 0 and targets -100.
        batch_size: B; the last batch may have fewer rows.

    Yields:
        {"ids": (B, T) int64, "targets": (B, T) int64}.
    """
    _check_sizes(block_size, batch_size)
    require_block(len(tokens), 1, "the validation text")
    span = batch_size * block_size  # targets in a full batch
    for start in range(0, len(tokens) - 1, span):
        piece = np.asarray(tokens[start:start + span + 1], dtype=np.int64)
        n_rows = -(-(len(piece) - 1) // block_size)
        ids = np.zeros(n_rows * block_size, np.int64)
        targets = np.full(n_rows * block_size, IGNORE, np.int64)
        ids[:len(piece) - 1] = piece[:-1]
        targets[:len(piece) - 1] = piece[1:]
        yield {"ids": ids.reshape(n_rows, block_size), "targets": targets.reshape(n_rows, block_size)}  # (B, T) each


class EpochSampler:
    """Which examples belong to a step when each epoch visits every example once, in an order of its own.

    Args:
        n_examples: how many there are; example numbers are 0 … n_examples - 1.
        batch_size: examples a step; the last step of an epoch takes what is left.
        seed: not negative.
    """

    def __init__(self, n_examples: int, batch_size: int, seed: int = 0) -> None:
        if n_examples < 1 or batch_size < 1:
            raise ValueError(f"need at least one example and a batch_size of at least 1, got {n_examples} examples, "
                             f"batch_size {batch_size}")
        self.n_examples, self.batch_size, self.seed = n_examples, batch_size, seed
        self._last = (-1, np.empty(0, np.int64))  # (epoch, its order): every step of an epoch shares it

    @property
    def steps_per_epoch(self) -> int:
        """Steps that visit every example once."""
        return -(-self.n_examples // self.batch_size)

    def indices(self, step: int) -> np.ndarray:
        """The numbers of the examples of one step: (B,), a pure function of (seed, step)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        last_epoch, order = self._last
        if epoch != last_epoch:
            order = step_generator(self.seed, epoch).permutation(self.n_examples)
            self._last = epoch, order
        return order[place * self.batch_size:(place + 1) * self.batch_size]


def _check_sizes(block_size: int, batch_size: int) -> None:
    if block_size < 1 or batch_size < 1:
        raise ValueError(f"block_size and batch_size must be at least 1, got {block_size} and {batch_size}")
