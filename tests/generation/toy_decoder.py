"""A toy language model for the decoding loop: what it predicts depends on every token and on every token's position."""

from __future__ import annotations

import numpy as np


class ToyCache:
    """The sum over the tokens read so far, and how many of them, of each row."""

    def __init__(self, rows: int, width: int) -> None:
        self.length = 0
        self.state = np.zeros((rows, width))
        self.position = np.zeros(rows, dtype=int)

    def reorder(self, rows: np.ndarray) -> None:
        self.state, self.position = self.state[rows], self.position[rows]

    def taken(self, rows: np.ndarray, capacity: int) -> ToyCache:
        found = ToyCache(len(rows), self.state.shape[1])
        found.length, found.state, found.position = self.length, self.state[rows], self.position[rows]
        return found


class Toy:
    """logits = W tanh(Σ_i E[position_i, token_i]); counts calls and tokens, to see what the loop asks for."""

    def __init__(self, n_vocab: int = 11, context: int = 12, seed: int = 0, scale: float = 3.0) -> None:
        rng = np.random.default_rng(seed)
        self.embedding = rng.standard_normal((context, n_vocab, 16))
        self.head = scale * rng.standard_normal((16, n_vocab))
        self.context = context
        self.read: list[tuple[int, int]] = []  # the shapes of the ids of each call
        self.masked = 0

    def cache(self, rows: int) -> ToyCache:
        return ToyCache(rows, 16)

    def __call__(self, ids: np.ndarray, cache: ToyCache | None = None, attention_mask: np.ndarray | None = None):
        self.read.append(ids.shape)
        self.masked += attention_mask is not None
        cache = self.cache(len(ids)) if cache is None else cache
        if attention_mask is None:
            attention_mask = np.ones((len(ids), cache.length + ids.shape[1]))
        assert attention_mask.shape == (len(ids), cache.length + ids.shape[1])
        out = []
        for column in range(ids.shape[1]):
            for row in range(len(ids)):
                if attention_mask[row, cache.length]:
                    position = cache.position[row]
                    assert position < self.context, "the loop let the text outgrow the context"
                    cache.state[row] += self.embedding[position, ids[row, column]]
                    cache.position[row] += 1
            cache.length += 1
            out.append(np.tanh(cache.state) @ self.head)
        return np.stack(out, axis=1)  # (B, t, V)
