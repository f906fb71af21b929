"""Few-shot prompts: what they hold, what goes when they are too long, and what cannot be written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.few_shot import FewShot

SHOTS = [("sea", "mar"), ("sun", "sol"), ("sand", "arena")]
text = st.text(alphabet="ab {}input\n", max_size=5)


def test_zero_one_and_few():
    shots = FewShot("{input} -> {output}\n")
    assert shots.prompt([], "house") == "house ->"
    assert shots.prompt(SHOTS[:1], "house") == "sea -> mar\nhouse ->"
    assert shots.prompt(SHOTS, "house") == "sea -> mar\nsun -> sol\nsand -> arena\nhouse ->"
    assert shots.stop == "\n" and FewShot("{input}={output}").stop is None
    assert FewShot().prompt(SHOTS[:1], "house") == "Input: sea\nOutput: mar\n\nInput: house\nOutput:"


def test_a_chat_model_gets_turns():
    shots = FewShot("{input} -> {output}\n", instruction="Translate.\n")
    assert shots.prompt([], "a").startswith("Translate.\na ->")
    assert shots.messages(SHOTS[:1], "house") == [
        {"role": "system", "content": "Translate."}, {"role": "user", "content": "sea"},
        {"role": "assistant", "content": "mar"}, {"role": "user", "content": "house"}]
    assert FewShot().messages([], "house") == [{"role": "user", "content": "house"}]


@given(st.lists(st.tuples(text, text), max_size=5), text, st.integers(0, 80))
def test_the_last_examples_that_fit_are_shown(shots, query, limit):
    format = FewShot("Q: {input}\nA: {output}\n")
    whole = format.prompt(shots, query)
    assert whole == "".join(f"Q: {a}\nA: {b}\n" for a, b in shots) + f"Q: {query}\nA:"  # braces in a text are text
    try:
        short = format.prompt(shots, query, fits=lambda prompt: len(prompt) <= limit)
    except ValueError as error:
        assert "does not fit even without examples" in str(error) and len(format.prompt([], query)) > limit
        return
    assert whole.endswith(short) and len(short) <= limit
    kept = next(n for n in range(len(shots) + 1) if format.prompt(shots[len(shots) - n:], query) == short)
    assert kept == len(shots) or len(format.prompt(shots[len(shots) - kept - 1:], query)) > limit


@pytest.mark.parametrize("example", ["", "{input}", "{output}", "{output} {input}", "{input} {input} {output}",
                                     "{input} {output} {output}"])
def test_examples_that_cannot_be_written(example):
    with pytest.raises(ValueError, match="each once"):
        FewShot(example)
