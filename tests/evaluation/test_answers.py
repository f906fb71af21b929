"""Answers to conversations: each is what the model says to its prompt alone, and only equal ones count."""

from __future__ import annotations

import numpy as np
import pytest

import tinygpt
from tinygpt.data.chat_template import add_chat_template, chat_template
from tinygpt.evaluation.answers import answer_conversations, answer_prompts, exact_match, expected_answer
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import CharTokenizer

TEMPLATE = chat_template(add_chat_template(CharTokenizer.train("abc?! ")))


def chat(*texts):
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


CHATS = [chat("a?", "b!"), chat("abc?", "c"), chat("a?", "b", "c?", " abc "), chat("b", "aaaa"), chat("c" * 9, "")]


@pytest.fixture(scope="module")
def model():
    tinygpt.manual_seed(2)
    return GPT(GPTConfig(vocab_size=len(TEMPLATE.tokenizer), block_size=32, n_layer=1, n_head=2, n_embd=8,
                         initializer_range=0.5))


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_each_answer_is_that_of_its_prompt_alone(model, batch_size):
    model.train()
    found = answer_conversations(model, TEMPLATE, CHATS, batch_size=batch_size)
    assert model.training and any(found)
    for conversation, answer in zip(CHATS, found):
        prompt = TEMPLATE.prompt(conversation[:-1])
        row = model.eval().generate([prompt], 5, temperature=0.0, eos_token_id=None)[0, len(prompt):].tolist()
        ends = [place for place, token in enumerate(row) if token in TEMPLATE.stop_ids]
        alone = TEMPLATE.tokenizer.decode(row[:ends[0]] if ends else row).strip()
        assert alone.startswith(answer)
        assert len(answer) == len(alone) or len(answer) > len(expected_answer(conversation))


def test_only_what_is_equal_counts():
    assert [expected_answer(conversation) for conversation in CHATS] == ["b!", "c", "abc", "aaaa", ""]
    assert exact_match(["b!", "c", "abc", "aaa", "x"], CHATS) == 0.6
    assert exact_match(["b"], [chat("a", " b ", "c")]) == 1.0  # the last answer, whoever has the last word
    with pytest.raises(ValueError):
        exact_match([], [])
    with pytest.raises(ValueError):
        exact_match(["a"], CHATS)


def test_an_answer_longer_than_expected_is_wrong(model):
    """One token more than expected is written, so the expected answer with something behind it is not taken for it."""
    always = TEMPLATE.tokenizer.encode("a")[0]

    class Endless(GPT):
        def step(self, ids, cache=None, attention_mask=None):
            logits = np.zeros((np.asarray(ids).shape[0], len(TEMPLATE.tokenizer)), np.float32)
            logits[:, always] = 9
            return logits

    found = answer_conversations(Endless(model.config), TEMPLATE, [chat("b", "aaaa")])
    assert found == ["aaaaa"]


def test_giving_up_and_having_no_room(model):
    prompts = [TEMPLATE.prompt(conversation[:-1]) for conversation in CHATS]
    assert answer_prompts(model, TEMPLATE, prompts, [3] * 5, keep_going=lambda: False) == [""] * 5
    with pytest.raises(ValueError, match="leaves no room for an answer in a context of 32"):
        answer_conversations(model, TEMPLATE, [chat("a" * 40, "b")])
