"""Likelihoods of tokens and of continuations, and multiple choice by them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.backend import manual_seed
from tinygpt.data import IGNORE
from tinygpt.evaluation import (Question, answer_questions, continuation_nats, likelihood, multiple_choice,
                                predict_text, read_questions, text_loss)
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE, CharTokenizer
from tinygpt.training import language_loss


def tiny(vocab_size=11, block_size=8, **options) -> GPT:
    manual_seed(0)
    return GPT(GPTConfig(vocab_size=vocab_size, block_size=block_size, n_layer=1, n_head=2, n_embd=8,
                         initializer_range=0.5, **options)).eval()


def nats_of(model: GPT, ids, targets) -> list[float]:
    """−log p of each target by the definition, in double precision."""
    logits = model(np.array([ids])).data[0].astype(np.float64)
    return [float(np.log(np.exp(row).sum()) - row[t]) for row, t in zip(logits, targets) if t != IGNORE]


# -- single targets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1 << 24, 25, 1])
def test_targets_in_any_number_of_pieces(monkeypatch, at_once):
    monkeypatch.setattr(likelihood, "LOGITS", at_once)
    model, rng = tiny(), np.random.default_rng(0)
    ids, targets = rng.integers(11, size=(2, 3, 8))
    targets[0, 2:5] = targets[2, 7] = IGNORE
    nats, first = likelihood.predict_targets(model, ids, targets)
    expected = [n for row, wanted in zip(ids, targets) for n in nats_of(model, row, wanted)]
    assert nats == pytest.approx(expected, rel=1e-5)
    best = model(ids).data.argmax(axis=-1)
    assert first.tolist() == (best == targets)[targets != IGNORE].tolist()


def test_next_tokens_cost_what_the_loss_says():
    model, tokens = tiny(dropout=0.5).train(), np.random.default_rng(1).integers(11, size=50).astype(np.uint8)
    lengths = np.arange(11)
    found, loss = predict_text(model, tokens, lengths=lengths, batch_size=3), text_loss(
        model, tokens, 8, loss=language_loss, lengths=lengths)
    assert found.nats == pytest.approx(loss.nats, rel=1e-5) and model.training
    assert (found.n_tokens, found.n_bytes) == (loss.n_tokens, loss.n_bytes) == (49, tokens[1:].sum())
    model.eval()
    best = [model(tokens[None, start:min(start + 8, 49)]).data[0].argmax(axis=1) for start in range(0, 49, 8)]
    right = int((np.concatenate(best) == tokens[1:]).sum())
    assert found.n_right == right and found.accuracy == right / 49
    assert found.to_dict()["bits_per_byte"] == found.bits_per_byte
    assert predict_text(model, tokens).to_dict()["bits_per_byte"] is None


# -- continuations ----------------------------------------------------------------------------------------------------

IDS = st.lists(st.integers(0, 10), min_size=1, max_size=7)


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=6), st.integers(1, 4))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_continuations_cost_the_sum_of_their_tokens(pairs, batch_size):
    model = tiny(block_size=16)
    expected = [sum(nats_of(model, [*context, *ending][:-1], [IGNORE] * (len(context) - 1) + ending))
                for context, ending in pairs]
    assert continuation_nats(model, pairs, batch_size) == pytest.approx(expected, rel=1e-4)


def test_a_long_context_loses_its_beginning_and_a_long_continuation_comes_in_pieces():
    model, rng = tiny(block_size=8), np.random.default_rng(2)
    context, ending = rng.integers(11, size=20).tolist(), rng.integers(11, size=3).tolist()
    seen = [*context, *ending][-9:]
    expected = sum(nats_of(model, seen[:-1], [IGNORE] * 5 + ending))
    assert continuation_nats(model, [(context, ending)]) == pytest.approx([expected], rel=1e-4)

    ending = rng.integers(11, size=10).tolist()
    ids, total = [*context, *ending], 0.0
    for start in (0, 4, 8):  # by fours, half of the context
        n = min(4, 10 - start)
        window = ids[20 + start + n - 9:20 + start + n]
        total += sum(nats_of(model, window[:-1], [IGNORE] * (8 - n) + window[-n:]))
    assert continuation_nats(model, [(context, ending)]) == pytest.approx([total], rel=1e-4)
    for bad in (([], [1]), ([1], [])):
        with pytest.raises(ValueError, match="at least one token each"):
            continuation_nats(model, [bad])


# -- questions --------------------------------------------------------------------------------------------------------

HELLASWAG = {"ctx": "A man sits. he ", "endings": [" stands.", "eats a roof", "sings"], "label": 2}
ARC = {"question": {"stem": "Why?", "choices": [{"text": "so", "label": "A"}, {"text": "no", "label": "B"}]},
       "answerKey": "B"}
ARC_HUB = {"question": "Why?", "choices": {"text": ["so", "no"], "label": ["1", "2"]}, "answerKey": "2"}


def written(folder: Path, *records) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records), encoding="utf-8")
    return path


def test_both_shapes_are_read(tmp_path):
    split = {k: v for k, v in HELLASWAG.items() if k != "ctx"} | {"ctx_a": "A man sits.", "ctx_b": "he", "label": "2"}
    found = read_questions(written(tmp_path, HELLASWAG, split, ARC, ARC_HUB))
    assert [(q.context, q.choices, q.answer) for q in found] == [
        ("A man sits. he", ("stands.", "eats a roof", "sings"), 2)] * 2 + [
        ("Question: Why?\nAnswer:", ("so", "no"), 1)] * 2
    assert found[2].where.endswith("questions.jsonl, line 3")
    assert len(read_questions(written(tmp_path, ARC, ARC, ARC), limit=2)) == 2


@pytest.mark.parametrize("bad, message", [
    ({"text": "x"}, "expected a question as HellaSwag .* got text"),
    ('{"ctx": ', "not valid JSON"),
    (HELLASWAG | {"label": 3}, "the answer 3 is none of the choices 0 … 2"),
    (HELLASWAG | {"label": ""}, "the answer '' is none"),
    (HELLASWAG | {"label": True}, "the answer True is none"),
    ({k: v for k, v in HELLASWAG.items() if k != "label"}, "has no 'label'"),
    ({"endings": ["a", "b"], "label": 0}, "has no 'ctx_a'"),
    (HELLASWAG | {"ctx": " "}, "the context is empty"),
    (HELLASWAG | {"endings": ["a"], "label": 0}, "at least two choices"),
    (HELLASWAG | {"endings": ["a", ""], "label": 0}, "none of them empty"),
    (HELLASWAG | {"endings": "ab", "label": 0}, "at least two choices"),
    (ARC | {"answerKey": "C"}, "answerKey 'C' is none of the choices A, B"),
    (ARC_HUB | {"choices": 3}, "not of the types expected"),
    ({"question": "Why?", "answerKey": "A"}, "has no 'choices'"),
])
def test_bad_questions_are_named_with_their_line(tmp_path, bad, message):
    with pytest.raises(ValueError, match=f"questions.jsonl, line 3.*{message}"):
        read_questions(written(tmp_path, HELLASWAG, "", bad))


def test_answers_by_the_three_rules():
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
    right = {"raw": 0, "per_byte": 0, "per_token": 0}
    for q in questions:
        endings = [tok.encode(" " + choice) for choice in q.choices]
        context = tok.encode(q.context)
        cost = np.array([sum(nats_of(model, [*context, *e][:-1], [IGNORE] * (len(context) - 1) + e)) for e in endings])
        for rule, sizes in (("raw", [1] * len(endings)), ("per_byte", [len(c.encode()) for c in q.choices]),
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

    def nats(model, pairs, batch_size, track):
        return np.array([0.0 if tok.decode(ending) == " " + tok.decode(context)[::-1] else 5.0
                         for context, ending in pairs])

    monkeypatch.setattr(multiple_choice, "continuation_nats", nats)
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
    questions = read_questions(shared_data / "hellaswag_val_1000.jsonl")
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

        prefix_ids = (example.BOS,)

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
    assert found.n_right == {"raw": 6, "per_byte": 6, "per_token": 6}
