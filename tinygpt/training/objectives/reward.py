"""A reward model: one number for an answer to a question, higher for answers that people prefer.

    loss = −log σ(r(chosen) − r(rejected))

The number comes from a head with one output on a model that reads question and answer: a decoder's at the last token,
an encoder's at the first. Only differences are learnt, so the number has no zero of its own. The folder opens in
transformers as a sequence classifier with one label.

Prerequisites: preference.py. Next: dpo.py. Ouyang et al., "Training language models to follow instructions with human
feedback" (2022), section 3.5.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd import Tensor
from ...models import BERT, GPT, PretrainedModel
from ..losses import Batch
from .preference import Preferences
from .task import classifier_of

__all__ = ["LABEL", "RewardModel", "rewards_of"]

LABEL = "reward"


def rewards_of(model: Any, batch: Batch) -> Tensor:
    """The reward of both answers of each pair, (B, 2)."""
    ids = np.asarray(batch["ids"])  # (B, 2, T)
    n, _, length = ids.shape
    mask = np.asarray(batch["attention_mask"]).reshape(2 * n, length)
    return model(ids.reshape(2 * n, length), attention_mask=mask).reshape(n, 2)  # (2B, 1) -> (B, 2)


class RewardModel(Preferences):
    """Learn what is preferred, as a number."""

    new_parameters = ("classifier.", "score.")

    def fit(self, model: PretrainedModel) -> PretrainedModel:
        """An encoder or a decoder with a head of one output; a reward model keeps its own."""
        if not isinstance(model, (BERT, GPT)):
            raise self._misfit(model, "an encoder or a decoder")
        if model.config.head == "classification" and model.config.n_labels == 1:
            return model
        return classifier_of(model, {0: LABEL})

    def scores(self, model: Any, batch: Batch) -> Tensor:
        """The rewards."""
        return rewards_of(model, batch)

    def sample(self, model: Any, final: bool = False) -> str:
        """Held-out pairs with their rewards, those first that it is most wrong about."""
        if not final:
            return ""
        scores = self._scored(model)
        places = np.argsort(scores[:, 0] - scores[:, 1], kind="stable")[:5]
        lines = []
        for place in places:
            for (ids, learnt), reward, sign in zip(self.validation[place], scores[place], ("+", "-")):
                prompt, answer = self.tokenizer.decode(ids[~learnt]), self.turns.text(ids[learnt].tolist())
                lines.append(f"{sign} {reward:+.3f}  {' '.join(prompt.split())} {' '.join(answer.split())}")
        return "\n".join(lines)
