"""From logits to the next token: one small function per sampling strategy, and `sample`, which applies them in order.

A strategy takes logits (B, V) and returns new logits (B, V), with -inf for each token that it removes; the softmax of
what is left is what gets drawn from. The order is that of Hugging Face transformers: repetition penalty, temperature,
top-k, top-p, min-p. All this happens on the host, in NumPy, so that every device gives the same text.

Next: rules.py. Papers: Keskar et al., "CTRL" (2019) for the repetition penalty; Fan et al. (2018) for top-k;
Holtzman et al., "The curious case of neural text degeneration" (2020) for top-p; Nguyen et al. (2024) for min-p.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Sampling", "check_finite", "filter_logits", "greedy", "min_p", "repetition_penalty", "row_generators",
           "sample", "temperature", "top_k", "top_p"]


def check_finite(largest: np.ndarray) -> None:
    """Refuse logits that nothing can be drawn from, by the largest of each row, (B,): it must be a finite number.

    Raises:
        ValueError: it is NaN (as a maximum is where one logit is NaN) or infinite; the row is named.
    """
    finite = np.isfinite(largest)
    if not finite.all():
        row = np.argmin(finite)
        raise ValueError(f"the largest logit of row {row} is {largest[row]}, expected a finite number: the model's "
                         "weights are damaged or its activations overflow")


def _softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    return p


def repetition_penalty(logits: np.ndarray, seen: np.ndarray, penalty: float) -> np.ndarray:
    """Make tokens that stand in the text already less likely: positive logits / penalty, negative ones * penalty.

    Args:
        logits: (B, V).
        seen: (B, V) booleans, True where row b's text holds token v.
        penalty: > 0; 1 changes nothing, below 1 encourages repetition.
    """
    return np.where(seen, np.where(logits > 0, logits / penalty, logits * penalty), logits)


def temperature(logits: np.ndarray, value: float) -> np.ndarray:
    """Divide by the temperature, > 0: below 1 sharpens the distribution, above 1 flattens it."""
    return logits / value


def top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """Keep the k largest logits of each row, and what ties with the smallest of them; k >= 1."""
    if k >= logits.shape[-1]:
        return logits
    smallest = np.partition(logits, -k, axis=-1)[..., -k, None]  # (B, 1), the k-th largest
    return np.where(logits < smallest, -np.inf, logits)


def top_p(logits: np.ndarray, p: float) -> np.ndarray:
    """Keep the smallest set of most likely tokens whose probabilities sum to at least p, in (0, 1].

    A token stays if those before it, from the most likely down, have not reached p; so one token always stays. Among
    equal probabilities the lower id comes first.
    """
    if p >= 1.0:
        return logits
    order = np.argsort(-logits, axis=-1, kind="stable")
    probabilities = np.take_along_axis(_softmax(logits), order, axis=-1)
    before = np.cumsum(probabilities, axis=-1) - probabilities  # the mass ahead of each token
    removed = np.empty(logits.shape, dtype=bool)
    np.put_along_axis(removed, order, before >= p, axis=-1)
    return np.where(removed, -np.inf, logits)


def min_p(logits: np.ndarray, p: float) -> np.ndarray:
    """Keep tokens at least p times as likely as the most likely one; p in [0, 1]."""
    if p <= 0.0:
        return logits
    return np.where(logits < logits.max(axis=-1, keepdims=True) + math.log(p), -np.inf, logits)


def greedy(logits: np.ndarray) -> np.ndarray:
    """The most likely token of each row: (B, V) -> (B,). Of equals, the lowest id."""
    check_finite(logits.max(axis=-1))  # the maximum is NaN if there is one
    return logits.argmax(axis=-1)


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: >= 0; 0 is greedy: the most likely token, whatever the other settings filter.
        top_k: keep this many tokens, >= 1; None keeps all.
        top_p: keep the most likely tokens up to this mass, in (0, 1]; None keeps all.
        min_p: keep tokens at least this many times as likely as the best, in [0, 1]; None keeps all.
        repetition_penalty: > 0, 1 for none. It applies to greedy decoding too.

    Raises:
        ValueError: a setting outside its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0

    @classmethod
    def of(cls, settings):
        """Temporary."""
        return cls(**settings)

    @classmethod
    def among(cls, options):
        """Temporary."""
        mine = {k: v for k, v in options.items() if k in cls.__dataclass_fields__}
        return cls(**mine), {k: v for k, v in options.items() if k not in mine}

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}, expected a number of at least 0 (0 is greedy)")
        if self.top_k is not None and (not isinstance(self.top_k, (int, np.integer)) or self.top_k < 1):
            raise ValueError(f"top_k is {self.top_k}, expected a whole number of at least 1, or None for all tokens")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p is {self.top_p}, expected a number above 0 and at most 1, or None")
        if self.min_p is not None and not 0.0 <= self.min_p <= 1.0:
            raise ValueError(f"min_p is {self.min_p}, expected a number from 0 to 1, or None")
        if not 0.0 < self.repetition_penalty < math.inf:
            raise ValueError(f"repetition_penalty is {self.repetition_penalty}, expected a number above 0 (1 for none)")


def filter_logits(logits: np.ndarray, settings: Sampling) -> np.ndarray:
    """Temperature, top-k, top-p and min-p as `settings` ask for: (B, V) -> (B, V). The temperature is above 0."""
    logits = logits - logits.max(axis=-1, keepdims=True)  # the same softmax, and no temperature can overflow it
    if settings.temperature != 1.0:
        with np.errstate(over="ignore"):  # at most to -inf: a probability of zero
            logits = temperature(logits, settings.temperature)
    if settings.top_k is not None:
        logits = top_k(logits, settings.top_k)
    if settings.top_p is not None:
        logits = top_p(logits, settings.top_p)
    if settings.min_p is not None:
        logits = min_p(logits, settings.min_p)
    return logits


def _draw(probabilities: np.ndarray, generator: np.random.Generator) -> int:
    """Invert the cumulative distribution: the first token whose cumulative probability exceeds a uniform number."""
    cumulative = probabilities.cumsum()  # (V,)
    token = int(np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right"))
    return min(token, int(np.searchsorted(cumulative, cumulative[-1])))  # rounding cannot carry it past the last one


def sample(
    logits: np.ndarray, generators: Sequence[np.random.Generator], settings: Sampling = Sampling(),
    seen: np.ndarray | None = None,
) -> np.ndarray:
    """Draw one token for each row.

    Each row uses its own generator, once, so that what a row draws depends on no other row.

    Args:
        logits: (B, V), a floating-point host array.
        generators: B of them, from `row_generators`; greedy decoding leaves them alone.
        settings: the strategies.
        seen: (B, V) booleans for the repetition penalty; None where it is 1.

    Returns:
        Token ids (B,).

    Raises:
        ValueError: a row's logits hold NaN or +inf, or nothing but -inf.
    """
    if seen is not None:
        logits = repetition_penalty(logits, seen, settings.repetition_penalty)
    if settings.temperature == 0.0:
        return greedy(logits)
    check_finite(logits.max(axis=-1))  # the maximum is NaN if there is one
    probabilities = _softmax(filter_logits(logits.astype(np.float64), settings))
    return np.array([_draw(p, generator) for p, generator in zip(probabilities, generators, strict=True)])


def row_generators(seed: int | None, rows: int) -> list[np.random.Generator]:
    """A random generator for each row of a batch, from (seed, row); None draws a seed from the operating system.

    Row 0 draws the same numbers whatever the size of the batch: a prompt alone and the same prompt as the first row of
    a batch go on alike.

    Raises:
        ValueError: a negative seed.
    """
    if seed is None:
        seed = secrets.randbits(128)
    elif seed < 0:
        raise ValueError(f"seed is {seed}, expected a whole number of at least 0, or None")
    return [np.random.default_rng([seed, row]) for row in range(rows)]
