"""The loss of any model in the tests: the cross entropy of what it predicts, with the projection fused where it can be.

Training has its own functions for this; tests of models need one that asks nothing of training.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygpt import Tensor, ops
from tinygpt.models import BERT, EncoderDecoder
from tinygpt.models.encoder_decoder import shift_right
from tinygpt.models.inputs import targets_on

__all__ = ["loss_of"]


def loss_of(model: Any, ids: Any, targets: Any, weights: Any = None, *, reduction: str = "mean",
            decoder_ids: Any = None, **inputs: Any) -> Tensor:
    """Cross entropy in nats of the targets, those of −100 not counted; `inputs` as for the model's features."""
    c = model.config
    if c.head == "classification":
        logits = model(ids, **inputs)
        return ops.cross_entropy(logits, *targets_on(targets, weights, c.n_labels, model.device), reduction=reduction)
    bias = None
    if isinstance(model, EncoderDecoder):
        if decoder_ids is None:
            decoder_ids = shift_right(np.asarray(targets), c.decoder_start_token_id, c.pad_token_id)
        x = model.decode(decoder_ids, *model.encode(ids, inputs.get("attention_mask")))
        bias = model.lm_head.bias
    else:
        x = model.features(ids, **inputs)
        if isinstance(model, BERT):
            x, bias = model.lm_head(x), model.lm_head.bias
    return ops.linear_cross_entropy(x, model.output_weight, bias, *targets_on(targets, weights, c.vocab_size,
                                                                              model.device), reduction=reduction)
