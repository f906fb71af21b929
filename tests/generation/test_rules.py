"""What must and must not be written: each rule against its plain definition, and their order."""

import numpy as np
from hypothesis import given, strategies as st

from tinygpt.generation import Rules
from tinygpt.generation.rules import force, no_repeated_ngrams, suppress


def allowed(scores):
    return [set(np.flatnonzero(row > -np.inf).tolist()) for row in scores]


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 12))
def test_no_ngram_occurs_twice(seed, n, t):
    ids = np.random.default_rng(seed).integers(0, 4, (3, t))
    scores = np.zeros((3, 4))
    no_repeated_ngrams(scores, ids, n)
    for row, text in zip(allowed(scores), ids.tolist()):
        before = {tuple(text[at:at + n]) for at in range(t - n + 1)}
        assert row == {token for token in range(4) if tuple((text + [token])[t + 1 - n:]) not in before or t < n}


def test_suppressed_and_forced():
    scores = np.zeros((2, 5))
    suppress(scores, [1, 4])
    assert allowed(scores) == [{0, 2, 3}] * 2
    force(scores, 4)
    assert allowed(scores) == [{4}] * 2
    suppress(scores, [])
    assert allowed(scores) == [{4}] * 2


def test_their_order():
    """Ends stay possible though suppressed, but not before the least length; what is forced has the last word."""
    rules = Rules(max_length=5, suppressed=(0, 1), ends=(0,), min_length=3, forced_first=1, forced_last=0,
                  no_repeat_ngram_size=1)
    seen = [allowed(rules(np.zeros((1, 6)), np.array([ids])))[0] for ids in ([2], [2, 1], [2, 1, 3], [2, 1, 3, 4])]
    assert seen == [{1}, {3, 4, 5}, {0, 4, 5}, {0}]
