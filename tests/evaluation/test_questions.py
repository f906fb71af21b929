"""Questions after examples: which are shown, and that none is shown its own answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.evaluation import Question, with_shots

MANY = [Question(f"q{n}:", (f"a{n}", f"b{n}"), n % 2) for n in range(8)]


@given(st.integers(0, 7), st.integers(0, 100))
@settings(derandomize=True, max_examples=40)
def test_each_question_comes_after_others_with_their_right_answers(n_shots, seed):
    for question, shown in zip(MANY, with_shots(MANY, n_shots, seed)):
        *before, own = shown.context.split("\n\n")
        assert own == question.context and len(before) == n_shots
        assert question.solved not in before and set(before) <= {other.solved for other in MANY}
        assert (shown.choices, shown.answer) == (question.choices, question.answer)
    assert with_shots(MANY, n_shots, seed) == with_shots(MANY, n_shots, seed)


def test_contexts_that_differ_all_get_the_examples():
    two = Question(("Ann", "Eve"), ("waved.",) * 2, 1)
    assert with_shots([two, MANY[0]], 1)[0].context == ("q0: a0\n\nAnn", "q0: a0\n\nEve")
    assert two.solved == "Eve waved."


def test_too_few_questions():
    with pytest.raises(ValueError, match="8 examples before each question need 9 questions at least"):
        with_shots(MANY, 8)
    with pytest.raises(ValueError, match="--shots is -1"):
        with_shots(MANY, -1)
