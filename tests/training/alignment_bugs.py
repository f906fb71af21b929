"""A battery of checks of preferences and rewards, and bugs that people write there: each must be caught by it.

The battery compares with NumPy formulas that share nothing with the package but the logits of a model, and gradients
with differences. It looks every function up where the package does, so a bug is put in by replacing one.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

import tinygpt
from tinygpt import ops
from tinygpt.autograd import Tensor
from tinygpt.data import preferences as data
from tinygpt.models import GPT, GPTConfig
from tinygpt.nn import lora
from tinygpt.nn.lora import add_lora
from tinygpt.training import rewards, rollouts
from tinygpt.training.objectives import dpo, grpo, preference, reward
from tinygpt.training.objectives.dpo import DPO, PAIR_LOSSES, PairLoss
from tinygpt.training.objectives.grpo import GRPO, POLICY_LOSSES
from tinygpt.training.objectives.reward import RewardModel

__all__ = ["BUGS", "battery", "objective", "pairs_batch", "policy", "policy_batch"]

SIZES = dict(vocab_size=11, block_size=12, n_layer=1, n_head=2, n_embd=8, initializer_range=0.4)


def policy(**more: Any) -> GPT:
    """A decoder in float64."""
    tinygpt.manual_seed(more.pop("seed", 0))
    return GPT(GPTConfig(**{**SIZES, **more})).eval().to(dtype=np.float64)


def objective(kind: type, **options: Any) -> Any:
    """An objective of that class that knows its options and nothing else."""
    found = object.__new__(kind)
    found.memory = {}
    found.options = SimpleNamespace(**{**dict(
        loss="dpo", beta=0.3, label_smoothing=0.0, gamma=0.7, clip_range=0.2), **options})
    return found


def pairs_batch(seed: int = 0) -> dict[str, np.ndarray]:
    """Three pairs of unequal lengths, of which the second does not count."""
    rng = np.random.default_rng(seed)
    pairs = []
    for n_prompt, n_chosen, n_rejected in ((3, 2, 4), (1, 5, 1), (4, 3, 2)):
        prompt = rng.integers(1, 11, n_prompt)
        sides = [np.concatenate([prompt, rng.integers(1, 11, n)]) for n in (n_chosen, n_rejected)]
        pairs.append(tuple((ids, np.arange(len(ids)) >= n_prompt) for ids in sides))
    batch = data.pair_batch(pairs)
    batch["targets"] = np.array([0, -100, 0])
    batch["reference"] = -rng.random((3, 2)) * 9
    return batch


def policy_batch(seed: int = 0) -> dict[str, np.ndarray]:
    """Four answers to two questions, with what else a step needs to know."""
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(1, 11, n) for n in (3, 3, 2, 2)]
    answers = [rng.integers(1, 11, n) for n in (2, 4, 1, 5)]
    batch = rollouts.answer_batch(prompts, answers)
    shape = batch["ids"].shape
    return batch | {"advantages": rng.standard_normal(shape), "old": -rng.random(shape) * 3,
                    "reference": -rng.random(shape) * 3}


# ---------------------------------------------------------------------------------------------------------------------
# The formulas again


def _log_p(model: GPT, ids: np.ndarray, at: int) -> float:
    """log p of ids[at] after the ids before it."""
    logits = model(ids[None, :at]).data[0, -1]
    return float(logits[ids[at]] - np.log(np.exp(logits).sum()))


def _answers(batch: dict[str, np.ndarray]) -> list[list[tuple[np.ndarray, list[int]]]]:
    """(ids, the places of the answer in them) of both sides of each pair."""
    return [[(ids[:int(mask.sum())], np.flatnonzero(labels != -100).tolist())
             for ids, labels, mask in zip(*(batch[name][row] for name in ("ids", "labels", "attention_mask")))]
            for row in range(len(batch["ids"]))]


def _softplus(x: float) -> float:
    return float(np.log1p(np.exp(-abs(x))) + max(x, 0.0))


def _pair_loss(model: GPT, batch: dict[str, np.ndarray], o: Any) -> float:
    total = 0.0
    for row, sides in enumerate(_answers(batch)):
        if batch["targets"][row] == -100:
            continue
        sums = [sum(_log_p(model, ids, at) for at in places) for ids, places in sides]
        lengths = [len(places) for _, places in sides]
        ratios = [sums[i] - batch["reference"][row, i] for i in range(2)]
        if o.loss == "dpo":
            m = o.beta * (ratios[0] - ratios[1])
            total += (1 - o.label_smoothing) * _softplus(-m) + o.label_smoothing * _softplus(m)
        elif o.loss == "ipo":
            total += (ratios[0] / lengths[0] - ratios[1] / lengths[1] - 1 / (2 * o.beta)) ** 2
        else:
            total += _softplus(-(o.beta * (sums[0] / lengths[0] - sums[1] / lengths[1]) - o.gamma))
    return total


def _policy_loss(model: GPT, batch: dict[str, np.ndarray], o: Any) -> float:
    total = 0.0
    for row, targets in enumerate(batch["targets"]):
        tokens = []
        for at in np.flatnonzero(targets != -100):
            whole = np.append(batch["ids"][row, :at + 1], targets[at])
            log_p, a = _log_p(model, whole, at + 1), batch["advantages"][row, at]
            ratio = np.exp(log_p - batch["old"][row, at])
            loss = -a * log_p if o.loss == "reinforce" else -min(
                ratio * a, min(max(ratio, 1 - o.clip_range), 1 + o.clip_range) * a)
            d = batch["reference"][row, at] - log_p
            tokens.append(loss + o.beta * (np.exp(d) - d - 1))
        total += sum(tokens) / len(tokens)
    return total


# ---------------------------------------------------------------------------------------------------------------------
# The battery


def _same(what: str, found: Any, expected: Any, tolerance: float = 1e-8) -> None:
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=tolerance, atol=tolerance,
                               err_msg=what)


def _slope(what: str, loss: Callable[[], Tensor], model: GPT) -> None:
    """The derivative along a random direction, by autograd and by a difference."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    rng = np.random.default_rng(3)
    directions = [rng.standard_normal(p.shape) for p in parameters]
    for p in parameters:
        p.grad = None
    loss().backward()
    expected = sum(float((p.grad * d).sum()) for p, d in zip(parameters, directions) if p.grad is not None)
    values, step = [], 1e-6
    for sign in (1, -2):
        for p, d in zip(parameters, directions):
            p.data = p.data + sign * step * d
        values.append(float(loss()))
    for p, d in zip(parameters, directions):
        p.data = p.data + step * d
    _same(f"{what}: the gradient", expected, (values[0] - values[1]) / (2 * step), 1e-5)


def battery() -> None:
    """Raises AssertionError if anything is wrong."""
    model, pairs, batch = policy(), pairs_batch(), policy_batch()
    for loss, smoothing in (("dpo", 0.0), ("dpo", 0.2), ("ipo", 0.0), ("simpo", 0.0)):
        task = objective(DPO, loss=loss, label_smoothing=smoothing)
        _same(loss, float(task.data_loss(model, pairs)), _pair_loss(model, pairs, task.options))
        _slope(loss, lambda: task.data_loss(model, pairs), model)
    _same("tokens of answers", (batch["targets"] != -100).sum(axis=1), [2, 4, 1, 5])
    for loss in POLICY_LOSSES:
        task = objective(GRPO, loss=loss)
        _same(loss, float(task.data_loss(model, batch)), _policy_loss(model, batch, task.options))
        _slope(loss, lambda: task.data_loss(model, batch), model)
    task = objective(GRPO, loss="clip", beta=0.0)
    for some in ([[1], [0], [1], [0]], [[0]]):  # without a divergence, answers without advantages are not read
        less = batch | {"advantages": batch["advantages"] * some}
        _same("advantages of 0", float(task.data_loss(model, less)), _policy_loss(model, less, task.options))
    judge = policy(head="classification", n_labels=1)
    earned = [[float(judge(ids[None]).data[0, 0]) for ids, _ in sides] for sides in _answers(pairs)]
    task = objective(RewardModel)
    _same("reward", float(task.data_loss(judge, pairs)),
          sum(_softplus(r[1] - r[0]) for r, t in zip(earned, pairs["targets"]) if t != -100))
    _slope("reward", lambda: task.data_loss(judge, pairs), judge)

    given = np.array([1.0, 2.0, 4.0, 0.0, 5.0, 5.5])
    expected = [(r - np.mean(g)) / (np.std(g, ddof=1) + 1e-6) for g in (given[:3], given[3:]) for r in g]
    _same("advantages", grpo.group_advantages(given, 3), expected)
    _process()
    logits = np.random.default_rng(1).standard_normal((4, 6)) * 2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    _same("entropy", rollouts.entropy(logits), -(p * np.log(p)).sum(axis=1))
    log_p, entropies = rollouts.observe(model, batch["ids"], batch["targets"])
    row = np.flatnonzero(batch["targets"][1] != -100)
    _same("log p", log_p[1, row], [_log_p(model, np.append(batch["ids"][1, :at + 1], batch["targets"][1, at]), at + 1)
                                   for at in row], 1e-5)
    assert (entropies[batch["targets"] == -100] == 0).all() and (entropies[batch["targets"] != -100] > 0).all()
    _drawing(model)
    _adapters()


def _process() -> None:
    """What two groups of two answers earn from each token on, in text and in numbers."""
    given = rewards.Rewards("similar")
    prompts = [SimpleNamespace(expected="abcd", where="here")] * 2 + [SimpleNamespace(expected="xy", where="there")] * 2
    texts = [["", "a", "ax", "axc"], ["", "b", "bb"], ["", "x"], ["", "y", "yy"]]
    earned = rewards.SUPERVISION["process"](given, prompts, texts)
    none = np.nan
    _same("alone", np.nan_to_num(rewards.SUPERVISION["process"](given, prompts, texts, 0.0), nan=9),
          [[0.25, 0, 0.25], [0, 0.25, 9], [0.5, 9, 9], [0, 0.5, 9]])
    _same("discounted", rewards.SUPERVISION["process"](given, prompts, texts, 0.5)[0], [0.3125, 0.125, 0.25])
    _same("earned", np.nan_to_num(earned, nan=9), np.nan_to_num(
        [[0.5, 0.25, 0.25], [0.25, 0.25, none], [0.5, none, none], [0.5, 0.5, none]], nan=9))
    each = 0.125 / (0.25 / np.sqrt(2) + 1e-6)  # a mean of 0.375, and a deviation by n − 1
    advantages = grpo.group_advantages(earned, 2)
    _same("advantages of tokens", advantages, [[each, 0, 0], [-each, 0, 0], [0, 0, 0], [0, 0, 0]])
    targets = np.array([[-100, 1, 2, 3], [1, 2, -100, -100], [-100, -100, 1, -100], [-100, 1, 2, -100]])
    _same("advantages in place", grpo.per_token(advantages, targets),
          [[0, each, 0, 0], [-each, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def _drawing(model: GPT) -> None:
    """Answers end with their end, and follow from seed, step and place."""
    turns = SimpleNamespace(stop_ids=[5], tokenizer=SimpleNamespace(ids=set(range(11))))
    prompts = [np.array([1, 2, 3]), np.array([4])]
    assert len({rollouts.step_seed(seed, step) for seed in range(3) for step in range(3)}) == 9
    found = rollouts.draw_answers(model, turns, prompts, 8, 6, 1.0, rollouts.step_seed(0, 1))
    assert len(found) == 16 and all(np.count_nonzero(row == 5) <= 1 for row in found)
    ended = [row for row in found if 5 in row]
    assert ended and all(row[-1] == 5 for row in ended) and all(len(row) == 6 for row in found if 5 not in row)
    again = rollouts.draw_answers(model, turns, prompts, 8, 6, 1.0, rollouts.step_seed(0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(found, again))
    assert len({tuple(row) for row in found[:8]}) > 1
    cold, hot = (rollouts.draw_answers(model, turns, prompts[1:], 200, 1, temperature, 0)
                 for temperature in (1e-3, 50.0))
    assert len({int(row[0]) for row in cold}) == 1 and len({int(row[0]) for row in hot}) == 11


def _adapters() -> None:
    """Without its adapters a model is what it was, and with them again what it became."""
    model = policy()
    ids = np.array([[1, 2, 3]])
    before = model(ids).data
    add_lora(model, 2, targets=("q", "v", "down"))
    for name, p in model.named_parameters():
        if ".lora_" in name and name.endswith(".b"):
            p.data = np.random.default_rng(0).standard_normal(p.shape)
    after = model(ids).data
    assert not np.allclose(before, after)
    with lora.without_adapters(model):
        _same("without adapters", model(ids).data, before)
    _same("with adapters again", model(ids).data, after)


# ---------------------------------------------------------------------------------------------------------------------
# The bugs: (where, name, what is there instead)


def _loss(name: str, **changes: Any) -> tuple[dict, str, PairLoss]:
    row = PAIR_LOSSES[name]
    return PAIR_LOSSES, name, PairLoss(**{**vars(row), **changes})


def _policy_row(loss: Callable[..., Tensor], name: str = "clip") -> tuple[dict, str, Any]:
    return POLICY_LOSSES, name, grpo.PolicyLoss(loss)


def _unshifted(model: Any, batch: Any) -> Tensor:
    ids, labels = (batch[name].reshape(-1, batch["ids"].shape[-1]) for name in ("ids", "labels"))
    return dpo.answer_log_probs(model, ids, labels).sum(axis=1).reshape(-1, 2)


def _with_prompt(model: Any, batch: Any) -> Tensor:
    labels = np.where(batch["attention_mask"] == 1, batch["ids"], -100)
    return _right_pair_log_probs(model, {**batch, "labels": labels})


def _with_padding(model: Any, batch: Any) -> Tensor:
    answer = np.maximum.accumulate(batch["labels"] != -100, axis=-1)
    return _right_pair_log_probs(model, {**batch, "labels": np.where(answer, batch["ids"], -100)})


_right_pair_log_probs = dpo.pair_log_probs
_right_scores, _right_answer_batch, _right_k3 = DPO.scores, rollouts.answer_batch, rollouts.k3
_right_process, _right_advantages = rewards.SUPERVISION["process"], grpo.group_advantages
_right_draw, _right_policy_loss = rollouts.draw_answers, grpo.policy_loss


def _summed(prompts: Any, answers: Any, pad_id: int = 0) -> dict[str, np.ndarray]:
    batch = _right_answer_batch(prompts, answers, pad_id)
    return batch | {"weights": (batch["weights"] > 0).astype(np.float32)}


def _prompt_too(prompts: Any, answers: Any, pad_id: int = 0) -> dict[str, np.ndarray]:
    whole = [np.concatenate([p, a]) for p, a in zip(prompts, answers)]
    return _right_answer_batch([row[:1] for row in whole], [row[1:] for row in whole], pad_id)


def _alone(*given: Any) -> np.ndarray:
    earned = _right_process(*given)
    later = np.pad(earned[:, 1:], ((0, 0), (0, 1)), constant_values=np.nan)
    return earned - np.nan_to_num(later)


def _over_prompts(rewards: np.ndarray, group_size: int, normalize: bool = True) -> np.ndarray:
    groups = rewards.reshape(-1, group_size)
    return ((groups - groups.mean(axis=0)) / (groups.std(axis=1, ddof=1, keepdims=True) + 1e-6)).reshape(-1)


def _over_all(rewards: np.ndarray, group_size: int, normalize: bool = True) -> np.ndarray:
    return (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-6)


def _biased(rewards: np.ndarray, group_size: int, normalize: bool = True) -> np.ndarray:
    groups = rewards.reshape(-1, group_size)
    return ((groups - groups.mean(axis=1, keepdims=True)) / (groups.std(axis=1, keepdims=True) + 1e-6)).reshape(-1)


def _clip(pick: Callable[..., Tensor] = ops.minimum, low: bool = True, inverted: bool = False, sign: float = 1.0,
          live: bool = False) -> Callable[..., Tensor]:
    def loss(log_p: Tensor, old: Any, advantages: Any, clip: float) -> Tensor:
        old = log_p if live else old
        a = advantages * sign
        ratio = ops.exp(old - log_p if inverted else log_p - old)
        return -pick(ratio * a, ops.clip(ratio, 1 - clip if low else 0.0, 1 + clip) * a)
    return loss


def _kept_off(model: Any) -> Any:
    for module in model.modules():
        if hasattr(module, "rows") and hasattr(module, "scale"):
            module.scale = 0.0
    return _NoBlock()


class _NoBlock:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...


BUGS: dict[str, tuple[Any, str, Any]] = {
    "the sign of the margin": _loss("dpo", loss=lambda m, o: preference.softplus(m)),
    "the sign of the margin of a reward model": (
        RewardModel, "losses", lambda self, margins: preference.softplus(margins)),
    "no beta": _loss("dpo", scaled=False),
    "no reference": _loss("dpo", reference=False),
    "the reference of the other answer": (
        DPO, "scores", lambda self, model, batch: _right_scores(
            self, model, {**batch, "reference": batch["reference"][:, ::-1]})),
    "label smoothing the wrong way round": _loss("dpo", loss=lambda m, o: preference.softplus(-m) * o.label_smoothing
                                                 + preference.softplus(m) * (1 - o.label_smoothing)),
    "IPO's target without its 2": _loss("ipo", loss=lambda m, o: (m - 1 / o.beta) ** 2),
    "IPO per answer instead of per token": _loss("ipo", per_token=False),
    "SimPO without length": _loss("simpo", per_token=False),
    "the sign of gamma": _loss("simpo", loss=lambda m, o: preference.softplus(-m - o.gamma)),
    "targets that are not shifted": (dpo, "pair_log_probs", _unshifted),
    "a mask that counts the prompt": (dpo, "pair_log_probs", _with_prompt),
    "a mask that counts the padding": (dpo, "pair_log_probs", _with_padding),
    "pairs that should not count": (
        preference.Preferences, "data_loss", lambda self, model, batch: self.losses(
            self.scores(model, batch)[:, 0] - self.scores(model, batch)[:, 1]).sum()),
    "a reward of the padding": (
        reward, "rewards_of", lambda model, batch: model(batch["ids"].reshape(6, -1)).reshape(3, 2)),
    "an old policy that moves along": _policy_row(_clip(live=True)),
    "the larger of the two instead of the smaller": _policy_row(_clip(pick=ops.maximum)),
    "clipped above only": _policy_row(_clip(low=False)),
    "the ratio upside down": _policy_row(_clip(inverted=True)),
    "the sign of the advantage": _policy_row(_clip(sign=-1.0)),
    "REINFORCE with p instead of log p": _policy_row(lambda log_p, old, a, clip: ops.exp(log_p) * -a, "reinforce"),
    "KL the wrong way round": (grpo, "k3", lambda log_p, reference: _right_k3(reference, log_p)),
    "KL by its plain estimator": (grpo, "k3", lambda log_p, reference: log_p - reference),
    "KL that is rewarded": (grpo, "k3", lambda log_p, reference: -_right_k3(log_p, reference)),
    "KL without its weight": (
        grpo, "policy_loss", lambda log_p, batch, loss, clip, beta: _right_policy_loss(log_p, batch, loss, clip, 1.0)),
    "the sum over tokens instead of their mean": (rollouts, "answer_batch", _summed),
    "answers that begin with their question": (rollouts, "answer_batch", _prompt_too),
    "a baseline over the wrong axis": (grpo, "group_advantages", _over_prompts),
    "a baseline of all questions": (grpo, "group_advantages", _over_all),
    "the biased deviation": (grpo, "group_advantages", _biased),
    "tokens praised for what came before them": (rewards.SUPERVISION, "process", lambda *given: np.where(
        np.isnan(_right_process(*given)), np.nan, _right_process(*given)[:, :1])),
    "tokens praised for what they add alone": (rewards.SUPERVISION, "process", _alone),
    "ended answers in the baseline of tokens": (grpo, "group_advantages", lambda given, n, normalize=True:
                                                _right_advantages(np.nan_to_num(given), n, normalize)),
    "advantages from the first column on": (grpo, "per_token", lambda advantages, targets: np.pad(
        advantages, ((0, 0), (0, targets.shape[1] - advantages.shape[1]))) if advantages.ndim == 2
        else advantages[:, None] * np.ones(targets.shape)),
    "entropy in bits": (rollouts, "entropy", lambda logits: _entropy(logits) / np.log(2)),
    "the seed of the step left out": (rollouts, "step_seed", lambda seed, step: seed),
    "answers without their end": (rollouts, "draw_answers", lambda *arguments: [
        row[:-1] for row in _right_draw(*arguments)]),
    "one answer for all": (rollouts, "draw_answers", lambda model, turns, prompts, n, new, t, seed: [
        row for prompt in prompts for row in _right_draw(model, turns, [prompt], 1, new, t, seed) * n]),
    "the temperature left out": (rollouts, "draw_answers", lambda model, turns, prompts, n, new, t, seed: _right_draw(
        model, turns, prompts, n, new, 1.0, seed)),
    "adapters that stay off": (lora, "without_adapters", _kept_off),
    "adapters that stay on": (lora, "without_adapters", lambda model: _NoBlock()),
}
_entropy = rollouts.entropy
