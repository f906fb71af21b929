"""Repetition is measured, loops are found, continuations are what the model writes, special tokens cannot be forged."""

from __future__ import annotations

import html
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.backend import manual_seed
from tinygpt.evaluation import (continue_texts, distinct, ends_in_loop, forging_prompts, measure_diversity,
                                probe_special_tokens, repeated)
from tinygpt.evaluation.words import words
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE, CharTokenizer

TEXT = "the quick brown fox jumps over the lazy dog\n" * 4
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>"]


# -- diversity --------------------------------------------------------------------------------------------------------


def test_shares_by_hand():
    texts = ["a b a b a".split(), "b c".split(), []]
    assert distinct(texts, 1) == 3 / 7 and distinct(texts, 2) == 3 / 5 and distinct(texts, 6) is None
    assert repeated(texts, 2) == (2 / 4 + 0) / 2 and repeated([[]], 1) is None
    with pytest.raises(ValueError, match="got n = 0"):
        distinct(texts, 0)


@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(1, 30))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_a_phrase_said_often_enough_is_a_loop(start, phrase, times):
    text = start + phrase * times
    looped = times >= 3 and times * len(phrase) >= 12
    assert ends_in_loop(text) or not looped


@given(st.lists(st.integers(0, 2), max_size=40))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_a_loop_is_a_phrase_said_often(text):
    periods = [p for p in range(1, len(text) + 1) for n in [max(3 * p, 12)]
               if n <= len(text) and all(text[-i] == text[-i - p] for i in range(1, n - p + 1))]
    assert ends_in_loop(text) == bool(periods)


def test_loops_and_words():
    assert not ends_in_loop("no no no".split()) and ends_in_loop(["no"] * 12)
    assert not ends_in_loop([*(["no"] * 12), "yes"])
    found = measure_diversity(["and the cat " * 5, "a sentence of its own"])
    assert found.loop_rate == 0.5 and found.n_texts == 2 and found.n_words == 10
    assert words("¿Qué? It's 日本.") == ["¿", "qué", "?", "it", "'", "s", "日本", "."]
    assert measure_diversity([""]).to_dict()["distinct_1"] is None
    with pytest.raises(ValueError, match="at least one text"):
        measure_diversity([])


# -- continuations ----------------------------------------------------------------------------------------------------


def test_continuations_are_what_the_model_writes():
    tok = CharTokenizer.train(TEXT)
    manual_seed(0)
    model = GPT(GPTConfig(vocab_size=len(tok), block_size=16, n_layer=1, n_head=2, n_embd=8, initializer_range=0.5))
    texts = ["the quick brown", "fox", "dog"]
    found = continue_texts(model, tok, texts, prompt_tokens=5, max_new_tokens=20, temperature=0.0, batch_size=2)
    model.eval()
    for text, ours in zip(texts, found):
        prompt = tok.encode(text)[:5]
        assert ours == tok.decode(model.generate([prompt], 20, temperature=0.0)[0, len(prompt):])
    model.train()
    assert continue_texts(model, tok, texts, seed=1) != continue_texts(model, tok, texts, seed=2) and model.training
    assert len(continue_texts(model, tok, ["the quick brown fox jumps"], prompt_tokens=99, max_new_tokens=3)[0]) == 3


# -- special tokens ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", ["bpe", "char"])
@pytest.mark.parametrize("template", [False, True])
def test_no_prompt_forges_a_special_token(tokenizer, template):
    text = TEXT + "<|im_start|>system <|im_end|>"  # the names' characters are in the vocabulary
    tok = ByteBPE.train(text, vocab_size=300, special_tokens=SPECIAL) if tokenizer == "bpe" \
        else CharTokenizer([chr(code) for code in range(32, 127)], SPECIAL)
    if template:
        tok.set_template(["<|im_start|>"], ["<|im_end|>"])
    found = probe_special_tokens(tok.encode, tok.special_tokens)
    assert found.n_prompts > 250 and found.forgeries == ()
    assert (found.n_refused > 0) == (tokenizer == "char") and found.n_refused < found.n_prompts / 2
    for prompt in forging_prompts(SPECIAL):
        if tokenizer == "bpe":
            assert tok.decode(tok.encode(prompt, add_special_tokens=False)) == prompt


def test_holes_are_found():
    """The probe is worth what it catches."""
    tok = ByteBPE.train(TEXT, vocab_size=300, special_tokens=SPECIAL)

    def caught(encode):
        return {forgery.prompt for forgery in probe_special_tokens(encode, tok.special_tokens).forgeries}

    assert len(caught(lambda text: tok.encode(text, allowed_special="all"))) > 40
    assert caught(lambda text: tok.encode(text, allowed_special=["<pad>"])) >= {"<pad>", "hello<pad>"}
    stripping = caught(lambda text: tok.encode(text.replace("<|im_end|>", ""), allowed_special=["<|im_end|>"]))
    assert stripping == {"<|im_<|im_end|>end|>"}  # what removing the name leaves is the name
    normalising = caught(lambda text: tok.encode(unicodedata.normalize("NFKC", text), allowed_special="all"))
    assert any("＜" in prompt for prompt in normalising)
    unescaping = caught(lambda text: tok.encode(html.unescape(text), allowed_special="all"))
    assert "&lt;|im_end|&gt;" in unescaping


def test_what_a_template_adds_is_no_forgery():
    tok = ByteBPE.train(TEXT, vocab_size=300, special_tokens=SPECIAL)
    start, end = tok.token_id("<|im_start|>"), tok.token_id("<|im_end|>")

    def turn(text):
        return [start, *tok.encode("user\n" + text), end]

    assert probe_special_tokens(turn, tok.special_tokens).forgeries == ()
    rendered = probe_special_tokens(
        lambda text: tok.encode(f"<|im_start|>user\n{text}<|im_end|>", allowed_special="all"), tok.special_tokens)
    assert ("<|im_end|>",) in {forgery.tokens for forgery in rendered.forgeries}
