"""Choosing the next token: the most likely one, or one drawn from what some strategies keep.

A strategy takes logits (B, V), B rows of a vocabulary of V, and a setting; it returns logits with -inf for each token
that it removes. The softmax of what is left is what gets drawn from.

Prerequisites: ops/loss.py, for what logits are. Next: loop.py. Upstairs: strategies.py, more of them, and checks.
Papers: Fan et al. (2018) for top-k; Holtzman et al., "The curious case of neural text degeneration" (2020) for top-p.
"""

from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["STRATEGIES", "filter_logits", "greedy", "row_generators", "sample", "sampler", "softmax", "temperature",
           "top_k", "top_p"]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities proportional to exp(logits) along the last axis; the shift by the maximum avoids overflow."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def greedy(logits: np.ndarray) -> np.ndarray:
    """The most likely token of each row: (B, V) -> (B,). Of equals, the lowest id."""
    return logits.argmax(axis=-1)


def temperature(logits: np.ndarray, value: float) -> np.ndarray:
    """Divide by the temperature, > 0: below 1 sharpens the distribution, above 1 flattens it."""
    with np.errstate(over="ignore"):  # logits of at most 0 can only reach -inf, a probability of zero
        return logits / value


def top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """Keep the k largest logits of each row, and what ties with the smallest of them; k >= 1."""
    if k >= logits.shape[-1]:
        return logits
    smallest = np.partition(logits, -k, axis=-1)[..., -k, None]  # (B, 1), the k-th largest
    return np.where(logits < smallest, -np.inf, logits)


def top_p(logits: np.ndarray, p: float) -> np.ndarray:
    """Keep the smallest set of most likely tokens whose probabilities sum to at least p, in (0, 1].

    A token stays if those before it have not reached p; so one always stays. Of equals, the lower id comes first.
    """
    if p >= 1.0:  # what rounding makes of the sum must remove nothing
        return logits
    order = np.argsort(-logits, axis=-1, kind="stable")
    probabilities = np.take_along_axis(softmax(logits), order, axis=-1)
    before = np.cumsum(probabilities, axis=-1) - probabilities  # the mass ahead of each token
    removed = np.empty(logits.shape, dtype=bool)
    np.put_along_axis(removed, order, before >= p, axis=-1)
    return np.where(removed, -np.inf, logits)


STRATEGIES = {"temperature": temperature, "top_k": top_k, "top_p": top_p}  # they apply in this order


def filter_logits(logits: np.ndarray, settings: dict, strategies: dict = STRATEGIES) -> np.ndarray:
    """Apply each strategy that `settings` have a number for: (B, V) -> (B, V) float64."""
    logits = logits.astype(np.float64)
    logits = logits - logits.max(axis=-1, keepdims=True)  # the same softmax, and no temperature can overflow it
    for name, strategy in strategies.items():
        if settings.get(name) is not None:
            logits = strategy(logits, settings[name])
    return logits


def sample(logits: np.ndarray, generators: Sequence[np.random.Generator]) -> np.ndarray:
    """Draw a token for each row, (B, V) -> (B,): the first whose cumulative probability exceeds a uniform number."""
    tokens = []
    for p, generator in zip(softmax(logits), generators, strict=True):
        cumulative = p.cumsum()  # (V,)
        token = np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right")
        tokens.append(min(token, np.searchsorted(cumulative, cumulative[-1])))  # rounding cannot pass the last one
    return np.array(tokens)


def row_generators(seed: int | None, rows: int) -> list[np.random.Generator]:
    """A random generator for each row, from (seed, row), so that what a row draws depends on no other row."""
    if seed is not None and seed < 0:
        raise ValueError(f"seed is {seed}, expected a whole number of at least 0, or None")
    seed = int(np.random.default_rng().integers(2**63)) if seed is None else seed  # None: from the operating system
    return [np.random.default_rng([seed, row]) for row in range(rows)]


def sampler(seed: int | None = None, **settings: float) -> Callable[[np.ndarray], np.ndarray]:
    """What `generate` takes to choose with: a function that draws a token for each row, (B, V) -> (B,).

    >>> choose = sampler(seed=1, temperature=0.8, top_k=2)
    >>> choose(np.log([[0.1, 0.3, 0.6]]))
    array([2])
    """
    if unknown := settings.keys() - STRATEGIES.keys():
        raise TypeError(f"there is no sampling strategy {unknown}; there are {list(STRATEGIES)}")
    generators: list[np.random.Generator] = []

    def choose(logits: np.ndarray) -> np.ndarray:
        if settings.get("temperature") == 0.0:  # the limit: all mass on the most likely token
            return greedy(logits)
        if not generators:  # at the first step, which tells how many rows there are
            generators.extend(row_generators(seed, len(logits)))
        return sample(filter_logits(logits, settings), generators)
    return choose
