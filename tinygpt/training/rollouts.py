"""Answers that a model writes while it is trained, and what it and its reference think of them.

Answers to several questions, some to each, are drawn in one batch with the cache. What is drawn follows from the seed
of the run, the step, the place of the question in the step and the number of the answer, so a run that was killed
writes the same again.

Shapes: B answers, T time, V vocabulary.

Prerequisites: losses.py, reference.py, data/preferences.py, generation/decode.py. Next: rewards.py. Schulman,
"Approximating KL divergence" (2020), joschu.net/blog/kl-approx.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..autograd import no_grad
from ..backend import to_numpy
from ..data.preferences import Turns
from ..data.sampler import IGNORE, pad
from ..evaluation.running import evaluating
from ..generation import absent, left_pad
from .reference import Reference
from .shared_questions import answer_features

__all__ = ["answer_batch", "before_and_after", "divergence", "draw_answers", "entropy", "greedy_answers", "k3",
           "observe", "step_seed"]

ROWS = 64  # answers that are written at a time
LOGITS = 1 << 24  # numbers that exist at once: 64 MiB in float32


def step_seed(seed: int, step: int) -> int:
    """The seed of what is drawn in one step."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])


def draw_answers(model: Any, turns: Turns, prompts: Sequence[np.ndarray], n: int, max_new_tokens: int,
                 temperature: float, seed: int) -> list[np.ndarray]:
    """n answers to each prompt, those to one prompt together: ids, with the token that ends them if there is one.

    Args:
        model: a decoder; switched to `eval` for the time being.
        prompts: ids, each shorter than the context.
        temperature: 0 for the likeliest tokens; then n must be 1.
        seed: an answer follows from the seed, the place of its prompt, and its number.
    """
    ids, mask = left_pad(list(prompts))  # type: ignore[arg-type]
    n_new = min(max_new_tokens, model.config.block_size - ids.shape[1])
    with evaluating(model):
        rows = model.generate(ids, n_new, temperature=temperature, seed=seed, attention_mask=mask,
                              num_return_sequences=n, eos_token_id=turns.stop_ids or None,
                              suppress_tokens=absent(turns.tokenizer.ids, model.config.vocab_size))
    found = []
    for row in rows[:, ids.shape[1]:]:
        ends = np.flatnonzero(np.isin(row, turns.stop_ids))
        found.append(row[:ends[0] + 1] if len(ends) else row)
    return found


def greedy_answers(model: Any, turns: Turns, prompts: Sequence[np.ndarray], max_new_tokens: int) -> list[str]:
    """The likeliest answer to each prompt, as text."""
    found: list[str] = []
    for start in range(0, len(prompts), ROWS):
        answers = draw_answers(model, turns, prompts[start:start + ROWS], 1, max_new_tokens, 0.0, 0)
        found += [turns.text(answer.tolist()) for answer in answers]
    return found


def answer_batch(prompts: Sequence[np.ndarray], answers: Sequence[np.ndarray],
                 pad_id: int = 0) -> dict[str, np.ndarray]:
    """Answers behind their prompts, to be predicted: the mean over the tokens of each answer counts alike.

    Returns:
        "ids", "targets" (B, T) int64, −100 at what is no part of an answer; "weights" (B, T), at its tokens one divided
        by their number.
    """
    rows = [np.concatenate([prompt, answer]) for prompt, answer in zip(prompts, answers)]
    labels = [np.concatenate([np.full(len(prompt), IGNORE), answer]) for prompt, answer in zip(prompts, answers)]
    targets = pad([row[1:] for row in labels], IGNORE)  # (B, T)
    counted = targets != IGNORE
    weights = counted / np.maximum(counted.sum(axis=1, keepdims=True), 1)
    return {"ids": pad([row[:-1] for row in rows], pad_id), "targets": targets, "weights": weights.astype(np.float32)}


def entropy(logits: np.ndarray) -> np.ndarray:
    """−Σ p log p of each distribution, in nats: (…, V) -> (…)."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=-1)
    return np.log(total) - (powers * shifted).sum(axis=-1) / total


@no_grad()
def observe(model: Any, ids: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log p of each target after the ids before it, and the entropy of what it was chosen from: (B, T) float32 each,
    0 where the target is −100."""
    log_p, entropies = np.zeros(targets.shape, np.float32), np.zeros(targets.shape, np.float32)
    with evaluating(model):
        x, places = answer_features(model, ids, targets)  # (N, C)
        wanted = targets.reshape(-1)[places]
        step = max(1, LOGITS // model.config.vocab_size)
        for start in range(0, len(places), step):
            rows = slice(start, start + step)
            logits = to_numpy(ops.linear(x[rows], model.output_weight).data)  # (at most step, V)
            log_p.flat[places[rows]] = -ops.cross_entropy(logits, wanted[rows], reduction="none").data
            entropies.flat[places[rows]] = entropy(logits)
    return log_p, entropies


def k3(log_p: Any, reference: Any) -> Any:
    """Schulman's estimator of KL(π ‖ π_ref) from a token that π chose: e^d − d − 1 with d = log π_ref − log π.

    Its mean is the divergence, as that of −d is; but it is never negative, and varies less.
    """
    d = reference - log_p
    return np.expm1(d) - d


def divergence(model: Any, reference: Reference, turns: Turns, prompts: Sequence[np.ndarray], max_new_tokens: int,
               pad_id: int = 0) -> float:
    """KL(model ‖ reference) of whole answers, in nats, estimated by one answer of the model to each prompt."""
    total = 0.0
    for start in range(0, len(prompts), ROWS):
        some = prompts[start:start + ROWS]
        batch = answer_batch(some, draw_answers(model, turns, some, 1, max_new_tokens, 1.0, 0), pad_id)
        ours, _ = observe(model, batch["ids"], batch["targets"])
        with reference.use() as other:
            theirs, _ = observe(other, batch["ids"], batch["targets"])
        total += float(k3(ours.astype(np.float64), theirs).sum())
    return total / len(prompts)


def before_and_after(questions: Sequence[str], before: Sequence[str], after: Sequence[str],
                     expected: Sequence[str]) -> str:
    """Questions with the answers before training, after it, and as data have them."""
    return "\n".join(f"{question.rstrip()}\n  before: {old}\n  after:  {new}" + (f"\n  data:   {data}" if data else "")
                     for question, old, new, data in zip(questions, before, after, expected))
