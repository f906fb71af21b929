"""Rewards: functions by name, sums of them, reward models, and what a text may not make them do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygpt
from tinygpt.data.preferences import Prompt
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import CharTokenizer
from tinygpt.training.rewards import REWARDS, Reward, Rewards, exact, length, matches, number, similar

ASKED = Prompt("a line", [{"role": "user", "content": "Hi?"}], "72")


@given(st.text(max_size=30))
def test_what_is_the_same_is_exact_whatever_space_stands_around_it(text) -> None:
    assert exact(f" {text}\n", text) == 1.0 and exact(text + "x", text) == 0.0
    assert length(text, "") == len(text) / 100


@pytest.mark.parametrize("answer, expected, worth", [
    ("so it is 72.", "#### 72", 1), ("72 or 73", "72", 0), ("1,000", "1000", 1), ("-5", "5", 0), ("2.50", "2.5", 1),
    ("none", "72", 0), ("72", "none", 0), ("9" * 400, "9", 0)])
def test_the_last_number_counts(answer, expected, worth) -> None:
    assert number(answer, expected) == worth


@pytest.mark.parametrize("answer, expected, worth", [
    ("TOMILA", "TOMILA", 1), ("TOMIR", "TOMILA", 4 / 6), (" 45\n", "45", 1), ("4", "45", 0.5), ("OMILA", "TOMILA", 0),
    ("45 45", "45", 0.4), ("", "45", 0), ("", "", 0)])
def test_a_similar_answer_is_worth_a_part(answer, expected, worth) -> None:
    assert similar(answer, expected) == pytest.approx(worth)


def test_a_pattern_is_searched_for(monkeypatch) -> None:
    assert matches("it is yes", r"\byes\b") == 1 and matches("eyes", r"\byes\b") == 0
    with pytest.raises(ValueError, match="is no regular expression"):
        matches("a", "(")

    def endless(pattern, text, timeout):
        assert timeout == 1.0
        raise TimeoutError

    monkeypatch.setattr("regex.search", endless)
    with pytest.raises(ValueError, match="needs more than 1 s"):
        matches("aab", "^(a|a|a?)+$")


def test_a_sum_has_parts_and_weights() -> None:
    rewards = Rewards("exact,length=-0.5")
    parts = rewards([ASKED, ASKED], ["72", "7"])
    assert parts.tolist() == [[1.0, 0.02], [0.0, 0.01]] and rewards.names == ["exact", "length"]
    np.testing.assert_allclose(rewards.total(parts), [0.99, -0.005])


@pytest.mark.parametrize("spec, about", [
    ("nothing", "no reward 'nothing': it is one of exact, similar, number, regex, length, or the folder"),
    ("", "no reward ''"), ("exact,exact=2", "names a part twice"), ("exact=much", "the weight 'much' is no number"),
    ("exact=inf", "must be finite"), ("os:system", "no reward 'os:system'")])
def test_what_names_no_reward(spec, about) -> None:
    with pytest.raises(ValueError, match=about):
        Rewards(spec)


def test_a_program_adds_a_function_by_name(monkeypatch) -> None:
    monkeypatch.setitem(REWARDS, "polite", Reward(lambda answer, expected: float("please" in answer)))
    rewards = Rewards("polite")
    rewards.check(ASKED._replace(expected=""))
    assert rewards([ASKED, ASKED], ["please", "no"]).tolist() == [[1.0], [0.0]]
    monkeypatch.setitem(REWARDS, "polite", Reward(lambda answer, expected: float("nan")))
    with pytest.raises(ValueError, match="the reward polite of the answer 'no' is nan"):
        Rewards("polite")([ASKED], ["no"])


def test_questions_that_no_answer_can_be_right_to_are_refused_with_their_line() -> None:
    with pytest.raises(ValueError, match="a line: the reward exact needs an expected answer"):
        Rewards("exact").check(ASKED._replace(expected=""))
    with pytest.raises(ValueError, match=r"a line: '\(' is no regular expression"):
        Rewards("regex").check(ASKED._replace(expected="("))
    Rewards("length").check(ASKED._replace(expected=""))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A reward model, and a model that is none."""
    folder = tmp_path_factory.mktemp("judges")
    tokenizer = CharTokenizer.train("Hi? 123", special_tokens=["</s>"])
    sizes = dict(vocab_size=len(tokenizer), block_size=8, n_layer=1, n_head=1, n_embd=4)
    for name, more in (("judge", dict(head="classification", n_labels=1)), ("writer", {})):
        tinygpt.manual_seed(1)
        GPT(GPTConfig(**sizes, **more)).save_pretrained(folder / name, tokenizer)
    return folder


def test_a_reward_model_is_a_reward(folders) -> None:
    rewards = Rewards(f"{folders / 'judge'}=2,length")
    parts = rewards([ASKED] * 3, ["1", "2", "1"])
    assert rewards.names == ["model", "length"] and parts.shape == (3, 2)
    assert parts[0, 0] == parts[2, 0] != parts[1, 0] and len(rewards.fingerprints()) == 1
    np.testing.assert_allclose(rewards.total(parts), 2 * parts[:, 0] + parts[:, 1])
    with pytest.raises(ValueError, match="a question with its answer has 14 tokens, and the context"):
        rewards([ASKED], ["1" * 10])
    with pytest.raises(ValueError, match="a reward model has a head with one label"):
        Rewards(str(folders / "writer"))
