"""BERT: an encoder that sees the whole text at once, and its two heads, for masked words and for labels.

Beside GPT (gpt.py) three things change: attention is not causal, norms come after the sums (post-norm), and segments
have embeddings too. RoBERTa is the same encoder with positions that count from the padding id + 1.

Shapes: B batch, T time, C channels, V vocabulary, N labels.

Prerequisites: gpt.py. Next: encoder_decoder.py. Devlin et al., "BERT" (2018); Liu et al., "RoBERTa" (2019); pooling
for similarity: Reimers and Gurevych, "Sentence-BERT" (2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import Array, array_module, on_device, to_device, wide_dtype
from ..nn import Dropout, Embedding, LayerNorm, Linear, Module, Parameter, TransformerBlock
from ..nn.linear import normal
from .base import PretrainedModel
from .config import BERTConfig
from .inputs import attention_mask_on, targets_on, token_ids

__all__ = ["BERT", "ClassificationHead", "MaskedLMHead"]


class MaskedLMHead(Module):
    """Features to logits over the vocabulary: a layer more than GPT's head, and a bias for each token.

    Attributes:
        weight: (V, C), where it is not the token embedding. bias: (V,).
    """

    def __init__(self, config: BERTConfig) -> None:
        c = config
        self.activation = "gelu" if c.architecture == "roberta" else c.activation  # RoBERTa's is always GELU
        self.dense = Linear(c.n_embd, c.n_embd, std=c.initializer_range)
        self.norm = LayerNorm(c.n_embd, epsilon=c.norm_epsilon)
        self.bias = Parameter(np.zeros(c.vocab_size, dtype=np.float32))
        self.weight = None if c.tie_word_embeddings \
            else Parameter(normal((c.vocab_size, c.n_embd), c.initializer_range))

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, C): what the output matrix is applied to."""
        return self.norm(self.dense(x, self.activation))


class ClassificationHead(Module):
    """The first token's features to a score for each label: BERT's pooler and classifier, RoBERTa's dense and out."""

    def __init__(self, config: BERTConfig) -> None:
        self.dense = Linear(config.n_embd, config.n_embd, std=config.initializer_range)
        self.dropout = Dropout(config.dropout)
        self.out = Linear(config.n_embd, config.n_labels, std=config.initializer_range)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C) -> (B, N)."""
        return self.out(self.dropout(ops.tanh(self.dense(x))))


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
        self.position_embedding = Embedding(c.block_size + c.position_offset, c.n_embd, std=std)
        self.segment_embedding = Embedding(c.type_vocab_size, c.n_embd, std=std)
        self.embedding_norm = LayerNorm(c.n_embd, epsilon=c.norm_epsilon)
        self.dropout = Dropout(c.dropout)
        self.blocks = [TransformerBlock(
            c.n_embd, c.n_head, c.n_inner, activation=c.activation, gated=c.gated, norm=c.norm,
            norm_first=c.norm_first, norm_epsilon=c.norm_epsilon, bias=c.bias, dropout=c.dropout, std=std)
            for _ in range(c.n_layer)]
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

    def _positions(self, ids: Array) -> Array:
        """Rows of the position table, (T,); for RoBERTa (B, T), counting tokens only: padding stays on its own row."""
        xp, pad = array_module(ids), self.config.pad_token_id
        if self.config.architecture != "roberta":
            return xp.arange(ids.shape[1])
        tokens = ids != pad
        return xp.cumsum(tokens, axis=1) * tokens + pad

    def features(self, ids: Any, attention_mask: Any = None, token_type_ids: Any = None) -> Tensor:
        """ids (B, T) -> what the last block gives, (B, T, C); arguments as for `forward`."""
        c = self.config
        ids = token_ids("BERT", ids, c.vocab_size, self.device)
        if ids.shape[1] > c.block_size:
            raise ValueError(f"BERT: a text of {ids.shape[1]} tokens does not fit the context of {c.block_size} tokens "
                             "(block_size)")
        padding = attention_mask_on("BERT", attention_mask, ids.shape)
        mask = None if padding is None else to_device(padding[:, None, None, :], self.device)  # (B, 1, 1, T)
        with on_device(self.device):
            segments = array_module(ids).zeros_like(ids) if token_type_ids is None \
                else token_ids("BERT", token_type_ids, c.type_vocab_size, self.device)
            positions = self._positions(ids)
        x = self.token_embedding(ids) + self.position_embedding(positions) \
            + self.segment_embedding(segments)  # (B, T, C)
        x = self.dropout(self.activations(self.embedding_norm(x)))
        for block in self.blocks:
            x = block(x, mask=mask)
        return x

    @property
    def output_weight(self) -> Tensor:
        """(V, C): the matrix from the head's features to logits; the token embedding itself where they are tied."""
        own = None if self.lm_head is None else self.lm_head.weight
        return self.token_embedding.weight if own is None else own

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

    def embed(self, ids: Any, attention_mask: Any = None, token_type_ids: Any = None, *,
              pooling: Literal["mean", "first"] = "mean") -> Tensor:
        """One vector for each text, (B, C), to compare texts with (by cosine, say).

        Args:
            pooling: "mean" over the tokens, padding left out; or the "first" token's.
        """
        x = self.features(ids, attention_mask, token_type_ids)
        if pooling == "first":
            return x[:, 0]
        if pooling != "mean":
            raise ValueError(f'BERT.embed: pooling must be "mean" or "first", got {pooling!r}')
        if attention_mask is None:
            return ops.mean(x, axis=1)
        tokens = np.asarray(attention_mask) != 0
        share = tokens / np.maximum(tokens.sum(axis=1, keepdims=True), 1)  # (B, T), each row sums to 1
        return ops.sum(x * to_device(share[:, :, None].astype(wide_dtype(x.dtype)), self.device), axis=1)

    def loss(self, ids: Any, targets: Any, weights: Any = None, *, attention_mask: Any = None,
             token_type_ids: Any = None, reduction: str = "mean") -> Tensor:
        """Cross entropy in nats of the targets: (B, T), the words that were masked and −100 elsewhere; or labels (B,).

        Only the positions that count go through the head: of masked text, one in seven.

        Args:
            ids, attention_mask, token_type_ids: as for `forward`.
            weights: how much each target counts, of their shape.
            reduction: "mean" or "sum"; see `ops.cross_entropy`.
        """
        if self.classifier is not None:
            self.config.check_one_label()
            targets, weights = targets_on(targets, weights, self.classifier.out.weight.shape[0], self.device)
            return ops.cross_entropy(self(ids, attention_mask, token_type_ids), targets, weights, reduction=reduction)
        if self.lm_head is None:
            raise ValueError("BERT: a model without a head has no loss; BERT.for_masked_lm or .for_classification "
                             "gives it one")
        x = self.features(ids, attention_mask, token_type_ids)
        targets = np.asarray(targets)
        if targets.shape != x.shape[:2]:
            raise ValueError(f"BERT.loss: targets must have the shape {x.shape[:2]} of the ids, got {targets.shape}")
        counted = np.flatnonzero(targets != ops.IGNORE_INDEX)
        x = x.reshape(-1, x.shape[-1])[to_device(counted, self.device)]  # (counted, C)
        flat = targets_on(targets.reshape(-1)[counted],
                          None if weights is None else np.asarray(weights).reshape(-1)[counted],
                          self.config.vocab_size, self.device)
        return ops.linear_cross_entropy(self.lm_head(x), self.output_weight, self.lm_head.bias, *flat,
                                        reduction=reduction)
