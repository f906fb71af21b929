"""Does a model repeat itself? Distinct n-grams, and texts that end in a loop.

Small models, and large ones decoded greedily, fall into loops: "and the cat and the cat and the cat". Loss does not
show it. Three figures do, on any sequences: words (the same for every tokenizer), or token ids.

Prerequisites: words.py, generation/decode.py. Next: continuations.py. Li et al., "A diversity-promoting objective
function" (2016), distinct-n; Welleck et al., "Neural text generation with unlikelihood training" (2020), repeated
n-grams.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass

from .words import runs, words

__all__ = ["Diversity", "distinct", "ends_in_loop", "measure_diversity", "repeated"]

Sequences = Sequence[Sequence[Hashable]]

REPEATS = 3  # a phrase that stands so often at the end of a text is a loop …
SPAN = 12    # … if that makes at least so many words: "no, no, no" is none


def distinct(sequences: Sequences, n: int) -> float | None:
    """distinct-n: different n-grams over all n-grams, in all sequences together; None if all are shorter than n.

    Depends on how much text there is, so compare equal amounts only.

    >>> distinct(["a b a b".split(), "a b".split()], n=1)
    0.3333333333333333
    """
    found = [ngram for sequence in sequences for ngram in runs(sequence, n)]
    return len(set(found)) / len(found) if found else None


def repeated(sequences: Sequences, n: int) -> float | None:
    """The share of a sequence's n-grams that it has had before, averaged over the sequences with at least one.

    >>> repeated(["a b a b a".split(), "a b c d".split()], n=2)
    0.25
    """
    found = [ngrams for ngrams in (runs(sequence, n) for sequence in sequences) if ngrams]
    return sum(1 - len(set(ngrams)) / len(ngrams) for ngrams in found) / len(found) if found else None


def ends_in_loop(sequence: Sequence[Hashable]) -> bool:
    """Whether it ends in a phrase said at least three times in a row, twelve elements or more in all.

    >>> ends_in_loop("I saw the red cat the red cat the red cat the red cat".split())
    True
    """
    for period in range(1, len(sequence) // REPEATS + 1):
        length = max(REPEATS * period, SPAN)
        end = sequence[-length:]
        if length <= len(sequence) and end[period:] == end[:-period]:
            return True
    return False


@dataclass(frozen=True)
class Diversity:
    """How varied generated texts are.

    Attributes:
        n_texts: how many there are.
        n_words: their mean length.
        distinct_1, distinct_2, distinct_3: see `distinct`.
        repeated_4: see `repeated`.
        loop_rate: the share of texts that end in a loop.
    """

    n_texts: int
    n_words: float
    distinct_1: float | None
    distinct_2: float | None
    distinct_3: float | None
    repeated_4: float | None
    loop_rate: float

    def to_dict(self) -> dict[str, int | float | None]:
        """The figures by name."""
        return asdict(self)


def measure_diversity(texts: Sequence[str]) -> Diversity:
    """The figures of generated texts, counted in words.

    Raises:
        ValueError: no texts.
    """
    if not texts:
        raise ValueError("diversity needs at least one text")
    sequences = [words(text) for text in texts]
    return Diversity(len(texts), sum(map(len, sequences)) / len(texts), distinct(sequences, 1), distinct(sequences, 2),
                     distinct(sequences, 3), repeated(sequences, 4), sum(map(ends_in_loop, sequences)) / len(texts))
