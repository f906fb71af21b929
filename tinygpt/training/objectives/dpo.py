"""DPO: preferences without a reward model and without sampling, because the policy is a reward model itself.

Reinforcement that maximises a reward r, less β times the divergence from a reference model, ends in a policy π with
r = β log(π / π_ref) + a term of the question alone. Put into Bradley and Terry's model, that term cancels:

    loss = −log σ(β (log π(chosen)/π_ref(chosen) − log π(rejected)/π_ref(rejected)))

The reference never changes, so its log-probabilities are computed once, before the first step, and are kept with the
state of the run; the reference itself is not needed any more. Two relatives differ in one line each, see PAIR_LOSSES:
IPO draws the difference of the log-ratios, per token, to 1/(2β) instead of without end; SimPO needs no reference and
wants the mean log-probability of a token to differ by a margin γ.

Shapes: B batch, T time; (B, 2) the chosen answer first.

Prerequisites: preference.py, reference.py, rollouts.py. Next: grpo.py. Rafailov et al., "Direct preference
optimization" (2023); Azar et al., "A general theoretical paradigm to understand learning from human preferences" (2023)
for IPO; Meng et al., "SimPO" (2024); Mitchell, "A note on DPO with noisy preferences" (2023) for label smoothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...autograd import Tensor, no_grad
from ...backend import to_device, to_numpy
from ...data.preferences import EncodedPair, PairedSampler
from ...data.sampler import IGNORE
from ...evaluation.running import by_the_first, evaluating
from ...models import GPT, PretrainedModel
from ..losses import Batch, answer_log_probs
from ..reference import Reference
from ..rollouts import before_and_after, divergence, greedy_answers
from .base import KeepGoing
from .preference import Preferences, softplus

__all__ = ["DPO", "PAIR_LOSSES", "PairLoss", "pair_log_probs"]

MOST_PAIRS = 500_000  # whose log-probabilities a training state takes
N_KL = 32  # held-out questions that are answered to estimate the divergence
N_SHOWN = 10


@dataclass(frozen=True)
class PairLoss:
    """One way to learn from pairs.

    Attributes:
        loss: (margins (B,), the options) -> (B,); a margin is the difference of the two scores.
        beta: its usual factor. scaled: whether scores are multiplied by it. per_token: whether log-probabilities are
            divided by the length of the answer. reference: whether those of the reference are subtracted.
    """

    loss: Callable[[Tensor, Any], Tensor]
    beta: float
    scaled: bool = True
    per_token: bool = False
    reference: bool = True


def _sigmoid(margins: Tensor, options: Any) -> Tensor:
    """−log σ(m); of labels that are wrong with the probability ε, (1 − ε)(−log σ(m)) + ε(−log σ(−m))."""
    wrong = options.label_smoothing
    return softplus(-margins) * (1 - wrong) + softplus(margins) * wrong


def _squared(margins: Tensor, options: Any) -> Tensor:
    """(h − 1/(2β))²."""
    return (margins - 1 / (2 * options.beta)) ** 2


def _with_margin(margins: Tensor, options: Any) -> Tensor:
    """−log σ(m − γ)."""
    return softplus(options.gamma - margins)


PAIR_LOSSES = {
    "dpo": PairLoss(_sigmoid, beta=0.1),
    "ipo": PairLoss(_squared, beta=0.1, scaled=False, per_token=True),
    "simpo": PairLoss(_with_margin, beta=2.0, per_token=True, reference=False),
}


def pair_log_probs(model: Any, batch: Batch) -> Tensor:
    """log p of both answers of each pair, (B, 2)."""
    ids, labels = np.asarray(batch["ids"]), np.asarray(batch["labels"])  # (B, 2, T)
    n, _, length = ids.shape
    ids, labels = ids.reshape(2 * n, length), labels.reshape(2 * n, length)
    return answer_log_probs(model, ids[:, :-1], labels[:, 1:]).sum(axis=1).reshape(n, 2)  # (2B, T − 1) -> (B, 2)


class DPO(Preferences):
    """Make what is preferred more probable, compared with what a reference thinks."""

    @property
    def _loss(self) -> PairLoss:
        return PAIR_LOSSES[self.options.loss]

    def fit(self, model: PretrainedModel) -> PretrainedModel:
        """A decoder as it is."""
        if not isinstance(model, GPT) or model.config.head != "lm":
            raise self._misfit(model, "a decoder that writes texts")
        return model

    def scores(self, model: Any, batch: Batch) -> Tensor:
        """The implicit reward of both answers."""
        kind, scores = self._loss, pair_log_probs(model, batch)  # (B, 2)
        if kind.reference:
            scores = scores - to_device(np.asarray(batch["reference"]).astype(scores.dtype), scores.device)
        if kind.per_token:
            lengths = (np.asarray(batch["labels"])[:, :, 1:] != IGNORE).sum(axis=2)
            scores = scores / to_device(lengths.astype(scores.dtype), scores.device)
        return scores * self.options.beta if kind.scaled else scores

    def losses(self, margins: Tensor) -> Tensor:
        """As PAIR_LOSSES has it."""
        return self._loss.loss(margins, self.options)

    # -- the reference ------------------------------------------------------------------------------------------------

    def start(self, train: list[EncodedPair], validation: list[EncodedPair]) -> PairedSampler:
        """The log-probabilities of the reference go with the pairs."""
        source = super().start(train, validation)
        self.reference = Reference(self.options, self.model, self.memory)
        if "before" not in self.memory:
            self.memory["before"] = self._answers(self.model)
        if self._loss.reference:
            steps = min(self.n_steps(source), source.steps_per_epoch)
            met = {"train": sorted({place for step in range(steps) for place in source.indices(step)}),
                   "validation": list(range(len(validation)))}  # a short run meets few of many pairs
            if "log_probs" not in self.memory:
                self.memory["log_probs"] = self._ask_reference(met)
            self.known = {part: _checked(self.memory["log_probs"], part, met[part], len(getattr(self, part)))
                          for part in met}
            source.reference = self.known["train"]
        return source

    @no_grad()
    def _ask_reference(self, met: dict[str, list[int]]) -> dict[str, list[list[float]]]:
        """The log-probabilities of the answers of some pairs of each part."""
        if (n := sum(map(len, met.values()))) > MOST_PAIRS:
            raise ValueError(f"{n:,} pairs are more than the {MOST_PAIRS:,} whose log-probabilities a run keeps; take "
                             "fewer")
        found: dict[str, list[list[float]]] = {}
        with self.reference.use() as model, evaluating(model):
            for part, places in met.items():
                pairs = [getattr(self, part)[place] for place in places]
                found[part] = [row for batch in self._batches_of(pairs)  # as in validations: at first all is equal
                               for row in to_numpy(pair_log_probs(model, batch).data).tolist()]
        return found

    def _held_out(self, start: int) -> dict[str, np.ndarray]:
        batch = super()._held_out(start)
        if self._loss.reference:
            batch["reference"] = self.known["validation"][start:start + len(batch["ids"])]
        return batch

    # -- figures and samples ------------------------------------------------------------------------------------------

    def _prompts(self, n: int) -> list[np.ndarray]:
        """The questions of n held-out pairs."""
        found = []
        for place in self._places(n):
            ids, learnt = self.validation[place][0]
            found.append(ids[:int(np.argmax(learnt))])
        return found

    def _answers(self, model: Any) -> list[str]:
        return greedy_answers(model, self.turns, self._prompts(N_SHOWN), self.options.max_new_tokens)

    def validate(self, model: Any, keep_going: KeepGoing) -> dict[str, float]:
        """Loss, accuracy and margin of the held-out pairs, and the divergence of what the model writes from what the
        reference would, where that is at hand."""
        figures = super().validate(model, keep_going)
        if keep_going():
            figures |= by_the_first(lambda: self._divergence(model))  # who follows need not have the reference
        return figures

    def _divergence(self, model: Any) -> dict[str, float]:
        if not self.reference.at_hand():
            return {}
        return {"kl": divergence(model, self.reference, self.turns, self._prompts(N_KL), self.options.max_new_tokens,
                                 self._pad_id)}

    def sample(self, model: Any, final: bool = False) -> str:
        """Held-out questions, the answers before training and now, and the chosen ones."""
        places = self._places(N_SHOWN)
        shown = slice(None) if final else slice(3)
        chosen = [self.turns.text(self.validation[place][0][0][self.validation[place][0][1]].tolist())
                  for place in places]
        questions = [self.tokenizer.decode(ids) for ids in self._prompts(N_SHOWN)]
        return before_and_after(questions[shown], self.memory["before"][shown], self._answers(model)[shown],
                                chosen[shown])


def _checked(saved: Any, part: str, places: list[int], n: int) -> np.ndarray:
    """What a training state says of the reference's log-probabilities of the pairs at some places: (n, 2), NaN at the
    others.

    Raises:
        ValueError: they are not there, or not as many finite numbers as there are pairs.
    """
    rows = saved.get(part) if isinstance(saved, dict) else None
    if not isinstance(rows, list) or len(rows) != len(places) or not all(
            isinstance(row, list) and len(row) == 2 and all(type(x) in (int, float) and math.isfinite(x) for x in row)
            for row in rows):
        raise ValueError(f"the training state holds no log-probabilities of the {len(places):,} pairs of the {part} "
                         "part; start another run with a new --out")
    found = np.full((n, 2), np.nan, np.float32)
    found[places] = np.array(rows, np.float32).reshape(-1, 2)
    return found
