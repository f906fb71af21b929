"""Mixtures: training windows from several folders of tokens, each as often as its weight says.

    --data web books             in proportion to their sizes
    --data web:0.7 books:0.3     seven windows of ten from web, however large it is

As of every source here, a batch is a pure function of (seed, step). So a run that goes on after an interruption sees
the same windows, and memory holds no more than a batch.

The end of each folder validates: the part that the run asks for, but of all folders together no more than a million
tokens, shared by weight. The loss of these is then that of the mixture.

Prerequisites: shards.py, windows.py. Next: prepare.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import shown, user_path
from .shards import Row, TokenFolder
from .sources import TOKEN_INDEX
from .windows import WindowSampler, require_block, step_generator

__all__ = ["Mixture", "MixtureSampler", "MOST_VALIDATION", "find_mixture"]

MOST_VALIDATION = 1_000_000  # tokens


class Mixture:
    """Folders of tokens with weights, opened.

    Args:
        folders: the folders; weights: a number above 0 for each, or None: their sizes.

    Attributes:
        memory: what a run has to remember of it, as JSON can hold it.

    Raises:
        ValueError: tokens of different tokenizers.
    """

    def __init__(self, folders: Sequence[TokenFolder], weights: Sequence[float] | None = None) -> None:
        first = folders[0]
        for folder in folders[1:]:
            if folder.tokenizer != first.tokenizer:
                raise ValueError(f"{first.path} and {folder.path} hold tokens of different tokenizers; make both with "
                                 "the same one")
        self.folders = folders
        shares = [float(len(folder.ids)) for folder in folders] if weights is None else weights
        self.weights = [share / math.fsum(shares) for share in shares]
        self.memory: list[list[Any]] = [[str(folder.path.resolve()), folder.fingerprint, share]
                                        for folder, share in zip(folders, shares)]

    @classmethod
    def remembered(cls, memory: Any) -> Mixture:
        """The mixture of a run, opened again.

        Raises:
            ValueError: a folder holds other tokens than it did, or `memory` is no mixture's.
            FileNotFoundError: a folder is not there.
        """
        if not isinstance(memory, list) or not memory or not all(
                isinstance(one, list) and [type(value) for value in one] == [str, str, float] and 0 < one[2] < 1e18
                for one in memory):
            raise ValueError(f"the run remembers no mixture of tokens: {shown(memory)}")
        folders = [TokenFolder(path) for path, _, _ in memory]
        for folder, (path, fingerprint, _) in zip(folders, memory):
            if folder.fingerprint != fingerprint:
                raise ValueError(f"{path} holds other tokens than this run began with, which it needs on every rank "
                                 "and to go on; start another with a new --out")
        return cls(folders, [weight for _, _, weight in memory])

    def split(self, validation: float) -> tuple[list[Row], Row]:
        """(the training ids of each folder, the validation ids of all)."""
        held = [int(min(validation * len(folder.ids), weight * MOST_VALIDATION))
                for folder, weight in zip(self.folders, self.weights)]
        parts = [(folder.ids.part(0, len(folder.ids) - n), folder.ids.part(len(folder.ids) - n, len(folder.ids)))
                 for folder, n in zip(self.folders, held)]
        return [start for start, _ in parts], Row.joined([end for _, end in parts])


class MixtureSampler:
    """Windows of `block_size` tokens (T) at random places of several rows of ids, `batch_size` of them (B) a step.

    Args:
        rows: ids of each, more than T.
        weights: how often each is drawn from; they add up to 1.
        block_size, batch_size, seed: as of `WindowSampler`.
    """

    def __init__(self, rows: Sequence[Row], weights: Sequence[float], block_size: int, batch_size: int,
                 seed: int = 0) -> None:
        for row in rows:
            require_block(len(row), block_size, f"the training part of {row.where}", batch_size)
        self.rows, self.weights, self.block_size, self.batch_size, self.seed = \
            rows, weights, block_size, batch_size, seed

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """The batch of one step: {"ids": (B, T) int64, "targets": (B, T) int64}."""
        rng, T = step_generator(self.seed, step), self.block_size
        chosen = rng.choice(len(self.rows), size=self.batch_size, p=self.weights)
        starts = rng.integers(np.array([len(row) - T for row in self.rows])[chosen])
        windows = np.empty((self.batch_size, T + 1), np.int64)
        for number in np.unique(chosen):
            here = chosen == number
            windows[here] = self.rows[number][starts[here, None] + np.arange(T + 1)]
        return {"ids": windows[:, :-1], "targets": windows[:, 1:]}  # (B, T) each

    @classmethod
    def of(cls, rows: Sequence[Row], weights: Sequence[float], block_size: int, batch_size: int,
           seed: int) -> MixtureSampler | WindowSampler:
        """The sampler of some rows: of a single one, WindowSampler, which draws the same as from one array."""
        if len(rows) > 1:
            return cls(rows, weights, block_size, batch_size, seed)
        row: Any = rows[0]
        return WindowSampler(row, block_size, batch_size, seed)


def find_mixture(specs: Sequence[str]) -> Mixture | None:
    """The folders of tokens that `--data` names, each perhaps with a weight behind a colon; None if it names none.

    Raises:
        ValueError: tokens beside texts, a weight for something else or for some alone, or one that is not above 0.
    """
    found = [_weighed(spec) for spec in specs]
    tokens = [(path / TOKEN_INDEX).is_file() for path, _ in found]
    weights = [weight for _, weight in found]
    if not any(tokens) and all(weight is None for weight in weights):
        return None
    for (path, weight), spec, is_tokens in zip(found, specs, tokens):
        if not is_tokens:
            raise ValueError(f"{shown(spec)} is no folder of tokens, and "
                             + ("a weight is for these" if weight is not None else "others that are given are") +
                             "; make one with tinygpt data")
    if len(set(map(type, weights))) > 1:
        raise ValueError("some of the data have a weight and some have none; give all of them one, as in a:0.7 b:0.3")
    return Mixture([TokenFolder(path) for path, _ in found],
                   None if weights[0] is None else [weight or 0.0 for weight in weights])


def _weighed(spec: str) -> tuple[Path, float | None]:
    name, colon, words = spec.rpartition(":")
    if not colon or not name or user_path(spec).exists():
        return user_path(spec), None
    try:
        weight = float(words)
    except ValueError:
        return user_path(spec), None
    if not 0 < weight <= 1e9:
        raise ValueError(f"the weight of {shown(spec)} is {weight:g}; expected a number above 0")
    return user_path(name), weight
