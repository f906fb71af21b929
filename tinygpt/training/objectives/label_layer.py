"""The first lesson of a classifier: its last layer, which is new, learns alone what the model's features tell already.

A new layer is random. Trained together with the model, it would at first send noise into weights that are worth
keeping. Alone it learns in seconds, because the features are computed once.

Shapes: N texts, C channels, K labels.

Prerequisites: losses.py, optim/adamw.py. Next: classification.py. Kumar et al., "Fine-tuning can distort pretrained
features and underperform out-of-distribution" (2022).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from ... import ops
from ...autograd import Tensor, no_grad
from ...backend import to_numpy
from ...data import similar_lengths
from ...models import BERT, GPT
from ...nn import evaluating
from ...optim import AdamW

__all__ = ["teach_label_layer"]

MOST = 10_000  # texts; more of them change the layer little
STEPS, LR = 50, 0.03  # few: a layer that knows its texts by heart would leave the model nothing to learn


def teach_label_layer(model: BERT | GPT, rows: Sequence[Sequence[int]], labels: Sequence[int]) -> None:
    """Train a classifier's last layer on the features that the rest of the model has.

    Args:
        model: with a classification head, on the host; the rest of it does not change.
        rows: ids of N texts, in the tokenizer's template, none longer than the context.
        labels: the number of each text's label.
    """
    every = -(-len(rows) // MOST)
    rows, targets = rows[::every], np.asarray(labels[::every])
    layer = model.label_layer
    assert layer is not None
    x = np.empty((len(rows), model.config.n_embd), np.float32)
    with evaluating(model), no_grad():
        for places, ids, mask in similar_lengths(rows, 32, model.config.pad_token_id or 0):
            x[places] = to_numpy(model.label_features(ids, attention_mask=mask).data)
    student = copy.deepcopy(layer)
    optimizer = AdamW(student, weight_decay=0.0)
    for step in range(STEPS):
        ops.cross_entropy(student(Tensor(x)), targets).backward()
        optimizer.step(lr=LR * (1 - step / STEPS))
        optimizer.zero_grad()
    layer.load_state_dict(student.state_dict())
