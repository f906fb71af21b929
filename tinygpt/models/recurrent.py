"""RecurrentLM: a language model of recurrent layers, the transformer's rival and predecessor.

It is trained, evaluated and asked to write as GPT is. What it knows of a text is a state of fixed size, so a text may
be of any length, and a token costs the same time and memory wherever it stands.

Shapes: B batch, T time, C channels, V vocabulary.

Prerequisites: causal.py, nn/recurrent.py. Next: bert.py. Mikolov et al., "Recurrent neural network based language
model" (2010); Zaremba et al., "Recurrent neural network regularization" (2014).
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import Array, on_device, to_device
from ..nn import GRU, LSTM, RNN, Dropout, Embedding, Linear
from ..nn.recurrent import Recurrent
from .causal import CausalLM
from .config_base import Configuration
from .inputs import attention_mask_on, token_ids

__all__ = ["RecurrentConfig", "RecurrentLM", "StateCache"]

LAYERS: dict[str, type[Recurrent]] = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


@dataclass(frozen=True)
class RecurrentConfig(Configuration):
    """A recurrent language model.

    Args:
        vocab_size: V. block_size: tokens of a training example; a text may be longer.
        n_layer, n_embd: layers of C channels.
        architecture: "lstm", "gru" or "rnn".
        dropout: the probability of dropping, before, between and behind the layers.
        initializer_range: standard deviation of the initial embeddings; the layers begin as PyTorch's do.
        tie_word_embeddings: one matrix for the embedding and the output.
        bos_token_id, eos_token_id, pad_token_id: ids inside the vocabulary, or None; eos may be several.

    Raises:
        ValueError, TypeError: an option outside its range.
    """

    vocab_size: int
    block_size: int = 64
    n_layer: int = 1
    n_embd: int = 128
    architecture: str = "lstm"
    dropout: float = 0.0
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None
    pad_token_id: int | None = None
    head: str = "lm"

    ARCHITECTURES: ClassVar = ("lstm", "gru", "rnn")
    HEADS: ClassVar = ("lm",)
    endless: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._check_choice("architecture", self.ARCHITECTURES)
        self._check_choice("head", self.HEADS)
        self._check_size("vocab_size", "block_size", "n_layer", "n_embd")
        self._check_number("dropout", 0.0, 1.0)
        self._check_number("initializer_range", 0.0)
        self._check_flag("tie_word_embeddings")
        self._check_ids("bos_token_id", "eos_token_id", "pad_token_id")


class StateCache:
    """What a recurrent model remembers of texts: its state, whatever their length.

    Attributes:
        state: as the layers give it; None before the first token. length: how many tokens have come.
    """

    def __init__(self) -> None:
        self.state: Any = None
        self.length = 0

    def cut(self, length: int) -> bool:
        """Go back to the first `length` tokens; a state cannot, so False unless these are all, or none."""
        if length == 0:
            self.state, self.length = None, 0
        return length == self.length

    def grow(self, capacity: int) -> None:
        """Make room for more tokens; there is room for any number."""

    def taken(self, rows: Array, capacity: int) -> StateCache:
        """A new cache whose row i is a copy of row rows[i]: several texts go on from one beginning."""
        found = copy(self)
        found.reorder(rows)
        return found

    def reorder(self, rows: Array) -> None:
        """Make row i a copy of what row rows[i] was: for beam search."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        with on_device(parts[0].device):
            parts = tuple(part[:, to_device(rows, part.device)] for part in parts)
        self.state = parts if len(parts) > 1 else parts[0]


class RecurrentLM(CausalLM):
    """A recurrent language model.

    Args:
        config: sizes, and which kind of layers.

    >>> model = RecurrentLM(RecurrentConfig(vocab_size=11, n_embd=8, architecture="gru"))
    >>> model([[1, 2, 3]]).shape, model.generate([[1, 2]], max_new_tokens=100).shape
    ((1, 3, 11), (1, 102))
    """

    config_class = RecurrentConfig
    config: RecurrentConfig

    def __init__(self, config: RecurrentConfig) -> None:
        c = self.config = config
        self.token_embedding = Embedding(c.vocab_size, c.n_embd, std=c.initializer_range)
        self.dropout = Dropout(c.dropout)
        self.layers = LAYERS[c.architecture](c.n_embd, c.n_embd, c.n_layer, dropout=c.dropout)
        self.lm_head = None if c.tie_word_embeddings else Linear(
            c.n_embd, c.vocab_size, bias=False, std=c.initializer_range)

    @property
    def output_weight(self) -> Tensor:
        """(V, C): the matrix from features to logits; the token embedding itself where they are tied."""
        return self.token_embedding.weight if self.lm_head is None else self.lm_head.weight

    def features(self, ids: Any, attention_mask: Any = None, cache: StateCache | None = None) -> Tensor:
        """ids (B, T) -> the states of the last layer, (B, T, C); arguments as for `forward`."""
        c, device = self.config, self.device
        ids = token_ids("RecurrentLM", ids, c.vocab_size, device)
        start = 0 if cache is None else cache.length
        mask = attention_mask_on("RecurrentLM", attention_mask, (ids.shape[0], start + ids.shape[1]))
        mask = None if mask is None or mask[:, start:].all() else mask[:, start:]
        x = self.activations(self.dropout(self.token_embedding(ids)))
        before = None if cache is None else cache.state
        x, state = self.layers(x, before) if mask is None else self._past_padding(x, before, mask)
        if cache is not None:
            cache.state, cache.length = state, start + ids.shape[1]
        return self.dropout(x)

    def _past_padding(self, x: Tensor, state: Any, mask: np.ndarray) -> tuple[Tensor, Any]:
        """The layers over each row's tokens alone: they are moved to its front, and back to their places afterwards."""
        if not mask.any(axis=1).all():
            raise ValueError("RecurrentLM: a row of attention_mask is all 0: there is nothing to read")
        front = np.argsort(~mask, axis=1, kind="stable")  # (B, T): the tokens' places, then the padding's
        back = np.argsort(front, axis=1)
        rows, front, back = (to_device(a, x.device) for a in (np.arange(len(mask))[:, None], front, back))
        x, state = self.layers(x[rows, front], state, mask.sum(axis=1))
        return x[rows, back], state

    def forward(self, ids: Any, attention_mask: Any = None, cache: StateCache | None = None) -> Tensor:
        """Logits (B, T, V) for the token that follows each position.

        Args:
            ids: (B, T) integers.
            attention_mask: (B, S), 1 at tokens and 0 at padding, over all S tokens so far, the cache's included.
                Padding changes nothing, wherever it stands.
            cache: from `new_cache`; holds the state after the earlier tokens, and takes that after these.

        Raises:
            ValueError: shapes that do not fit.
            IndexError: an id outside the vocabulary.
        """
        return ops.linear(self.features(ids, attention_mask, cache), self.output_weight)

    def new_cache(self, batch_size: int, capacity: int | None = None) -> StateCache:
        """The state before the first token; its size depends on neither the number of tokens nor `capacity`."""
        return StateCache()
