"""The key-value cache: what attention has computed for earlier tokens, kept while a text grows token by token.

Without it the n-th new token would cost a pass over all n tokens; with it, a pass over one.

Prerequisites: positional.py. Next: attention.py.
"""

from __future__ import annotations

from typing import Any

from ..backend import Array, array_module, device_of, on_device, resolve_device, to_device

__all__ = ["Cache", "LayerCache"]


class LayerCache:
    """One layer's keys and values, in arrays that are allocated once.

    Attributes:
        keys, values: (B, Hkv, capacity, D), filled up to `length`.
        memory: the keys and values of the encoder's output, for cross attention, once they are known.
    """

    def __init__(self, xp: Any, shape: tuple[int, int, int, int], dtype: Any) -> None:
        self.keys, self.values = xp.zeros(shape, dtype=dtype), xp.zeros(shape, dtype=dtype)
        self.memory: tuple[Array, Array] | None = None
        self.length = 0

    def append(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Store new keys and values (B, Hkv, T, D); return views of all so far (B, Hkv, length, D).

        Raises:
            ValueError: more rows or tokens than there is room for.
        """
        end = self.length + keys.shape[2]
        if keys.shape[0] != self.keys.shape[0] or end > self.keys.shape[2]:
            raise ValueError(f"cache: room for {self.keys.shape[0]} sequences of {self.keys.shape[2]} tokens, "
                             f"got {keys.shape[0]} sequences of {end}")
        with on_device(device_of(self.keys)):
            self.keys[:, :, self.length:end] = keys
            self.values[:, :, self.length:end] = values
            self.length = end
            return self.keys[:, :, :end], self.values[:, :, :end]


class Cache:
    """The cache of a whole model.

    Args:
        n_layer, batch_size, n_kv_head, capacity, head_dim: its size; `capacity` in tokens.
        dtype, device: as the model's.
    """

    def __init__(self, n_layer: int, batch_size: int, n_kv_head: int, capacity: int, head_dim: int, *,
                 dtype: Any, device: str) -> None:
        xp = array_module(to_device([0.0], resolve_device(device)))
        with on_device(device):
            self.layers = [LayerCache(xp, (batch_size, n_kv_head, capacity, head_dim), dtype) for _ in range(n_layer)]
        self.capacity = capacity
        self._length = 0

    @property
    def length(self) -> int:
        """How many tokens are stored."""
        return self.layers[0].length if self.layers else self._length

    def advance(self, n: int) -> None:
        """Count tokens for a model without layers, which stores nothing."""
        self._length += n

    def reorder(self, rows: Array) -> None:
        """Make row i a copy of what row rows[i] was: beam search continues some beams twice and drops others."""
        for layer in self.layers:
            rows = to_device(rows, device_of(layer.keys))
            n = layer.length
            with on_device(device_of(layer.keys)):
                for table in (layer.keys, layer.values):
                    table[:, :, :n] = table[rows, :, :n]
                if layer.memory is not None:
                    layer.memory = (layer.memory[0][rows], layer.memory[1][rows])
