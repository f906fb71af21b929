"""Sliding windows: a query looks at the last few tokens only, and a cache keeps no more than those.

Each layer sees `window` tokens, its own included; what it gathered the layer above gathers again, so after L layers
news has come from up to L · window tokens back. Attention then costs the same at every token of a text, and so does its
cache, however long the text.

Shapes: B batch, Hkv heads of keys and values, T queries, S keys, D head size.

Prerequisites: masks.py, cache.py. Next: cross_attention.py. Beltagy, Peters and Cohan, "Longformer" (2020); Jiang et
al., "Mistral 7B" (2023), whose window this is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import Array, array_module, device_of, on_device
from .cache import LayerCache
from .masks import Causal

__all__ = ["Window", "WindowCache"]


class Window(Causal):
    """A query looks at its own token and the window − 1 before it.

    Args:
        window: how many tokens a query looks at, at most.
    """

    def __init__(self, window: int) -> None:
        self.window = window

    def allowed(self, n_queries: int, n_keys: int) -> Array | None:
        """(T, S) booleans, true where i − window < j ≤ i, for query i and key j; None where no window ends inside S."""
        if n_keys <= self.window:
            return None
        i, j = np.arange(n_keys - n_queries, n_keys)[:, None], np.arange(n_keys)
        return (i - self.window < j) & (j <= i)

    def layer_cache(self, xp: Any, shape: tuple[int, int, int, int], dtype: Any) -> LayerCache:
        """The cache of a layer with this mask."""
        return WindowCache(xp, shape, dtype, self.window)


class WindowCache(LayerCache):
    """One layer's keys and values of the tokens that a window still shows. Takes the place of `LayerCache`.

    The arrays have room for two windows. Tokens are stored one after the other; when the room is full, those that are
    still looked at move to its front. So what attention sees is always one piece, in the order of the text, and each
    token moves once at most.

    Args:
        shape: (B, Hkv, capacity, D); where two windows are less than the capacity, in tokens, room is for those only.
        window: as for `Window`.
    """

    def __init__(self, xp: Any, shape: tuple[int, int, int, int], dtype: Any, window: int) -> None:
        n_rows, n_heads, capacity, size = shape
        super().__init__(xp, (n_rows, n_heads, min(capacity, 2 * window), size), dtype)
        self.window = window
        self.end = 0  # where the last token lies; `length` counts all that ever came

    @property
    def kept(self) -> int:
        """How many tokens the next one looks at beside itself."""
        return min(self.length, self.window - 1)

    def append(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Store new keys and values (B, Hkv, T, D); return them behind those that the first of them looks at,
        (B, Hkv, kept + T, D).

        Raises:
            ValueError: more rows than there is room for, or more tokens where there is room for less than a window.
        """
        n, kept, room = keys.shape[2], self.kept, self.keys.shape[2]
        self.check_room(keys, math.inf if room >= self.window else room)
        with on_device(device_of(self.keys)):
            if self.end + n > room:
                for table in (self.keys, self.values):
                    table[:, :, :kept] = table[:, :, self.end - kept:self.end].copy()  # the two may overlap
                self.end = kept
            self.length += n
            if kept + n <= room:
                self.end += n
                for table, new in ((self.keys, keys), (self.values, values)):
                    table[:, :, self.end - n:self.end] = new
                seen = slice(self.end - n - kept, self.end)
                return self.keys[:, :, seen], self.values[:, :, seen]
            # A prompt longer than the room is looked at where it is, and its end is stored.
            xp, self.end = array_module(keys), self.kept
            keys, values = (xp.concatenate([table[:, :, :kept], new], axis=2)
                            for table, new in ((self.keys, keys), (self.values, values)))
            self.keys[:, :, :self.end] = keys[:, :, kept + n - self.end:]
            self.values[:, :, :self.end] = values[:, :, kept + n - self.end:]
            return keys, values

    def can_cut(self, length: int) -> bool:
        """Whether what the token after the first `length` looks at is still there."""
        return length <= self.length and min(length, self.window - 1) <= self.end - (self.length - length)

    def cut(self, length: int) -> None:
        """As for every cache."""
        self.end -= self.length - length
        self.length = length

    def grow(self, capacity: int) -> None:
        """As for every cache, up to two windows."""
        super().grow(min(capacity, 2 * self.window))

    def reorder(self, rows: Array) -> None:
        """As for every cache."""
        for table in (self.keys, self.values):
            table[:, :, :self.end] = table[rows, :, :self.end]
