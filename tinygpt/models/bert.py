"""BERT: an encoder that sees the whole text at once, and its two heads, for masked words and for labels.

Beside GPT (gpt.py, decoder.py) three things change: attention is not causal, norms come after the sums (post-norm), and
segments have embeddings too. RoBERTa is the same encoder with positions that count from the padding id + 1.

Shapes: B batch, T time, C channels, V vocabulary, N labels.

Prerequisites: gpt.py, pooling.py. Next: encoder_decoder.py. Devlin et al., "BERT" (2018); Liu et al., "RoBERTa" (2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import Array, array_module, on_device
from ..blas import chooses_threads
from ..nn import CachedSight, Dropout, Embedding, LayerNorm, Linear, Mask, Module, Padding, Parameter
from ..nn.linear import normal
from .base import PretrainedModel
from .config import BERTConfig, EncoderDecoderConfig
from .inputs import attention_mask_on, token_ids
from .kinds import new_block, new_mask, new_positions
from .pooling import pool

__all__ = ["BERT", "ClassificationHead", "MaskedLMHead", "Output"]


class Output(Module):
    """The output's bias, and its matrix where that is not the token embedding.

    Attributes:
        weight: (V, C) or None. bias: (V,), or None in a model without biases.
    """

    def __init__(self, config: BERTConfig | EncoderDecoderConfig) -> None:
        c = config
        self.bias = Parameter(np.zeros(c.vocab_size, dtype=np.float32)) if c.bias else None
        self.weight = None if c.tie_word_embeddings \
            else Parameter(normal((c.vocab_size, c.n_embd), c.initializer_range))


class MaskedLMHead(Output):
    """Features to logits over the vocabulary: a layer more than GPT's head, and a bias for each token."""

    def __init__(self, config: BERTConfig) -> None:
        c = config
        self.activation = "gelu" if c.counts_tokens else c.activation  # RoBERTa's is always GELU
        self.dense = Linear(c.n_embd, c.n_embd, std=c.initializer_range)
        self.norm = LayerNorm(c.n_embd, epsilon=c.norm_epsilon)
        super().__init__(c)

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, C): what the output matrix is applied to."""
        return self.norm(ops.linear_activation(x, self.dense.weight, self.dense.bias, activation=self.activation))


class ClassificationHead(Module):
    """The first token's features to a score for each label: BERT's pooler and classifier, RoBERTa's dense and out."""

    def __init__(self, config: BERTConfig) -> None:
        self.pooler = config.layout.pooler
        self.dense = Linear(config.n_embd, config.n_embd, std=config.initializer_range)
        self.dropout = Dropout(config.dropout)
        self.out = Linear(config.n_embd, config.n_labels, std=config.initializer_range)

    def features(self, x: Tensor) -> Tensor:
        """(B, C) -> (B, C): what the scores are a linear function of."""
        return self.dropout(getattr(ops, self.pooler)(self.dense(x)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C) -> (B, N)."""
        return self.out(self.features(x))


class BERT(PretrainedModel):
    """An encoder-only transformer with the head that `config.head` names.

    Args:
        config: sizes and layout; `head` is None for the features themselves, "masked_lm" or "classification".

    >>> model = BERT.for_masked_lm(BERTConfig(vocab_size=11, n_layer=1, n_head=2, n_embd=8))
    >>> model([[1, 2, 3]]).shape
    (1, 3, 11)
    >>> model.for_classification(n_labels=2)([[1, 2, 3]]).shape  # the same encoder, another head
    (1, 2)
    """

    config_class = BERTConfig
    config: BERTConfig

    def __init__(self, config: BERTConfig) -> None:
        c = self.config = config
        std = c.initializer_range
        self.token_embedding = Embedding(c.vocab_size, c.n_embd, std=std)
        self.positions = new_positions(c)
        self.segment_embedding = Embedding(c.type_vocab_size, c.n_embd, std=std) if c.type_vocab_size else None
        self.embedding_norm = LayerNorm(c.n_embd, epsilon=c.norm_epsilon)
        self.dropout = Dropout(c.dropout)
        self.blocks = [new_block(c, std=std) for _ in range(c.n_layer)]
        self.lm_head = MaskedLMHead(c) if c.head == "masked_lm" else None
        self.classifier = ClassificationHead(c) if c.head == "classification" else None

    # -- one encoder, several heads -----------------------------------------------------------------------------------

    def _with_head(self: BERT | BERTConfig, **options: Any) -> BERT:
        if isinstance(self, BERTConfig):
            return BERT(replace(self, **options))
        model = BERT(replace(self.config, **options)).to(self.device, dtype=self.dtype)
        own, fresh = self.state_dict(), model.state_dict()
        model.load_state_dict({name: array if name.startswith(("lm_head.", "classifier.")) else own[name]
                               for name, array in fresh.items()})
        return model.train(self.training)

    def for_masked_lm(self: BERT | BERTConfig) -> BERT:
        """A model with a new masked-word head: of `BERT.for_masked_lm(config)`, or of a model's copied encoder."""
        return BERT._with_head(self, head="masked_lm", n_labels=None, id2label=None, problem_type=None)

    def for_classification(self: BERT | BERTConfig, n_labels: int | None = None,
                           id2label: Mapping[int, str] | None = None) -> BERT:
        """A model with a new classification head: of `BERT.for_classification(config)`, or of a copied encoder.

        Args:
            n_labels, id2label: how many labels, and their names; by default those of the configuration, or two.
        """
        config = self if isinstance(self, BERTConfig) else self.config
        if n_labels is None and id2label is None:
            n_labels, id2label = config.n_labels or None, config.id2label
        return BERT._with_head(self, head="classification", n_labels=n_labels, id2label=id2label, problem_type=None)

    # -- from ids to features and logits ------------------------------------------------------------------------------

    def _where(self, ids: Array) -> Array:
        """The positions, (T,); for RoBERTa (B, T), counting tokens only: padding has a position of its own, the one
        before the first token's."""
        xp, c = array_module(ids), self.config
        if not c.counts_tokens:
            return xp.arange(ids.shape[1])
        tokens = ids != c.pad_token_id
        return xp.cumsum(tokens, axis=1) * tokens + (c.position_offset - 1)

    @chooses_threads
    def features(self, ids: Any, attention_mask: Any = None, token_type_ids: Any = None) -> Tensor:
        """ids (B, T) -> what the last block gives, (B, T, C); arguments as for `forward`."""
        c = self.config
        ids = token_ids("BERT", ids, c.vocab_size, self.device)
        if ids.shape[1] > c.block_size:
            raise ValueError(f"BERT: a text of {ids.shape[1]} tokens does not fit the context of {c.block_size} tokens "
                             "(block_size)")
        padding = attention_mask_on("BERT", attention_mask, ids.shape)
        with on_device(self.device):
            where = self._where(ids)
        mask: Mask = new_mask(c) if padding is None else Padding(padding)
        sight = CachedSight(self.positions, mask, where, None, self.device)
        x = self.positions.add(self.token_embedding(ids), where)  # (B, T, C)
        if self.segment_embedding is not None:
            with on_device(self.device):
                segments = array_module(ids).zeros_like(ids) if token_type_ids is None \
                    else token_ids("BERT", token_type_ids, c.type_vocab_size, self.device)
            x = x + self.segment_embedding(segments)
        x = self.dropout(self.activations(self.embedding_norm(x)))
        for block in self.blocks:
            x = block(x, sight)
        return x

    @property
    def output_weight(self) -> Tensor:
        """(V, C): the matrix from the head's features to logits; the token embedding itself where they are tied."""
        own = None if self.lm_head is None else self.lm_head.weight
        return self.token_embedding.weight if own is None else own

    @chooses_threads
    def forward(self, ids: Any, attention_mask: Any = None, token_type_ids: Any = None) -> Tensor:
        """The head's scores, or the features themselves for head=None.

        Args:
            ids: (B, T) integers.
            attention_mask: (B, T), 1 at tokens and 0 at padding.
            token_type_ids: (B, T), 0 at the first text's tokens and 1 at the second's; 0 by default.

        Returns:
            (B, T, V) for "masked_lm", (B, N) for "classification", (B, T, C) without a head.

        Raises:
            ValueError: a text longer than `block_size`, or shapes that do not fit.
            IndexError: an id outside the vocabulary.
        """
        x = self.features(ids, attention_mask, token_type_ids)
        if self.lm_head is not None:
            return ops.linear(self.lm_head(x), self.output_weight, self.lm_head.bias)
        return x if self.classifier is None else self.classifier(x[:, 0])

    @property
    def label_layer(self) -> Linear | None:
        """The last layer of a classifier, (N, C)."""
        return None if self.classifier is None else self.classifier.out

    def label_features(self, ids: Any, attention_mask: Any = None) -> Tensor:
        """What a classifier's `label_layer` takes, (B, C); arguments as for `forward`."""
        assert self.classifier is not None
        return self.classifier.features(self.features(ids, attention_mask)[:, 0])

    @chooses_threads
    def embed(self, ids: Any, attention_mask: Any = None, token_type_ids: Any = None, *,
              pooling: str = "mean") -> Tensor:
        """One vector for each text, (B, C), to compare texts with (by cosine, say).

        Args:
            pooling: how tokens become one vector, as for `pooling.pool`: "mean", padding left out; "first"; ….
        """
        return pool(self.features(ids, attention_mask, token_type_ids), attention_mask, pooling)
