"""Chat: history, what goes when the context is full, seeds, and answers that are given up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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


# -- what is read again -----------------------------------------------------------------------------------------------


class Counting(GPT):
    """A GPT that counts the tokens that it reads in a step."""

    def step(self, ids, cache=None, attention_mask=None):
        self.read = getattr(self, "read", 0) + np.shape(ids)[1]
        return super().step(ids, cache, attention_mask)


def real_model(block_size=64, n_vocab=None, **settings):
    tinygpt.manual_seed(3)
    model = Counting(GPTConfig(vocab_size=n_vocab or len(TOK), block_size=block_size, n_layer=2, n_head=2, n_embd=16,
                               **settings)).eval()
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data *= 15  # so that what it says depends on what it has read
    return model


@pytest.mark.parametrize("settings", [dict(), dict(positions="rotary", window=8),
                                      dict(architecture="llama", n_kv_head=1)],
                         ids=["plain", "window", "grouped"])
def test_answers_do_not_depend_on_what_was_read_before(settings):
    """Each turn gives what a chat gives that knows the history only as messages."""
    model, questions = real_model(**settings), ["a?", "bc", "hgf e", "a", "", "d d", "ab" * 9, "c", "gg"] * 4
    chat = Chat(model, TOK, system="be", max_new_tokens=8, seed=0)
    for number, text in enumerate(questions):
        fresh = Chat(model, TOK, system="be", max_new_tokens=8, seed=number)
        fresh.history = list(chat.history)
        assert said(fresh, text) == said(chat, text)
    assert sum(len(message["content"]) for message in chat.history[1::2]) > 20 and chat.forgotten


def test_a_turn_reads_what_is_new():
    model = real_model(block_size=512)
    chat = Chat(model, TOK, system="be", max_new_tokens=3, temperature=0.0)
    read = []
    for _ in range(30):
        before = getattr(model, "read", 0)
        said(chat, "ab")
        read.append(model.read - before)
    assert max(read) <= 10  # the question and its marks, the answer, and what ends it


def test_a_thousand_turns_prepare_as_much_as_a_few(monkeypatch):
    """Neither what is tokenized nor what is read in a turn grows with the conversation."""
    model = Counting(GPTConfig(vocab_size=len(TOK), block_size=48, n_layer=1, n_head=1, n_embd=4)).eval()
    chat, tokenized = Chat(model, TOK, max_new_tokens=2, temperature=2.0, seed=0), []
    render = type(chat.template.format).render

    def counting(self, messages, *args):
        tokenized[-1] += len(messages)
        return render(self, messages, *args)

    monkeypatch.setattr(type(chat.template.format), "render", counting)
    for _ in range(1000):
        tokenized.append(0)
        model.read = 0
        said(chat, "a")
        assert model.read < 60 and tokenized[-1] < 60
    assert len(chat.history) > 500 and chat.forgotten > 200


def test_a_long_context_is_not_read_again_each_turn():
    model = Counting(GPTConfig(vocab_size=len(TOK), block_size=1024, n_layer=1, n_head=1, n_embd=4)).eval()
    chat = Chat(model, TOK, system="be", max_new_tokens=8, temperature=2.0, seed=0)
    model.read = 0
    for _ in range(300):
        said(chat, "abcdefgh" * 3)
    assert chat.forgotten > 100 and model.read < 300 * 100
    assert chat.history[-2]["content"] == "abcdefgh" * 3


def test_a_template_that_rewrites_history():
    """Reasoning is taken out of earlier answers: what was read is reused as far as it is the same."""
    tok = CharTokenizer.train("abcdefgh ?/<>think").with_special_tokens(["<|u|>", "<|a|>", "<|e|>"], eos_token="<|e|>")
    tok.chat_template = ("{% for m in messages %}{% if m.role == 'user' %}<|u|>{{ m.content }}<|e|>{% else %}"
                         "<|a|>{{ m.content.split('</think>')[-1] }}<|e|>{% endif %}{% endfor %}"
                         "{% if add_generation_prompt %}<|a|>{% endif %}")
    model = real_model(block_size=128, n_vocab=len(tok))
    chat = Chat(model, tok, max_new_tokens=6, temperature=0.0)
    said(chat, "a")
    chat.history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "abc</think>def"}]
    fresh = Chat(model, tok, max_new_tokens=6, temperature=0.0)
    fresh.history = list(chat.history)
    assert said(chat, "b") == said(fresh, "b")


def test_a_model_that_moves_is_read_to_again():
    model = real_model()
    chat = Chat(model, TOK, max_new_tokens=4, temperature=0.0)
    said(chat, "a")
    model.to(dtype="float64")
    assert isinstance(said(chat, "b"), str)


# -- several answers at once ------------------------------------------------------------------------------------------


def test_an_older_answer_does_not_undo_newer_history():
    model = Scripted([*TOK.encode("a"), *answers("gh"), *TOK.encode("b")])
    chat = Chat(model, TOK, temperature=0.0)
    older = chat.ask("a")
    assert next(older) == "a"
    assert said(chat, "b") == "gh"
    newer = list(chat.history)
    older.close()
    assert chat.history == newer == [{"role": "user", "content": "b"}, {"role": "assistant", "content": "gh"}]
    assert not chat.cut


def test_an_older_answer_does_not_undo_a_reset():
    chat = Chat(Scripted(answers("abc", "d")), TOK, temperature=0.0)
    older = chat.ask("a")
    next(older)
    chat.reset()
    older.close()
    assert chat.history == [] and chat.forgotten == 0
    chat.model.says = answers("d")
    assert said(chat, "e") == "d" and len(chat.history) == 2


def test_a_newer_answer_counts_after_an_older_one():
    chat = Chat(Scripted([*TOK.encode("a"), *TOK.encode("b"), END]), TOK, temperature=0.0)
    older, newer = chat.ask("a"), chat.ask("b")
    next(older), next(newer)
    older.close()
    assert list(newer) == []
    assert [message["content"] for message in chat.history] == ["a", "a", "b", "b"]


def test_threads_do_not_share_what_is_read():
    """Answers of one chat at the same time are those that each gets alone."""
    model = real_model()
    alone = {text: said(Chat(model, TOK, max_new_tokens=12, temperature=0.0), text) for text in "abcdefgh"}
    chat = Chat(model, TOK, max_new_tokens=12, temperature=0.0)
    asked = {text: chat.ask(text) for text in alone}  # none of them knows of the others
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(asked, pool.map("".join, asked.values())))
    assert found == alone
