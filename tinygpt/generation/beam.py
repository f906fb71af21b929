"""Beam search: keep the most likely texts instead of one token at a time.

Greedy decoding takes the best token of each step and can miss a text whose first token is only second best. Beam
search keeps `num_beams` unfinished texts (beams) per sentence, extends each by every token, and keeps the best
`num_beams` of all those. A text that ends is set aside with the score

    log p(text) / length ** length_penalty            length counts the new tokens, the end included

Long texts have low probabilities; length_penalty > 0 makes up for that. A sentence is done when `num_beams` texts have
ended and the best beam, scored at its present length, is no better than the worst of them: that beam could only win by
getting better as it grows. `early_stopping` chooses another end, in transformers' words: True takes the first
`num_beams` texts that end, "never" goes on while the best beam could win at any length.

Prerequisites: decode.py. Papers: Graves, "Sequence transduction with recurrent neural networks" (2012); Wu et al.,
"Google's neural machine translation system" (2016) for the length penalty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .decode import ApplyRules, MakeCache, Step, as_list, check_prompt, last_logits
from .strategies import check_finite

__all__ = ["BeamHypotheses", "beam_hypotheses", "beam_search", "check_beams"]

MAX_BEAMS = 1000  # each takes as much memory and time as a text of its own

EarlyStopping = bool | Literal["never"]


@dataclass
class BeamHypotheses:
    """The finished texts of one sentence: at most `num_beams` pairs of score and new tokens, best first."""

    num_beams: int
    length_penalty: float
    early_stopping: EarlyStopping = False
    finished: list[tuple[float, list[int]]] = field(default_factory=list)
    done: bool = False

    def score(self, log_probability: float, length: int) -> float:
        """What a text of so many new tokens is worth."""
        return log_probability / length ** self.length_penalty

    def add(self, log_probability: float, tokens: list[int]) -> None:
        """Set a finished text aside if it is among the best."""
        self.finished.append((self.score(log_probability, len(tokens)), tokens))
        self.finished.sort(key=lambda pair: -pair[0])  # stable: of equals, the earlier stays ahead
        del self.finished[self.num_beams:]

    def update_done(self, best_log_probability: float, length: int, max_length: int) -> None:
        """Done when full, and the best unfinished text would not enter as it stands (or whatever it becomes)."""
        if len(self.finished) == self.num_beams:
            if self.early_stopping == "never" and self.length_penalty > 0:
                length = max_length  # its probability can only fall, but a longer text is divided by more
            self.done |= self.early_stopping is True or self.score(best_log_probability, length) <= self.finished[-1][0]


def check_beams(num_beams: int, stop: object = None, repetition_penalty: float = 1.0,
                num_return_sequences: int = 1) -> None:
    """Refuse settings of `generate` that beam search does not know, rather than overlook them.

    Raises:
        ValueError: fewer than one beam; stop texts; a repetition penalty; more texts asked for than there are beams.
    """
    if not 1 <= num_beams <= MAX_BEAMS:
        raise ValueError(f"num_beams is {num_beams}, expected at least 1 and at most {MAX_BEAMS:,}")
    if stop is not None:
        raise ValueError("beam search knows no stop texts; use eos_token_id, or num_beams=1")
    if repetition_penalty != 1.0:
        raise ValueError(f"beam search knows no repetition_penalty, got {repetition_penalty}; use num_beams=1")
    if not 1 <= num_return_sequences <= num_beams:
        raise ValueError(f"num_return_sequences is {num_return_sequences}, expected 1 to {num_beams}: num_beams beams "
                         "end as so many texts")


def _check_settings(num_beams: int, max_new_tokens: int, length: int, context_length: int | None,
                    early_stopping: EarlyStopping) -> None:
    if not isinstance(early_stopping, bool) and early_stopping != "never":
        raise ValueError(f"early_stopping is {early_stopping!r}, expected True, False or 'never'")
    check_beams(num_beams)
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}, expected at least 1")
    # The last token is chosen and never read.
    if context_length is not None and length + max_new_tokens - 1 > context_length:
        raise ValueError(f"{length} prompt tokens and {max_new_tokens} new ones do not fit the model's context of "
                         f"{context_length}, and beam search does not slide; lower max_new_tokens")


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    largest = logits.max(axis=-1, keepdims=True)
    check_finite(largest[:, 0])
    logits = logits.astype(np.float64) - largest
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def _largest(scores: np.ndarray, n: int) -> np.ndarray:
    """The indices of the n largest scores, largest first; of equals, the lowest index first."""
    if n < len(scores):
        threshold = np.partition(scores, -n)[-n]
        chosen = np.flatnonzero(scores >= threshold)  # in order of index
    else:
        chosen = np.arange(len(scores))
    return chosen[np.argsort(-scores[chosen], kind="stable")][:n]


def _extend(
    sentence: BeamHypotheses, scores: np.ndarray, texts: list[list[int]], ends: frozenset[int], is_last: bool,
) -> list[tuple[float, int, int]]:
    """Extend the beams of one sentence by every token; set finished texts aside, return the best K that go on.

    Args:
        scores: (K, V), the log-probability of beam k followed by token v.
        texts: each beam's new tokens so far.
        is_last: True where every text ends.

    Returns:
        K of (log-probability, beam it extends, token), best first; fewer if every text has ended.
    """
    n_beams, n_vocab = scores.shape
    # Each beam has one way to end per end token, so among this many candidates at least K go on.
    candidates = _largest(scores.reshape(-1), max(2, 1 + len(ends)) * n_beams)
    beams: list[tuple[float, int, int]] = []
    for rank, index in enumerate(candidates):
        beam, token = divmod(int(index), n_vocab)
        log_probability = float(scores[beam, token])
        if token in ends or is_last:
            if rank < n_beams and log_probability > -np.inf:  # an end must be among the best K to count
                sentence.add(log_probability, texts[beam] + [token])
        elif len(beams) < n_beams:
            beams.append((log_probability, beam, token))
    return beams


def beam_hypotheses(
    step: Step, ids: np.ndarray, *, num_beams: int, max_new_tokens: int, length_penalty: float = 1.0,
    early_stopping: EarlyStopping = False, make_cache: MakeCache | None = None, context_length: int | None = None,
    attention_mask: np.ndarray | None = None, eos_token_id: int | Sequence[int] | None = None,
    rules: ApplyRules | None = None, renormalize: bool = False,
) -> list[BeamHypotheses]:
    """The best finished texts of each sentence; arguments as for `beam_search`."""
    ids, mask = check_prompt(ids, attention_mask)
    _check_settings(num_beams, max_new_tokens, int(mask.sum(axis=1).max()), context_length, early_stopping)
    ends = frozenset(as_list(eos_token_id))
    sentences = [BeamHypotheses(num_beams, length_penalty, early_stopping) for _ in ids]
    text = np.repeat(np.where(mask != 0, ids, -1), num_beams, axis=0)  # (B·K, T), for the rules
    visible = int(mask.sum(axis=1).max())
    window = np.repeat(ids[:, -visible:], num_beams, axis=0)  # (B·K, T)
    mask = np.repeat(mask[:, -visible:], num_beams, axis=0)
    unread = window
    cache = make_cache(len(window)) if make_cache is not None else None

    # All beams of a sentence begin as the same prompt: only the first may be extended, or they would stay the same.
    log_p = np.full((len(ids), num_beams), -np.inf)
    log_p[:, 0] = 0.0
    texts: list[list[list[int]]] = [[[] for _ in range(num_beams)] for _ in ids]  # new tokens of each beam
    for length in range(1, max_new_tokens + 1):
        padding = {} if mask.all() else {"attention_mask": mask}
        scores = _log_softmax(last_logits(step(unread, cache, **padding)))  # (B·K, V)
        if rules is not None:
            scores = rules(scores, text)
        if renormalize:
            scores = _log_softmax(scores)
        scores = log_p.reshape(-1, 1) + scores
        parents, tokens = np.arange(len(window)), np.zeros(len(window), dtype=np.int64)
        for b, sentence in enumerate(sentences):
            if sentence.done:
                continue
            rows = slice(b * num_beams, (b + 1) * num_beams)
            beams = _extend(sentence, scores[rows], texts[b], ends, is_last=length == max_new_tokens)
            if not beams:  # every text has ended
                sentence.done = True
                continue
            log_p[b] = [log_probability for log_probability, _, _ in beams]
            parents[rows] = [b * num_beams + beam for _, beam, _ in beams]
            tokens[rows] = [token for _, _, token in beams]
            texts[b] = [texts[b][beam] + [token] for _, beam, token in beams]
            sentence.update_done(log_p[b, 0], length, max_new_tokens)
        if length == max_new_tokens or all(sentence.done for sentence in sentences):
            break
        if cache is not None:
            cache.reorder(parents)
        text = text if rules is None else np.concatenate([text[parents], tokens[:, None]], axis=1)
        window = np.concatenate([window[parents], tokens[:, None]], axis=1)
        mask = np.concatenate([mask, np.ones_like(mask[:, :1])], axis=1)  # beams of a sentence share its padding
        unread = tokens[:, None] if make_cache is not None else window
    return sentences


def beam_search(
    step: Step, ids: np.ndarray, *, num_beams: int, max_new_tokens: int, length_penalty: float = 1.0,
    early_stopping: EarlyStopping = False, make_cache: MakeCache | None = None, context_length: int | None = None,
    attention_mask: np.ndarray | None = None, eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int | None = None, rules: ApplyRules | None = None, renormalize: bool = False,
    num_return_sequences: int = 1,
) -> np.ndarray:
    """Prompts (B, T) and the best continuation found of each, (B, T + new) int64; one beam is greedy decoding.

    The step sees B · num_beams rows from the start: row b · num_beams + k is beam k of sentence b. What it holds for
    each sentence beside the cache (an encoder's output) must be repeated likewise.

    Args:
        step, ids, attention_mask: as for `decode.stream`.
        num_beams: texts kept per sentence, >= 1.
        max_new_tokens: texts that have not ended by then end there; >= 1.
        length_penalty: above 0 favours long texts, 0 compares plain log-probabilities.
        early_stopping: when a sentence is done, see above: False, True or "never".
        make_cache: rows -> an empty cache, with a method `reorder(row_indices)` that makes row i what row
            `row_indices[i]` was; None decodes without one.
        context_length: how many tokens the step can see. Beams do not slide: prompt and new tokens must fit.
        eos_token_id: tokens that end a text; None for none.
        pad_token_id: what follows texts shorter than the longest; None takes the first end-of-sequence token, or 0.
        rules: (log-probabilities (B·K, V), ids so far (B·K, T), -1 at padding) -> what to score tokens by instead, such
            as -inf for those that must not be written (rules.py).
        renormalize: make log-probabilities of what the rules give: no text loses by what it must not write.
        num_return_sequences: how many continuations of each prompt, at most `num_beams`: (B · n, T + new), those of a
            prompt together, the best first.

    Raises:
        ValueError: a setting outside its range, a text that would outgrow the context, or fewer texts found than asked
            for (where the rules leave none).
    """
    check_beams(num_beams, num_return_sequences=num_return_sequences)
    sentences = beam_hypotheses(
        step, ids, num_beams=num_beams, max_new_tokens=max_new_tokens, length_penalty=length_penalty,
        early_stopping=early_stopping, make_cache=make_cache, context_length=context_length,
        attention_mask=attention_mask, eos_token_id=eos_token_id, rules=rules, renormalize=renormalize)
    if (found := min(len(sentence.finished) for sentence in sentences)) < num_return_sequences:
        raise ValueError(f"num_return_sequences is {num_return_sequences}, but only {found} texts can be written")
    best = [tokens for sentence in sentences for _, tokens in sentence.finished[:num_return_sequences]]
    if pad_token_id is None:
        pad_token_id = next(iter(as_list(eos_token_id)), 0)
    new = np.full((len(best), max(len(tokens) for tokens in best)), pad_token_id, dtype=np.int64)
    for row, tokens in enumerate(best):
        new[row, :len(tokens)] = tokens
    prompts = np.repeat(np.asarray(ids, dtype=np.int64), num_return_sequences, axis=0)
    return np.concatenate([prompts, new], axis=1)
