"""Preferences measured: which of two answers a model prefers, the best of n, and which of two models wins.

A reward model prefers the answer with the higher reward. A policy prefers the one that it makes more probable; with a
reference model, the one that it makes more probable by comparison: that is what DPO trains.

Prerequisites: likelihood.py, labelling.py, confidence.py, data/preferences.py. Next: tasks.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.chat_template import Message
from ..data.preferences import Pair, Turns
from ..generation import absent, left_pad
from ..models import BERT, GPT, CausalLM, PretrainedModel
from ..tokenizers import Tokenizer
from .confidence import Z_95
from .labelling import label_logits
from .likelihood import score_continuations
from .running import Track, evaluating, untracked

__all__ = ["Judge", "accuracy_of", "best_answers", "is_reward_model", "pair_log_probs", "win_rate"]


def accuracy_of(margins: np.ndarray) -> float:
    """The share of margins above 0; one of 0, where nothing is preferred, counts one half.

    >>> accuracy_of(np.array([0.3, 2.0, -1.0, 0.0]))
    0.625
    """
    return float(((margins > 0) + 0.5 * (margins == 0)).mean())


def is_reward_model(model: PretrainedModel) -> bool:
    """Whether a model gives a text one number."""
    return isinstance(model, (BERT, GPT)) and model.config.head == "classification" and model.config.n_labels == 1


class Judge:
    """A reward model with its tokenizer: what an answer to a question is worth to it.

    Raises:
        ValueError: the model is no reward model.
    """

    def __init__(self, model: PretrainedModel, tokenizer: Tokenizer, name: str = "the folder") -> None:
        if not isinstance(model, (BERT, GPT)) or not is_reward_model(model):
            raise ValueError(f"a reward model has a head with one label (tinygpt align --method reward makes one), and "
                             f"{name} holds a {type(model).__name__} with the head "
                             f"{getattr(model.config, 'head', None)!r}")
        self.model, self.name, self.turns = model, name, Turns(tokenizer, encoder=isinstance(model, BERT))

    def rewards(self, prompts: Sequence[Sequence[Message]], answers: Sequence[str],
                track: Track = untracked) -> np.ndarray:
        """The reward of each answer to its prompt, (N,) float64.

        Raises:
            ValueError: an answer that does not fit the model's context, or that its vocabulary cannot write.
        """
        rows = [np.concatenate(self.turns.encode(prompt, answer)) for prompt, answer in zip(prompts, answers)]
        longest = max(map(len, rows), default=0)
        if longest > self.model.config.block_size:
            raise ValueError(f"a question with its answer has {longest:,} tokens, and the context of the reward model "
                             f"{self.name} {self.model.config.block_size:,}")
        return label_logits(self.model, rows, track=track)[:, 0].astype(np.float64)


def pair_log_probs(model: CausalLM, turns: Turns, pairs: Sequence[Pair],
                   track: Track = untracked) -> tuple[np.ndarray, np.ndarray]:
    """(log p of both answers of each pair; their lengths in tokens): (N, 2) each, the chosen answer first."""
    sides = [turns.encode(pair.prompt, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)]
    rows = [(prompt.tolist(), answer.tolist()) for prompt, answer in sides]
    nats, _ = score_continuations(model, rows, [2] * len(pairs), track=track)
    lengths = np.array([len(answer) for _, answer in sides])
    return -nats.reshape(-1, 2), lengths.reshape(-1, 2)


def best_answers(model: CausalLM, tokenizer: Tokenizer, prompts: Sequence[Sequence[Message]],
                 judge: Judge | None = None, n: int = 1, *,
                 max_new_tokens: int = 64, temperature: float = 1.0, seed: int = 0, batch_size: int = 64,
                 track: Track = untracked) -> list[str]:
    """The answer to each prompt that a judge likes best among n that the model has drawn; with n = 1, the only one.

    Args:
        temperature: 0 for the likeliest answer; then n must be 1.
        seed: an answer follows from the seed, the place of its prompt, and its number.

    Raises:
        ValueError: n above 1 without a judge; a prompt that leaves no room in the context.
    """
    if n > 1 and judge is None:
        raise ValueError(f"the best of {n} answers needs a reward model to choose it")
    turns, answers = Turns(tokenizer), []
    rows = [turns.prompt(prompt) for prompt in prompts]
    step = max(1, batch_size // n)
    starts = range(0, len(rows), step)
    with evaluating(model):
        for start in track(starts, len(starts)):
            ids, mask = left_pad(rows[start:start + step])
            room = model.config.block_size - ids.shape[1]
            if room < 1:
                raise ValueError(f"a question of {ids.shape[1]} tokens leaves no room for an answer in a context of "
                                 f"{model.config.block_size}")
            out = model.generate(ids, min(max_new_tokens, room), temperature=temperature, seed=seed + start,
                                 attention_mask=mask, num_return_sequences=n, eos_token_id=turns.stop_ids or None,
                                 suppress_tokens=absent(tokenizer.ids, model.config.vocab_size))
            answers += [turns.text(row) for row in out[:, ids.shape[1]:].tolist()]
    if n == 1 or judge is None:
        return answers
    repeated = [prompt for prompt in prompts for _ in range(n)]
    best = judge.rewards(repeated, answers).reshape(-1, n).argmax(axis=1)
    return [answers[place * n + number] for place, number in enumerate(best)]


def win_rate(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """How often the first of two rewards is the higher one, ties counting one half, with a 95% interval.

    The interval is that of the mean of independent numbers, each 1, ½ or 0: mean ± 1.96 s / √N, within [0, 1]; Wilson's
    is for shares of yes and no, and takes ties for more chance than they are.
    """
    wins = (ours > theirs) + 0.5 * (ours == theirs)
    half = Z_95 * wins.std(ddof=1) / np.sqrt(len(wins)) if len(wins) > 1 else 1.0
    rate = float(wins.mean())
    return {"win_rate": rate, "win_rate_interval": [max(0.0, rate - float(half)), min(1.0, rate + float(half))],
            "ties": float((ours == theirs).mean()), "reward": float(ours.mean()),
            "reward_against": float(theirs.mean())}
