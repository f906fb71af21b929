"""Answers that are written freely: the checks, and that each prompt is answered as it is alone."""

from __future__ import annotations

import pytest

from tinygpt.backend import manual_seed
from tinygpt.evaluation import CHECKS, Question, write_answers
from tinygpt.evaluation.free_answers import last_number
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE

TEXT = "Question: one and two are 3.\n\nAnswer: 18 stones. " * 5


@pytest.mark.parametrize("check, answer, gold, right", [
    ("number", "So she has $1,200.50 left.", "… #### 1200.5", True), ("number", "1200", "#### 1200.5", False),
    ("number", "none", "#### 1", False), ("number", "It was 3, then 4.", "#### 4", True),
    ("number", "-7.", "#### -7", True), ("exact", " Paris. ", "paris", True), ("exact", "In Paris", "Paris", False),
    ("pattern", "Oh yes!", r"\byes\b", True), ("pattern", "Oh no", r"\byes\b", False),
    ("pattern", "a" * 40 + "!", r"(a+)+$", False)])  # an expression that would search for years
def test_checks(check, answer, gold, right):
    assert CHECKS[check](answer, gold) is right


def test_last_numbers():
    assert [last_number(text) for text in ("", "a 1.", "3.5 and .25", "1,000,000", "x" * 20_000)] == [
        None, 1.0, 0.25, 1e6, None]


def test_each_question_is_answered_as_alone():
    tok = ByteBPE.train(TEXT, vocab_size=290)
    manual_seed(0)
    model = GPT(GPTConfig(vocab_size=len(tok), block_size=48, n_layer=1, n_head=2, n_embd=8, initializer_range=0.5))
    questions = [Question(context, ("18",), 0) for context in ("Question: one and two", "Answer:", "stones are 3 and")]
    together = write_answers(model, tok, questions, "number", max_new_tokens=9, batch_size=2)
    alone = [write_answers(model, tok, [question], "number", max_new_tokens=9).answers[0] for question in questions]
    assert together.answers == alone and together.right == [CHECKS["number"](answer, "18") for answer in alone]
    assert together.to_dict()["accuracy"] == sum(together.right) / 3
    with pytest.raises(ValueError, match="leaves no room for an answer in a context of 48; show fewer"):
        write_answers(model, tok, [Question("one and two " * 40, ("1",), 0)], "exact")
    with pytest.raises(ValueError, match="x.jsonl, line 3: the answer is no regular expression"):
        write_answers(model, tok, [Question("one", ("(",), 0, "x.jsonl, line 3")], "pattern")
    with pytest.raises(ValueError, match="at least one question"):
        write_answers(model, tok, [], "exact")
