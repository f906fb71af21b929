"""What comes into a model: token ids and masks, checked on the host and sent to the model's device.

A wrong id is found here, before it reaches a GPU, where an index out of range goes unnoticed.

Prerequisites: config.py. Next: base.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend import Array, to_device
from ..ops.indexing import check_ids
from ..ops.loss import IGNORE_INDEX

__all__ = ["attention_mask_on", "positions_of", "targets_on", "token_ids"]


def token_ids(name: str, ids: Any, vocab_size: int, device: str) -> Array:
    """Ids (B, T) on the device; what is on a device already is not looked at.

    Raises:
        TypeError: not integers.
        ValueError: not two axes, or lists of unequal lengths.
        IndexError: an id outside the vocabulary.
    """
    ids = ids.data if isinstance(ids, Tensor) else ids
    if not hasattr(ids, "dtype"):
        try:
            ids = np.asarray(ids, dtype=None if ids else np.int64)
        except ValueError:
            raise ValueError(f"{name}: expected rows of one length; pad them (generation.left_pad does)") from None
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integer ids, got {ids.dtype}")
    if ids.ndim != 2:
        raise ValueError(f"{name}: expected ids of shape (batch, time), got {ids.shape}"
                         + ("; write ids[None, :] for one sequence" if ids.ndim == 1 else ""))
    if isinstance(ids, np.ndarray):
        if ids.size and not (0 <= ids.min() and ids.max() < vocab_size):
            raise IndexError(f"{name}: id {ids[(ids < 0) | (ids >= vocab_size)][0]} is outside the vocabulary, "
                             f"0 … {vocab_size - 1}")
        ids = to_device(ids.astype(np.int64, copy=False), device)
    return ids


def targets_on(targets: Any, weights: Any, n: int, device: str) -> tuple[Array, Array | None]:
    """Targets, and their weights if there are any, on the device.

    Raises:
        IndexError: a target that is neither one of n classes nor `IGNORE_INDEX`. The loss finds it on the host; on a
            GPU it could not, so it is looked for before the targets go there.
    """
    targets = np.asarray(targets)
    if device != "cpu":
        check_ids(np, "cross_entropy", targets[targets != IGNORE_INDEX], n)
    return to_device(targets, device), None if weights is None else to_device(np.asarray(weights), device)


def attention_mask_on(name: str, mask: Any, shape: tuple[int, int]) -> np.ndarray | None:
    """An attention mask (B, S), 1 at tokens and 0 at padding, as booleans on the host; None if nothing is padding.

    Raises:
        ValueError: another shape.
    """
    if mask is None:
        return None
    mask = np.asarray(mask.data if isinstance(mask, Tensor) else mask) != 0
    if mask.shape != shape:
        raise ValueError(f"{name}: attention_mask must have the shape {shape} of all tokens seen so far, "
                         f"got {mask.shape}")
    return None if mask.all() else mask


def positions_of(mask: np.ndarray | None, start: int, end: int) -> np.ndarray:
    """Positions of the tokens start … end − 1: (T,), or (B, T), counted from the first token of each row that is no
    padding."""
    if mask is None:
        return np.arange(start, end)
    return np.maximum(np.cumsum(mask, axis=1) - 1, 0)[:, start:end]
