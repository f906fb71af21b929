"""Chat: history, what goes when the context is full, seeds, and answers that are given up."""

from __future__ import annotations

import numpy as np
import pytest

import tinygpt
from tinygpt.chat import Chat
from tinygpt.data.chat_template import add_chat_template, chat_template
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE, CharTokenizer

TOK = add_chat_template(CharTokenizer.train("abcdefgh ?"))
END = TOK.token_id("<|end|>")


class Scripted(GPT):
    """A GPT whose logits say fixed ids, one after the other, and which remembers its prompts."""

    def __init__(self, says, block_size=64):
        super().__init__(GPTConfig(vocab_size=len(TOK), block_size=block_size, n_layer=1, n_head=1, n_embd=4))
        self.says, self.prompts = list(says), []

    def step(self, ids, cache=None, attention_mask=None):
        ids = np.asarray(ids)
        if ids.shape[1] > 1:
            self.prompts.append(ids[0].tolist())
        logits = np.full((1, len(TOK)), -10.0, np.float32)
        logits[0, self.says.pop(0)] = 10.0
        return logits


def answers(*texts):
    return [i for text in texts for i in [*TOK.encode(text), END]]


def said(chat, text):
    return "".join(chat.ask(text))


def test_every_answer_sees_the_conversation_so_far():
    model = Scripted(answers("ab", "", "gh?"))
    chat = Chat(model, TOK, system="be", temperature=0.0)
    assert [said(chat, text) for text in ("a?", "b?", "c?")] == ["ab", "", "gh?"]
    decoded = [TOK.decode(prompt) for prompt in model.prompts]
    assert decoded[0] == "<|system|>be<|end|><|user|>a?<|end|><|assistant|>"
    assert decoded[1] == decoded[0] + "ab<|end|><|user|>b?<|end|><|assistant|>"
    assert decoded[2] == decoded[1].replace("b?", "c?")  # nothing was answered, so the question is gone as well
    assert [message["content"] for message in chat.history] == ["a?", "ab", "c?", "gh?"]
    chat.reset()
    model.says += answers("d")
    assert said(chat, "e") == "d" and TOK.decode(model.prompts[-1]) == decoded[0].replace("a?", "e")


@pytest.mark.parametrize("name", ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"])
def test_an_answer_ends_at_any_turn_token(name):
    chat = Chat(Scripted([*TOK.encode("ab"), TOK.token_id(name), *TOK.encode("cd")]), TOK, temperature=0.0)
    assert said(chat, "?") == "ab" and not chat.cut
    assert chat.history[-1] == {"role": "assistant", "content": "ab"}


def test_the_oldest_turns_go_first():
    model = Scripted(answers(*"abcdefgh"), block_size=40)
    chat = Chat(model, TOK, system="be", max_new_tokens=10, temperature=0.0)
    left_out = []
    for text in "hgfedcba":
        said(chat, text)
        left_out.append(chat.forgotten)
    # system 4 tokens; each turn of the past 6, the question with the answer's beginning 4; 30 fit beside the answer
    assert left_out == [0, 0, 0, 0, 1, 2, 3, 4]
    assert [len(prompt) for prompt in model.prompts] == [8, 14, 20, 26, 26, 26, 26, 26]
    assert TOK.decode(model.prompts[-1]) == ("<|system|>be<|end|>" + "".join(
        f"<|user|>{question}<|end|><|assistant|>{answer}<|end|>" for question, answer in ("de", "cf", "bg"))
        + "<|user|>a<|end|><|assistant|>")
    assert len(chat.history) == 16  # all of it is remembered here; the prompt is what is short


def test_a_message_that_does_not_fit_alone():
    model = Scripted(answers("a", "b"), block_size=20)
    chat = Chat(model, TOK, temperature=0.0)
    said(chat, "a")
    with pytest.raises(ValueError, match="too long: .* has 33 tokens, .* context holds 20"):
        chat.ask("a" * 30)
    assert len(chat.history) == 2 and said(chat, "c") == "b"
    with pytest.raises(ValueError, match="lacks the character 'z'"):
        chat.ask("z")


def test_an_answer_that_the_context_cuts():
    model = Scripted(TOK.encode("abcdefgh" * 3), block_size=20)
    chat = Chat(model, TOK, temperature=0.0)
    assert said(chat, "a" * 10) == "abcdefg" and chat.cut  # 13 tokens of 20 are the prompt's
    chat = Chat(Scripted(TOK.encode("abcdefgh")), TOK, max_new_tokens=3, temperature=0.0)
    assert said(chat, "a") == "abc" and chat.cut
    chat = Chat(Scripted(answers("abc")), TOK, max_new_tokens=4, temperature=0.0)
    assert said(chat, "a") == "abc" and not chat.cut


def test_an_answer_that_is_given_up_counts_as_far_as_it_came():
    chat = Chat(Scripted(answers("abcd")), TOK, temperature=0.0)
    pieces = chat.ask("a")
    assert next(pieces) + next(pieces) == "ab"
    pieces.close()
    assert [message["content"] for message in chat.history] == ["a", "ab"]
    chat.ask("b")  # never asked for an answer
    assert len(chat.history) == 2


def test_seeds():
    tinygpt.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=len(TOK), block_size=64, n_layer=1, n_head=1, n_embd=4))

    def talk(seed):
        chat = Chat(model, TOK, seed=seed, max_new_tokens=20)
        return [said(chat, "a") for _ in range(3)]

    assert talk(1) == talk(1) != talk(2) and len(set(talk(1))) > 1


def test_streamed_characters_are_whole():
    tok = add_chat_template(ByteBPE.train("é", vocab_size=256))
    template = chat_template(tok)
    tinygpt.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=len(tok), block_size=32, n_layer=1, n_head=1, n_embd=4))
    steps = iter([*tok.encode("é€"), template.end_id])

    def step(ids, cache=None, attention_mask=None):
        logits = np.full((1, len(tok)), -10.0)
        logits[0, next(steps)] = 10.0
        return logits

    model.step = step
    assert list(Chat(model, tok, temperature=0.0).ask("a")) == ["é", "€"]


@pytest.mark.parametrize("settings, message", [
    (dict(max_new_tokens=0), "max_new_tokens is 0"), (dict(seed=-1), "seed is -1"),
    (dict(temperature=-1.0), "temperature is -1"), (dict(top_k=-1), "top_k is -1"),
])
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Chat(Scripted([]), TOK, **settings)


def test_other_tokenizers():
    with pytest.raises(ValueError, match="no chat template"):
        Chat(Scripted([]), CharTokenizer.train("ab"))
    with pytest.raises(ValueError, match="of another model: it has 260 tokens, and the model 14"):
        Chat(Scripted([]), add_chat_template(ByteBPE.train("ab", vocab_size=256)))
