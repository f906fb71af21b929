"""Multiple choice, minimal pairs and last words: by likelihoods taken one at a time, and by pseudo-likelihood."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from test_likelihood import nats_of, tiny

from tinygpt import ops
from tinygpt.backend import manual_seed
from tinygpt.data import IGNORE
from tinygpt.evaluation import (Question, TextScores, answer_questions, guess_last_words, multiple_choice,
                                read_questions)
from tinygpt.evaluation.text_pairs import encode_pair, score_texts
from tinygpt.models import BERT, BERTConfig
from tinygpt.tokenizers import ByteBPE, CharTokenizer


def test_answers_by_the_four_rules():
    """Against likelihoods taken one choice at a time."""
    text = "why do cats sleep all day? because they hunt at night. dogs bark. éé\n"
    tok = ByteBPE.train(text * 3, vocab_size=300)
    model = tiny(len(tok), 64)
    rng = np.random.default_rng(5)
    words = text.split()

    def say(n_words: int) -> str:
        return " ".join(rng.choice(words, n_words))

    questions = [Question(say(3), tuple(say(n) for n in (1, 2, 4, 3)[:k]), int(rng.integers(k)))
                 for k in rng.integers(2, 5, size=40)]
    found = answer_questions(model, tok, questions, batch_size=7)
    right = {"raw": 0, "per_character": 0, "per_byte": 0, "per_token": 0}
    for q in questions:
        context = tok.encode(q.context)
        endings = [tok.encode(q.context + " " + choice)[len(context):] for choice in q.choices]
        cost = np.array([sum(nats_of(model, [*context, *e][:-1], [IGNORE] * (len(context) - 1) + e)) for e in endings])
        for rule, sizes in (("raw", [1] * len(endings)), ("per_character", list(map(len, q.choices))),
                            ("per_byte", [len(c.encode()) for c in q.choices]),
                            ("per_token", list(map(len, endings)))):
            right[rule] += int((cost / np.array(sizes)).argmin()) == q.answer
    assert found.n_right == right and len(set(right.values())) > 1  # the rules do differ here
    assert found.chance == pytest.approx(np.mean([1 / len(q.choices) for q in questions]))
    figures = found.to_dict()
    assert figures["accuracy"] == right["raw"] / 40 and figures["accuracy_per_byte"] == right["per_byte"] / 40
    low, high = figures["accuracy_per_token_interval"]
    assert low < figures["accuracy_per_token"] < high


def test_the_likeliest_choice_is_the_answer(monkeypatch):
    tok = CharTokenizer.train("abcdefgh ")

    def scores(model, tokenizer, pairs, *rest):
        return TextScores(np.array([0.0 if ending == " " + context[::-1] else 5.0 for context, ending in pairs]),
                          np.zeros(len(pairs), bool), np.ones(len(pairs), int))

    monkeypatch.setattr(multiple_choice, "score_texts", scores)
    questions = [Question(w, ("g", w[::-1], "aaaaaaaa"), 1) for w in ("abc", "dea", "hgf")]
    assert set(answer_questions(tiny(len(tok)), tok, questions).n_right.values()) == {3}
    wrong = [Question(q.context, q.choices, 2) for q in questions]
    assert set(answer_questions(tiny(len(tok)), tok, wrong).n_right.values()) == {0}


def test_texts_that_cannot_be_written():
    tok = CharTokenizer.train("abc ")
    with pytest.raises(ValueError, match="line 7: the tokenizer lacks the character 'z'"):
        answer_questions(tiny(len(tok)), tok, [Question("a", ("b", "z"), 0, "x.jsonl, line 7")])
    with pytest.raises(ValueError, match="at least one question"):
        answer_questions(tiny(len(tok)), tok, [])


def test_real_questions(shared_data):
    """A random model guesses: the truth lies in the interval."""
    name, questions = read_questions(shared_data / "hellaswag_val_1000.jsonl")
    assert name == "hellaswag"
    assert len(questions) == 1000 and {len(q.choices) for q in questions} == {4}
    tok = ByteBPE.train(" ".join(q.context for q in questions[:200]), vocab_size=600)
    found = answer_questions(tiny(len(tok), 128), tok, questions[:150])
    assert found.chance == 0.25
    assert all(found.to_dict()[f"{rule}_interval"][0] < 0.25 + 0.1 for rule in ("accuracy", "accuracy_per_byte"))


def test_a_trained_model_prefers_sense(shared_data):
    """stories260K tells the end of a story from one whose words are shuffled."""
    spec = importlib.util.spec_from_file_location(
        "stories260k", Path(__file__).resolve().parents[2] / "examples" / "09_stories260k.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    model = example.read_checkpoint(shared_data / "stories260K" / "stories260K.bin")
    vocabulary = example.read_vocabulary(shared_data / "stories260K" / "tok512.bin")

    class Greedy:
        """Enough of a tokenizer: at each place the longest token that fits."""

        prefix_ids, bos_token_id, eos_token_id = (example.BOS,), example.BOS, None

        def encode(self, text, add_special_tokens=True):
            data, ids = text.encode(), []
            while data:
                length = max(n for n in range(1, 12) if data[:n] in vocabulary[3:])
                ids.append(len(vocabulary) - 1 - vocabulary[::-1].index(data[:length]))
                data = data[length:]
            return ids

    def question(context, good):
        words = good.rstrip(".").split()
        return Question(context, (" ".join(words[::-1]) + ".", good, " ".join(sorted(words)) + "."), 1)

    questions = [
        question("Once upon a time, there was a little girl named Lily. She loved to", "play outside in the park."),
        question("Tom had a big red ball. One day, he", "went to the park with his mom."),
        question("The little dog was very happy. He", "ran to his friend and said hello."),
        question("Lily was sad because", "she lost her favorite toy."),
        question("Her mom said,", "do not go outside because it is dark."),
        question("They played together all day and", "they were very happy."),
    ]
    found = answer_questions(model, Greedy(), questions)
    assert set(found.n_right.values()) == {6}


# -- pairs of texts ---------------------------------------------------------------------------------------------------


def test_context_and_continuation_are_tokenized_together():
    """As lm-evaluation-harness does; the space at the end of a context is the continuation's."""
    tok = ByteBPE.train("a cat sat on the mat, a cat sat on the mat " * 9, vocab_size=300)
    for context, continuation in (("a cat", " sat on"), ("a cat ", "sat"), ("", " the mat")):
        before, after = encode_pair(tok, context, continuation)
        assert before == tok.encode(context.rstrip()) and before + after == tok.encode(context + continuation)
    assert encode_pair(tok, "a c", "at") == (tok.encode("a c"), tok.encode("at"))  # one token spans both


def test_a_sentence_after_nothing_begins_with_what_begins_texts():
    text = "she sings and they sing " * 9
    plain = ByteBPE.train(text, vocab_size=290)
    marked = ByteBPE.train(text, vocab_size=290, special_tokens=["<|endoftext|>"])
    for tok, begin in ((marked, [marked.eos_token_id]), (plain, [])):
        model = tiny(len(tok), 32)
        ids = [*begin, *tok.encode(" she sings")]
        found = score_texts(model, tok, [("", " she sings")], [1])
        assert found.nats[0] == pytest.approx(sum(nats_of(model, ids[:-1], ids[1:])), rel=1e-4)
        assert found.n_tokens[0] == len(tok.encode(" she sings"))
    with pytest.raises(ValueError, match="x.jsonl, line 7: nothing stands before a text of one token"):
        score_texts(tiny(len(plain), 32), plain, [("", " she sings"), ("", "s")], [1, 1], ["", "x.jsonl, line 7"])


def test_an_encoder_hides_each_token_in_turn():
    """Against one pass for each hidden token; and it answers questions."""
    tok = ByteBPE.train("the cat sat on the mat " * 9, 280, ["<s>", "</s>", "<pad>", "<mask>"])
    tok.set_template(["<s>"], ["</s>"])
    manual_seed(1)
    model = BERT.for_masked_lm(BERTConfig(vocab_size=len(tok), pad_token_id=tok.pad_token_id, block_size=24, n_layer=1,
                                          n_head=2, n_embd=8, initializer_range=0.5)).eval()
    pairs = [("the cat", " sat on the mat"), ("the", " mat"), ("", " the cat sat")]
    found = score_texts(model, tok, pairs, [1] * 3, batch_size=2)
    for (context, continuation), cost, n in zip(pairs, found.nats, found.n_tokens):
        before, after = encode_pair(tok, context, continuation)
        ids = [tok.token_id("<s>"), *before, *after, tok.token_id("</s>")]
        total = 0.0
        for place in range(1 + len(before), 1 + len(before) + len(after)):
            hidden = [*ids[:place], tok.mask_token_id, *ids[place + 1:]]
            logits = model(np.array([hidden])).data[0, place].astype(np.float64)
            total -= float(ops.log_softmax(logits[None]).data[0, ids[place]])
        assert cost == pytest.approx(total, rel=1e-4) and n == len(after)
    asked = [Question("", ("the cat", "mat mat"), 0), Question("", ("on the", "sat the"), 1)]
    assert answer_questions(model, tok, asked).n_questions == 2
    with pytest.raises(ValueError, match="x.jsonl, line 2: a text of .* does not fit the model's context of 24"):
        score_texts(model, tok, [("", " cat"), ("", " mat"), ("", " cat mat" * 20)], [2, 1], [
            "x.jsonl, line 1", "x.jsonl, line 2"])
    with pytest.raises(ValueError, match="a decoder, or an encoder with a masked-word head"):
        score_texts(BERT(BERTConfig(vocab_size=9, block_size=8, n_layer=1, n_head=1, n_embd=4)), tok, pairs, [1] * 3)


def test_groups_and_choices_are_kept():
    tok = CharTokenizer.train("abcdefgh ")
    questions = [Question("", ("abc", "cba"), 0, group="one"), Question("", ("ha", "ah"), 1, group="two"),
                 Question("", ("gag", "faf"), 0, group="two")]
    found = answer_questions(tiny(len(tok), 16), tok, questions)
    right = [chosen == question.answer for chosen, question in zip(found.chosen["raw"], questions)]
    assert found.groups == {"one": (1, right[0]), "two": (2, right[1] + right[2])}
    assert found.to_dict()["groups"]["two"] == (right[1] + right[2]) / 2


def test_last_words_are_right_where_greedy_writing_says_them():
    tok = CharTokenizer.train("abcdefgh ")
    model = tiny(len(tok), 32)
    contexts = ["abc", "feed", "had a", "cage", "bad", "gag"]
    written = [tok.decode(model.generate(np.array([tok.encode(context)]), 1, temperature=0.0)[0, -1:])
               for context in contexts]
    found = guess_last_words(model, tok, [Question(context, (word,), 0) for context, word in zip(contexts, "abcdef")])
    costs = [sum(nats_of(model, tok.encode(f"{context} {word}")[:-1], [IGNORE] * (len(context) - 1)
                         + tok.encode(f" {word}"))) for context, word in zip(contexts, "abcdef")]
    assert found.nats == pytest.approx(np.mean(costs), rel=1e-4)
    assert not any(right and text != " " for right, text in zip(found.right, written))
    assert found.to_dict()["accuracy"] == np.mean(found.right)
