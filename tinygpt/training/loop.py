"""The training loop: a batch, its loss, the gradient, a step of the optimizer, and again.

The model gives logits and knows no loss; the objective owns it; the loop knows neither. So another objective is another
class with a method `loss`, and nothing here changes.

Prerequisites: models/gpt.py, data/windows.py, optim/clipping.py. Next: generation/sampling.py. Upstairs: trainer.py,
the same steps with validation and files, on all cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..autograd.tensor import Tensor
from ..nn.dropout import seed_dropout
from ..ops.loss import cross_entropy
from ..optim.clipping import clip_coefficient, global_norm

__all__ = ["NextToken", "train"]

Batch = dict[str, np.ndarray]


class NextToken:
    """GPT's objective: predict each token from those before it."""

    def loss(self, model: Callable[[Any], Tensor], batch: Batch) -> tuple[Tensor, int]:
        """The sum of the losses of all targets of a batch, in nats, and how many targets there are.

        Not their mean: parts of a batch may then be added up, and weigh as much as they have targets.
        """
        logits = model(batch["ids"])  # (B, T, V)
        return cross_entropy(logits, batch["targets"], reduction="sum"), batch["targets"].size


def train(model: Any, objective: Any, batches: Callable[[int], Batch], optimizer: Any,
          schedule: Callable[[int], float], steps: int, *, clip: float = 1.0, seed: int = 0) -> Iterator[float]:
    """Train for `steps` steps; yields the mean loss of each, before the step is taken.

    Args:
        batches: the number of a step -> its batch. schedule: the number of a step -> its learning rate.
        clip: the longest gradient; a longer one is scaled down.
        seed: names the masks of dropout, together with the step.
    """
    model.train()
    for step in range(steps):
        seed_dropout(model, seed, step)
        loss, count = objective.loss(model, batches(step))
        (loss / count).backward()
        norm = global_norm(parameter.grad for parameter in model.parameters())
        optimizer.step(lr=schedule(step), grad_scale=clip_coefficient(norm, clip))
        optimizer.zero_grad()
        yield float(loss) / count
