"""GRPO: answers that earn more than the others to the same question become more probable.

The policy gradient theorem: the gradient of the expected reward is the mean of (reward − baseline) ∇ log π(answer), for
any baseline that does not depend on the answer. With a group of answers to each question, the baseline is the mean of
the group, and no model of values is needed:

    advantage   A = (r − mean of the group) / (its deviation + 10⁻⁶)
    ratio       ρ = π(token) / π_old(token), where π_old wrote the answer
    loss        −min(ρ A, clip(ρ, 1 − ε, 1 + ε) A) + β KL(π ‖ π_ref), the mean over tokens, then over answers

With one step for each batch of answers ρ is 1 and the gradient is REINFORCE's, A ∇ log π; the ratio, and its clipping,
keep several steps with the same answers (`updates`) honest: a token that has moved by ε already is not moved further.

With process supervision (`supervision`, rewards.py) each token has an advantage of its own: what the answer earns from
it on, compared with what the others of the group earn from the same place on.

Shapes: B answers, T time, G answers to a question, L tokens of the longest answer.

Prerequisites: preference.py, rollouts.py, rewards.py. Next: kinds.py. Williams, "Simple statistical gradient-following
algorithms" (1992); Schulman et al., "Proximal policy optimization algorithms" (2017); Shao et al., "DeepSeekMath"
(2024).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import ops
from ...autograd import Tensor
from ...backend import to_device
from ...data.conversations import text_of
from ...data.example_file import read_example_file, write_example_file
from ...data.preferences import Prompt, read_prompts
from ...data.sampler import IGNORE, EpochSampler
from ...data.split import split_by
from ...evaluation.running import by_the_first
from ...files import parse_object
from ...files.atomic_file import write_text
from ...models import GPT, PretrainedModel
from ..losses import Batch, answer_log_probs
from ..reference import Reference
from ..rewards import SUPERVISION, Rewards
from ..rollouts import answer_batch, before_and_after, draw_answers, greedy_answers, k3, observe, step_seed
from .base import KeepGoing
from .preference import Aligned

__all__ = ["GRPO", "POLICY_LOSSES", "PolicyLoss", "Rollouts", "clipped", "group_advantages", "per_token",
           "policy_loss", "reinforced", "surprise"]

N_ASKED, N_FINAL, N_SHOWN = 100, 1000, 10
INTEGERS = ("ids", "targets")


def group_advantages(rewards: np.ndarray, group_size: int, normalize: bool = True) -> np.ndarray:
    """What each reward is above the mean of its group; divided by the group's deviation if `normalize`.

    Args:
        rewards: (B,), one for each answer; or (B, L), one for each token, NaN where an answer has ended. Then the
            tokens at the same place of a group's answers are compared, and one that has no other beside it gets 0.

    Returns:
        As many numbers, 0 for NaN.

    >>> group_advantages(np.array([1.0, 0.0, 5.0, 5.0]), 2, normalize=False).tolist()
    [0.5, -0.5, 0.0, 0.0]
    """
    groups = rewards.reshape(-1, group_size, *rewards.shape[1:])  # (B / G, G, …)
    there = ~np.isnan(groups)
    n = there.sum(axis=1, keepdims=True)
    advantages = np.where(there, groups - np.where(there, groups, 0).sum(axis=1, keepdims=True) / np.maximum(n, 1), 0)
    if normalize:
        variance = (advantages ** 2).sum(axis=1, keepdims=True) / np.maximum(n - 1, 1)
        advantages = advantages / (np.sqrt(variance) + 1e-6)
    return advantages.reshape(rewards.shape)


def per_token(advantages: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Advantages of answers (B,), or of the tokens of answers (B, L), where those tokens stand: (B, T), 0 elsewhere."""
    counted = targets != IGNORE  # (B, T), L true ones in a row at most
    number = np.maximum(counted.cumsum(axis=1) - 1, 0)
    each = np.take_along_axis(advantages, number, axis=1) if advantages.ndim == 2 else advantages[:, None]
    return np.where(counted, each, 0)


def surprise(log_p: np.ndarray, entropies: np.ndarray) -> np.ndarray:
    """How much more surprising each token was than the policy expects, −log π − H, (B, T).

    As an advantage it is the gradient of the entropy: ∇H = −∇ Σ π log π = E[(−log π − H) ∇ log π].
    """
    return -log_p - entropies


def reinforced(log_p: Tensor, old: Any, advantages: Any, clip: float) -> Tensor:
    """−A log π of each token (REINFORCE); `old` and `clip` play no part."""
    return log_p * -advantages


def clipped(log_p: Tensor, old: Any, advantages: Any, clip: float) -> Tensor:
    """−min(ρ A, clip(ρ, 1 − ε, 1 + ε) A) of each token."""
    ratio = ops.exp(log_p - old)
    return -ops.minimum(ratio * advantages, ops.clip(ratio, 1 - clip, 1 + clip) * advantages)


@dataclass(frozen=True)
class PolicyLoss:
    """One way to learn from rewarded answers: (log π, log π_old, advantages, ε) -> (B, T); β is its usual factor."""

    loss: Callable[[Tensor, Any, Any, float], Tensor]
    beta: float = 0.04


POLICY_LOSSES = {"clip": PolicyLoss(clipped), "reinforce": PolicyLoss(reinforced)}


def policy_loss(log_p: Tensor, batch: Batch, loss: str, clip: float, beta: float) -> Tensor:
    """The sum over answers of the mean over their tokens, ().

    Args:
        log_p: (B, T) of the answers' tokens under the model that learns.
        batch: "advantages" (B, T), or (B, 1) if they are those of whole answers; "old" and "reference" (B, T),
            log-probabilities under the model that wrote the answers and under the reference, the latter only for β > 0;
            "weights" (B, T), of each token.
    """
    def on(name: str) -> Any:
        return to_device(np.asarray(batch[name]).astype(log_p.dtype), log_p.device)

    each = POLICY_LOSSES[loss].loss(log_p, on("old"), on("advantages"), clip)  # (B, T)
    if beta:
        each = each + k3(log_p, on("reference")) * beta
    return (each * on("weights")).sum()


class _Numbers(EpochSampler):
    """The numbers of the questions of each step."""

    def batch_of(self, examples: list[int]) -> dict[str, np.ndarray]:
        """{"numbers": (B,)}."""
        return {"numbers": np.array(examples)}


class Rollouts:
    """Batches of answers that the model writes itself, with their rewards.

    A batch follows from the seed, the step and the weights at that step. Several steps may learn from the same answers;
    these are then kept with the state of the run.

    Args:
        objective: has the questions, the model, its reference and the rewards.
    """

    def __init__(self, objective: GRPO) -> None:
        self.objective, o = objective, objective.options
        self._order = _Numbers(range(len(objective.train)), min(o.batch_size, len(objective.train)), o.seed)
        self.batch_size = self._order.batch_size * o.group_size
        self.steps_per_epoch = self._order.steps_per_epoch * o.updates

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """The answers of a step: drawn now, or those that an earlier step has drawn."""
        o, memory = self.objective.options, self.objective.memory
        number = step // o.updates
        if step % o.updates == 0:
            batch = self._draw(number)
            if o.updates > 1:
                memory["answers"] = {name: array.tolist() for name, array in batch.items()}
            return batch
        return _held(memory.get("answers"), number, self.objective.config)

    def _draw(self, number: int) -> dict[str, np.ndarray]:
        task, o = self.objective, self.objective.options
        asked = [task.train[place] for place in self._order.batch(number)["numbers"]]
        prompts = [ids for ids, _ in asked]
        answers = draw_answers(task.model, task.turns, prompts, o.group_size, o.max_new_tokens, o.temperature,
                               step_seed(o.seed, number))
        n = o.group_size
        questions = [prompt for _, prompt in asked for _ in range(n)]
        texts = [[task.turns.text(answer[:k].tolist()) for k in range(len(answer) + 1)] for answer in answers]
        parts = task.rewards(questions, [beginnings[-1] for beginnings in texts])  # (B, parts)
        batch = answer_batch([ids for ids in prompts for _ in range(n)], answers, task.config.pad_token_id or 0)
        old, entropies = observe(task.model, batch["ids"], batch["targets"])
        with np.errstate(all="ignore"):
            earned = SUPERVISION[o.supervision](task.rewards, questions, texts, o.discount)  # (B,) or (B, L)
            advantages = per_token(group_advantages(earned, n, o.normalize), batch["targets"])
            if o.entropy_bonus:
                advantages += o.entropy_bonus * surprise(old, entropies)
            batch |= {"advantages": advantages, "old": old, "reward": task.rewards.total(parts),
                      **{f"reward_{name}": column for name, column in zip(task.rewards.names, parts.T)
                         if len(task.rewards.names) > 1},
                      "length": np.array([len(answer) for answer in answers], float),
                      "entropy": (entropies * batch["weights"]).sum(axis=1)}
            if o.beta:
                with task.reference.use() as other:
                    reference, _ = observe(other, batch["ids"], batch["targets"])
                batch |= {"reference": reference, "kl": k3(old, reference).sum(axis=1)}
        return {name: array if name in INTEGERS else array.astype(np.float32) for name, array in batch.items()}


def _held(saved: Any, number: int, config: Any) -> dict[str, np.ndarray]:
    """The answers that a training state holds.

    Raises:
        ValueError: they are not there, or no answers.
    """
    try:
        batch = {name: np.array(value, np.int64 if name in INTEGERS else np.float32) for name, value in saved.items()}
        shape = batch["ids"].shape
        same = ("targets", "weights", "old", "advantages")
        whole = len(shape) == 2 and all(batch[name].shape == shape for name in same) \
            and all(len(array) == shape[0] and np.isfinite(array).all() for array in batch.values()) \
            and batch["ids"].min() >= 0 and batch["ids"].max() < config.vocab_size
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise ValueError(f"the training state does not hold the answers of batch {number} from which its steps learn; "
                         "start another run with a new --out")
    return batch


class GRPO(Aligned):
    """Write answers, and learn from what they earn."""

    unit = "answers"
    counted = "questions"

    def fit(self, model: PretrainedModel) -> PretrainedModel:
        """A decoder as it is."""
        if not isinstance(model, GPT) or model.config.head != "lm":
            raise self._misfit(model, "a decoder that writes texts")
        return model

    def data_loss(self, model: Any, batch: Batch) -> Tensor:
        """As `policy_loss`; the weights of an answer's tokens add up to one, so it counts as one."""
        o = self.options
        if not o.beta:  # an answer without advantages, one of a group that earned the same, teaches nothing
            rows = np.flatnonzero(np.asarray(batch["advantages"]).any(axis=1))
            batch = {name: np.asarray(value)[rows if len(rows) else [0]] for name, value in batch.items()}
        return policy_loss(answer_log_probs(model, batch["ids"], batch["targets"]), batch, o.loss, o.clip_range, o.beta)

    def figures(self, batch: Batch) -> dict[str, float]:
        """The reward and its parts, length, entropy and divergence of what was written."""
        names = [name for name in batch if name.startswith("reward")]
        return {name: float(np.mean(batch[name])) for name in (*names, "kl", "entropy", "length") if name in batch}

    # -- from records to batches --------------------------------------------------------------------------------------

    def parts(self) -> tuple[list[Prompt], list[Prompt]]:
        """Questions, each in one part alone."""
        o = self.options
        self.rewards = Rewards(o.reward)
        prompts = read_prompts(o.data)
        for prompt in prompts:
            self.rewards.check(prompt)
        return split_by(prompts, lambda prompt: tuple((m["role"], text_of(m)) for m in prompt.prompt), o.validation,
                        o.seed, "question")

    def write(self, path: Path, part: Sequence[Prompt]) -> None:
        """The ids of each question, and the question as JSON in UTF-8, for rewards look at texts."""
        rows, long = [], []
        for prompt in part:
            try:
                ids = self.turns.prompt(prompt.prompt)
            except ValueError as error:
                raise ValueError(f"{prompt.where}: {error}") from None
            if len(ids) >= self.config.block_size:
                long.append(prompt.where)
                continue
            rows.append((ids, list(json.dumps(prompt._asdict()).encode())))
        if not rows:
            raise ValueError(f"{long[0]}: the question leaves no room in the context of {self.config.block_size} "
                             f"tokens, nor does any other of the {path.stem} part")
        if long:
            warnings.warn(f"left out {len(long):,} of {len(part):,} questions that leave no room in the context of "
                          f"{self.config.block_size} tokens: the first is {long[0]}", stacklevel=2)
        write_example_file(path, rows)

    def read(self, path: Path) -> list[tuple[np.ndarray, Prompt]]:
        """Ids and text of each question.

        Raises:
            ValueError: the file holds something else.
        """
        found = []
        for ids, text in read_example_file(path):
            try:
                found.append((ids, Prompt(**parse_object(text.astype(np.uint8).tobytes(), "a question"))))
            except (TypeError, ValueError):
                raise ValueError(f"{path} is no file of questions; write it again") from None
        return found

    def start(self, train: list[tuple[np.ndarray, Prompt]], validation: list[tuple[np.ndarray, Prompt]]) -> Rollouts:
        """Answers that are still to be written."""
        o = self.options
        self.train, self.validation = train, validation
        self.rewards = Rewards(o.reward)
        if self.memory.setdefault("judges", self.rewards.fingerprints()) != self.rewards.fingerprints():
            raise ValueError(f"the reward {o.reward} is not the model any more that this run began with; put it back, "
                             "or start another run with a new --out")
        self.reference = Reference(o, self.model, self.memory)
        if "before" not in self.memory:
            self.memory["before"] = self._answers(self.model, N_SHOWN)
        return Rollouts(self)

    def n_steps(self, source: Any) -> int:
        """As many as the options say, 200 if they say nothing: writing takes longer than learning."""
        return 200 if self.options.steps is None and self.options.epochs is None else super().n_steps(source)

    # -- figures and samples ------------------------------------------------------------------------------------------

    def _asked(self, n: int) -> list[tuple[np.ndarray, Prompt]]:
        places = np.linspace(0, len(self.validation) - 1, min(n, len(self.validation)), dtype=int)
        return [self.validation[place] for place in places]

    def _answers(self, model: Any, n: int) -> list[str]:
        """The likeliest answers to n held-out questions."""
        return greedy_answers(model, self.turns, [ids for ids, _ in self._asked(n)], self.options.max_new_tokens)

    def _figures(self, model: Any, n: int) -> dict[str, float]:
        parts = self.rewards([prompt for _, prompt in self._asked(n)], self._answers(model, n))  # (N, parts)
        several = {f"held_out_{name}": float(column.mean()) for name, column in zip(self.rewards.names, parts.T)}
        return {"held_out_reward": float(self.rewards.total(parts).mean()), **(several if len(several) > 1 else {})}

    def validate(self, model: Any, keep_going: KeepGoing) -> dict[str, float]:
        """What the likeliest answers to held-out questions earn."""
        return by_the_first(lambda: self._figures(model, N_ASKED))

    def score(self, figures: dict[str, float]) -> tuple[float, ...]:
        """The reward."""
        return (figures["held_out_reward"],)

    def sample(self, model: Any, final: bool = False) -> str:
        """Held-out questions, the answers before training and now, and what was expected."""
        shown = slice(None) if final else slice(3)
        asked = self._asked(N_SHOWN)
        return before_and_after([self.tokenizer.decode(ids) for ids, _ in asked][shown], self.memory["before"][shown],
                                self._answers(model, N_SHOWN)[shown], [prompt.expected for _, prompt in asked][shown])

    def finish(self, model: Any, out: Path) -> str:
        """The same, and the reward of more held-out questions, as JSON."""
        n = min(N_FINAL, len(self.validation))
        figures = self._figures(model, n) | {"n_asked": n}
        write_text(out / "validation.json", json.dumps(figures) + "\n")
        return f"{super().finish(model, out)}\nreward of {n:,} held-out questions: {figures['held_out_reward']:.4f}"
