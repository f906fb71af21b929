"""The key-value cache: what attention has computed for earlier tokens, kept while a text grows token by token.

Without it the n-th new token would cost a pass over all n tokens; with it, a pass over one. Attention knows nothing of
it: a `CachedSight` shows a pass the earlier tokens beside its own.

Prerequisites: attention.py, padding.py, relative.py. Next: window.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from .. import ops
from ..autograd import Tensor
from ..backend import Array, array_module, device_of, on_device, resolve_device, to_device
from .masks import Mask
from .positions import Positions
from .relative import RelativePositions
from .sight import Sight

__all__ = ["Cache", "CachedSight", "DecoderSight", "LayerCache"]


class LayerCache:
    """One layer's keys and values, in arrays that are allocated once.

    Attributes:
        keys, values: (B, Hkv, capacity, D), filled up to `length`.
    """

    def __init__(self, xp: Any, shape: tuple[int, int, int, int], dtype: Any) -> None:
        self.keys, self.values = xp.zeros(shape, dtype=dtype), xp.zeros(shape, dtype=dtype)
        self.length = 0

    @property
    def kept(self) -> int:
        """How many tokens the next ones look at beside themselves."""
        return self.length

    def append(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Store new keys and values (B, Hkv, T, D); return views of all so far (B, Hkv, length, D).

        Raises:
            ValueError: more rows or tokens than there is room for.
        """
        self.check_room(keys, self.keys.shape[2])
        end = self.length + keys.shape[2]
        with on_device(device_of(self.keys)):
            self.keys[:, :, self.length:end] = keys
            self.values[:, :, self.length:end] = values
            self.length = end
            return self.keys[:, :, :end], self.values[:, :, :end]

    def check_room(self, keys: Array, capacity: float) -> None:
        """Refuse keys of more rows, or with more tokens in all, than there is room for."""
        end = self.length + keys.shape[2]
        if keys.shape[0] != self.keys.shape[0] or end > capacity:
            raise ValueError(f"cache: room for {self.keys.shape[0]} sequences of {capacity} tokens, "
                             f"got {keys.shape[0]} sequences of {end}")

    def can_cut(self, length: int) -> bool:
        """Whether `cut` may follow: what came first is still there."""
        return length <= self.length

    def cut(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        self.length = length

    def grow(self, capacity: int) -> None:
        """Make room for so many tokens in all; what is there stays."""
        more = capacity - self.keys.shape[2]
        if more > 0:
            with on_device(device_of(self.keys)):
                xp = array_module(self.keys)
                rows, heads, _, size = self.keys.shape
                free = xp.zeros((rows, heads, more, size), dtype=self.keys.dtype)
                self.keys, self.values = (xp.concatenate([table, free], axis=2) for table in (self.keys, self.values))

    def taken(self, rows: Array, capacity: int) -> LayerCache:
        """As `Cache.taken`, of one layer."""
        found = copy(self)
        with on_device(device_of(self.keys)):
            found.keys, found.values = self.keys[rows], self.values[rows]
        found.grow(capacity)
        return found

    def reorder(self, rows: Array) -> None:
        """Make row i a copy of what row rows[i] was."""
        for table in (self.keys, self.values):
            table[:, :, :self.length] = table[rows, :, :self.length]


class Cache:
    """The cache of a whole model.

    Args:
        n_layer, batch_size, n_kv_head, capacity, head_dim: its size; `capacity` in tokens.
        dtype, device: as the model's.
        new_layer: makes the cache of a layer; a mask that shows less than all may have one of its own. Or one such
            function for each layer.
    """

    def __init__(self, n_layer: int, batch_size: int, n_kv_head: int, capacity: int, head_dim: int, *,
                 dtype: Any, device: str,
                 new_layer: Callable[..., LayerCache] | Sequence[Callable[..., LayerCache]] = LayerCache) -> None:
        xp = array_module(to_device([0.0], resolve_device(device)))
        with on_device(device):
            makers = [new_layer] * n_layer if callable(new_layer) else new_layer
            self.layers = [make(xp, (batch_size, n_kv_head, capacity, head_dim), dtype) for make in makers]
        self.capacity = capacity
        self._length = 0
        self.memories: dict[int, tuple[Array, Array]] = {}  # cross attention layer -> its keys and values of the source
        self._of: dict[int, LayerCache] = {}  # the attention layers in the order in which they come

    def of(self, layer: object) -> LayerCache:
        """The part of an attention layer; each layer that comes for the first time takes the next one."""
        found = self._of.get(id(layer))
        if found is None:
            found = self._of[id(layer)] = self.layers[len(self._of)]
        return found

    def append(self, layer: object, k: Any, v: Any) -> tuple[Any, Any]:
        """Store an attention layer's keys and values (B, Hkv, T, D); those of all tokens so far that it looks at."""
        return self.of(layer).append(k.data, v.data)

    @property
    def length(self) -> int:
        """How many tokens have come."""
        return self.layers[0].length if self.layers else self._length

    def kept(self, layer: int = 0) -> int:
        """How many of them the next ones look at, in a layer."""
        return self.layers[layer].kept if self.layers else self._length

    def advance(self, n: int) -> None:
        """Count tokens for a model without layers, which stores nothing."""
        self._length += n

    def cut(self, length: int) -> bool:
        """Forget all but the first `length` tokens, to go on differently from there; False where a window has lost
        some of what they look at, and nothing has changed."""
        if not all(layer.can_cut(length) for layer in self.layers):
            return False
        for layer in self.layers:
            layer.cut(length)
        self._length = min(self._length, length)
        return True

    def grow(self, capacity: int) -> None:
        """Make room for so many tokens in all, twice as many as before at least, so that growing often costs little."""
        if capacity > self.capacity:
            self.capacity = max(capacity, 2 * self.capacity)
            for layer in self.layers:
                layer.grow(self.capacity)

    def taken(self, rows: Array, capacity: int) -> Cache:
        """A new cache whose row i is a copy of row rows[i], with room for `capacity` tokens at least: several texts go
        on from one beginning, which is read once."""
        found = copy(self)
        found.capacity = max(capacity, self.capacity)
        found.layers = [layer.taken(to_device(rows, device_of(layer.keys)), capacity) for layer in self.layers]
        found._of = {}
        found.memories = {}
        for key, (k, v) in self.memories.items():
            place = to_device(rows, device_of(k))
            with on_device(device_of(k)):
                found.memories[key] = (k[place], v[place])
        return found

    def reorder(self, rows: Array) -> None:
        """Make row i a copy of what row rows[i] was: beam search continues some beams twice and drops others."""
        for layer in self.layers:
            place = device_of(layer.keys)
            rows = to_device(rows, place)
            with on_device(place):
                layer.reorder(rows)
        for key, (k, v) in self.memories.items():
            rows = to_device(rows, device_of(k))
            with on_device(device_of(k)):
                self.memories[key] = (k[rows], v[rows])


class CachedSight(Sight):
    """The sight of a pass that may go on where earlier ones ended. Takes the place of `Sight`.

    Args:
        positions, mask, where: as for `Sight`; the arrays that they give are put on `device`.
        cache: holds the earlier tokens, and takes those of this pass; None where there are no earlier ones. No gradient
            flows into it.
        layer: the number of a layer whose sight it is, where layers see unequally far.
    """

    def __init__(self, positions: Positions, mask: Mask, where: Array, cache: Cache | None, device: str,
                 layer: int = 0) -> None:
        self.cache = cache
        n_queries = where.shape[-1]
        n_keys = n_queries if cache is None else cache.kept(layer) + n_queries
        super().__init__(positions, mask, where, n_keys)
        if self.bias is not None:
            self.bias = to_device(self.bias, device)
        if isinstance(positions, RelativePositions):
            learned = positions.learned_bias(n_queries, n_keys)  # (H, T, S)
            self.bias = learned if self.bias is None else ops.where(self.bias, learned, -math.inf)

    def of(self, layer: object, q: Tensor, k: Any, v: Any) -> tuple[Tensor, Any, Any]:
        """Queries, and keys and values of all tokens so far that they look at."""
        q, k = self.positions.turn(q, k, self.where)
        if self.cache is not None:
            k, v = self.cache.append(layer, k, v)  # (B, Hkv, S, D)
        return q, k, v


class DecoderSight(CachedSight):
    """The sight of a decoder, which also looks at what an encoder made of the source.

    Args:
        memory: (B, S, C). memory_mask: booleans (B, 1, 1, S), true where it may be looked at; None for everywhere.
    """

    def __init__(self, positions: Positions, mask: Mask, where: Array, cache: Cache | None, device: str,
                 memory: Tensor, memory_mask: Array | None) -> None:
        super().__init__(positions, mask, where, cache, device)
        self.memory, self.memory_mask = memory, memory_mask

    def remembered(self, layer: object, compute: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Any, Any]:
        """A layer's keys and values of the memory, which are computed once if there is a cache to keep them."""
        if self.cache is None:
            return compute(self.memory)
        kept = self.cache.memories.get(id(layer))
        if kept is None:
            k, v = compute(self.memory)
            kept = self.cache.memories[id(layer)] = (k.data, v.data)
        return kept
