"""What decides the next token upstairs: the strategies of sampling.py, two more, checked settings and checked logits.

The order is that of Hugging Face transformers: repetition penalty, temperature, top-k, top-p, min-p. All this happens
on the host, in NumPy, so that every device gives the same text.

Prerequisites: sampling.py. Next: rules.py. Papers: Keskar et al., "CTRL" (2019) for the repetition penalty; Nguyen et
al. (2024) for min-p.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from . import sampling
from .sampling import filter_logits, greedy, sample

__all__ = ["STRATEGIES", "Sampling", "check_finite", "choose", "min_p", "repetition_penalty"]


def min_p(logits: np.ndarray, p: float) -> np.ndarray:
    """Keep tokens at least p times as likely as the most likely one; p in [0, 1]."""
    if p <= 0.0:
        return logits
    return np.where(logits < logits.max(axis=-1, keepdims=True) + math.log(p), -np.inf, logits)


STRATEGIES = {**sampling.STRATEGIES, "min_p": min_p}  # what a new strategy needs: a row here, and a field of `Sampling`


def repetition_penalty(logits: np.ndarray, seen: np.ndarray, penalty: float) -> np.ndarray:
    """Make tokens that stand in the text already less likely: positive logits / penalty, negative ones * penalty.

    Args:
        logits: (B, V).
        seen: (B, V) booleans, True where row b's text holds token v.
        penalty: > 0; 1 changes nothing, below 1 encourages repetition.
    """
    return np.where(seen, np.where(logits > 0, logits / penalty, logits * penalty), logits)


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen: the one object that is passed from a model's `generate` down to `choose`.

    Attributes:
        temperature: >= 0; 0 is greedy: the most likely token, whatever the other settings filter.
        top_k: keep this many tokens, >= 1; None or 0 keeps all.
        top_p: keep the most likely tokens up to this mass, in (0, 1]; None keeps all.
        min_p: keep tokens at least this many times as likely as the best, in [0, 1]; None keeps all.
        repetition_penalty: > 0, 1 for none. It applies to greedy decoding too.
        no_repeat_ngram_size: no n-gram of this size is repeated, the prompt's included; 0 for no such rule, None for
            the configuration's (a GPT has none).
        min_new_tokens: before so many, no end-of-text token is chosen.
        suppress_tokens: ids that are never written, not even as an end; such as those for which the tokenizer has no
            token (rules.py, `absent`).

    Raises:
        ValueError: a setting outside its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int | None = None
    min_new_tokens: int = 0
    suppress_tokens: Sequence[int] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}, expected a number of at least 0 (0 is greedy)")
        if self.top_k is not None and (not isinstance(self.top_k, (int, np.integer)) or self.top_k < 0):
            raise ValueError(f"top_k is {self.top_k}, expected a whole number of at least 1, or None for all tokens "
                             "(0 too)")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p is {self.top_p}, expected a number above 0 and at most 1, or None")
        if self.min_p is not None and not 0.0 <= self.min_p <= 1.0:
            raise ValueError(f"min_p is {self.min_p}, expected a number from 0 to 1, or None")
        if not 0.0 < self.repetition_penalty < math.inf:
            raise ValueError(f"repetition_penalty is {self.repetition_penalty}, expected a number above 0 (1 for none)")
        for name in ("no_repeat_ngram_size", "min_new_tokens"):
            value = getattr(self, name)
            if not (value is None and name == "no_repeat_ngram_size") \
                    and (not isinstance(value, (int, np.integer)) or value < 0):
                raise ValueError(f"{name} is {value}, expected a whole number of at least 0")
        object.__setattr__(self, "top_k", self.top_k or None)  # the dataclass is frozen for everybody else
        object.__setattr__(self, "suppress_tokens", tuple(self.suppress_tokens))

    def repeated(self, n: int, *rows: Any) -> tuple[Any, ...]:
        """Each row of what a loop reads, n times, so that n texts can be drawn for it; None stays None.

        Raises:
            ValueError: n below 1, or above 1 where nothing is drawn.
        """
        if n < 1:
            raise ValueError(f"num_return_sequences is {n}, expected at least 1")
        if n > 1 and self.temperature == 0.0:
            raise ValueError(f"num_return_sequences is {n}, but at temperature 0 all texts are the same: draw them "
                             "with a temperature above 0, or search with num_beams")
        return tuple(row if n == 1 or row is None else np.repeat(np.asarray(row), n, axis=0) for row in rows)

    @classmethod
    def of(cls, settings: Mapping[str, Any], **defaults: Any) -> Self:
        """The sampling that a function was asked for by `**settings`, its further keyword arguments.

        >>> Sampling.of({"top_k": 5}, temperature=0.0)  # doctest: +ELLIPSIS
        Sampling(temperature=0.0, top_k=5, ...)

        Args:
            settings: names and values. defaults: what holds for names that are not among them, where that is not the
                default of the class.

        Raises:
            TypeError: a name that is no setting, as for any keyword argument that a function does not have.
            ValueError: a setting outside its range.
        """
        names = [field.name for field in fields(cls)]
        for name in settings:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=2)
                meant = f"; did you mean {' or '.join(near)}?" if near else f"; sampling is set by {', '.join(names)}"
                raise TypeError(f"unexpected keyword argument {name!r}{meant}")
        return cls(**{**defaults, **settings})


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


def choose(logits: np.ndarray, generators: Sequence[np.random.Generator], settings: Sampling = Sampling(),
           seen: np.ndarray | None = None) -> np.ndarray:
    """The next token of each row, as `settings` ask for.

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
    check_finite(logits.max(axis=-1))  # the maximum is NaN if there is one
    if seen is not None:
        logits = repetition_penalty(logits, seen, settings.repetition_penalty)
    if settings.temperature == 0.0:
        return greedy(logits)
    return sample(filter_logits(logits, vars(settings), STRATEGIES), generators)
