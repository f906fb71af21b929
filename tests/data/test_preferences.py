"""Preferences: records of every shape, what is wrong with one, ids of both answers, and synthetic ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data import SYNTHETIC
from tinygpt.data.chat_template import add_chat_template
from tinygpt.data.preferences import (Pair, PairedSampler, Turns, encode_pairs, pair_batch, read_preferences,
                                      read_prompts)
from tinygpt.data.synthetic import instructions, preferences
from tinygpt.data.synthetic.preferences import VIRTUES
from tinygpt.tokenizers import ByteBPE, CharTokenizer

ASKED = [{"role": "user", "content": "Hi?"}]
PLAIN = CharTokenizer.train("Hi? yesno", special_tokens=["<s>", "</s>"])
CHAT = add_chat_template(CharTokenizer.train("Hi? yesno"))


TURNS = Turns(CHAT)


def said(text: str) -> list[dict[str, str]]:
    return [*ASKED, {"role": "assistant", "content": text}]


def written(folder, records, name="pairs.jsonl"):
    path = folder / name
    path.write_text("\n".join(map(json.dumps, records)) if name.endswith("l") else json.dumps(records),
                    encoding="utf-8")
    return path


ANSWERS = {"chosen": "yes", "rejected": " no "}
SHAPES = [
    {"prompt": "Hi?", **ANSWERS}, {"prompt": ASKED, **ANSWERS}, {"messages": ASKED, **ANSWERS},
    {"instruction": "Hi?", "input": "", **ANSWERS}, {"question": "Hi?", "score": 3, **ANSWERS},
    {"prompt": "Hi?", "chosen": said("yes"), "rejected": said("no")},
    {"chosen": said("yes"), "rejected": said("no")},
    {"prompt": ASKED, "chosen": said("yes")[1:], "rejected": said("no")[1:]},
    {"chosen": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "yes"}], "rejected": said("no")},
]


@pytest.mark.parametrize("record", SHAPES)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_every_shape_is_the_same_pair(tmp_path, record, name) -> None:
    (pair,) = read_preferences(written(tmp_path, [record], name))
    assert (pair.prompt, pair.chosen, pair.rejected) == (ASKED, "yes", "no")


def test_an_instruction_comes_with_its_input_and_a_question_with_its_system(tmp_path) -> None:
    (pair,) = read_preferences(written(tmp_path, [{"instruction": "Turn.", "input": "ab", **ANSWERS}]))
    assert pair.prompt == [{"role": "user", "content": "Turn.\nab"}]
    (pair,) = read_preferences(written(tmp_path, [{"system": "Be kind.", "question": "Hi?", **ANSWERS}]))
    assert pair.prompt == [{"role": "system", "content": "Be kind."}, *ASKED]


GOOD = {"prompt": "Hi?", **ANSWERS}


@pytest.mark.parametrize("record, about", [
    ({"prompt": "Hi?", "chosen": "yes"}, "line 2: no 'rejected': a pair has two answers"),
    ({"prompt": "Hi?", "rejected": "no"}, "line 2: no 'chosen'"),
    ({"prompt": "Hi?", "chosen": "", "rejected": "no"}, "line 2: 'chosen' is empty"),
    ({"prompt": "Hi?", "chosen": "yes", "rejected": " "}, "line 2: 'rejected' is empty"),
    ({"prompt": " ", **ANSWERS}, "line 2: 'prompt' is empty"),
    (ANSWERS, "line 2: a pair without a question"),
    ({"prompt": "Hi?", "chosen": 5, "rejected": "no"}, "line 2: 'chosen' holds 5, expected a text or a list"),
    ({"prompt": {"a": 1}, **ANSWERS}, "line 2: 'prompt' holds"),
    ({"chosen": said("yes"), "rejected": ASKED}, "line 2: 'rejected' ends with a message of the user"),
    ({"chosen": said("yes"), "rejected": [{"role": "user", "content": "?"}, *said("no")[1:]]}, "without a question"),
])
def test_what_is_wrong_with_a_record_is_said_with_its_line(tmp_path, record, about) -> None:
    with pytest.raises(ValueError, match=about):
        read_preferences(written(tmp_path, [GOOD, record]))


def test_pairs_that_prefer_nothing_are_left_out_and_told(tmp_path) -> None:
    same = {"prompt": "Hi?", "chosen": "yes", "rejected": "yes "}
    with pytest.warns(UserWarning, match=r"left out 2 of 3 pairs, whose chosen and rejected are the same: the first is "
                                         r".*line 2"):
        assert len(read_preferences(written(tmp_path, [GOOD, same, same]))) == 1
    with pytest.raises(ValueError, match="line 1: chosen and rejected are the same; no pair"):
        read_preferences(written(tmp_path, [same]))


@pytest.mark.parametrize("record, expected", [
    ({"prompt": "Hi?", "answer": " yes"}, "yes"), ({"question": "Hi?", "answer": 72}, "72"), ({"prompt": "Hi?"}, ""),
    ({"instruction": "Hi?", "input": "", "output": "yes"}, "yes"), ({"prompt": "Hi?", "completion": "yes"}, "yes"),
    ({"messages": said("yes")}, "yes"), ({"conversations": [{"from": "human", "value": "Hi?"}]}, ""), (GOOD, "yes"),
])
def test_questions_of_every_shape(tmp_path, record, expected) -> None:
    (prompt,) = read_prompts(written(tmp_path, [record]))
    assert (prompt.prompt, prompt.expected) == (ASKED, expected)


@pytest.mark.parametrize("record, about", [
    ({"text": "Hi?"}, "line 1: a record without a question"),
    ({"prompt": "Hi?", "answer": ["a"]}, "line 1: the expected"),
    ({"messages": said("yes")[1:]}, "line 1: the question is empty")])
def test_what_is_wrong_with_a_question(tmp_path, record, about) -> None:
    with pytest.raises(ValueError, match=about):
        read_prompts(written(tmp_path, [record]))


# ---------------------------------------------------------------------------------------------------------------------
# Ids


@pytest.mark.parametrize("tokenizer, text", [
    (CHAT, "<|user|>Hi?<|end|><|assistant|>yes<|end|>"), (PLAIN, "Hi?yes</s>")])
def test_a_question_and_its_answer_as_ids(tokenizer, text) -> None:
    turns = Turns(tokenizer)
    prompt, answer = turns.encode(ASKED, "yes")
    assert tokenizer.decode([*prompt, *answer]) == text and turns.text(answer.tolist()) == "yes"
    assert prompt.tolist() == list(turns.prompt(ASKED)) and answer[-1] in turns.stop_ids


def test_an_encoder_reads_both_with_what_closes_a_text() -> None:
    tokenizer = CharTokenizer.train("Hi? yesno", special_tokens=["<s>", "</s>"])
    tokenizer.set_template(("<s>",), ("</s>",))
    prompt, answer = Turns(tokenizer, encoder=True).encode(ASKED, "yes")
    assert tokenizer.decode([*prompt, *answer]) == "<s>Hi?</s>yes</s>"


def test_a_conversation_learns_its_last_answer_alone() -> None:
    prompt, answer = Turns(CHAT).encode([*said("no"), *ASKED], "yes")
    assert CHAT.decode(answer) == "yes<|end|>" and CHAT.decode(prompt).endswith("Hi?<|end|><|assistant|>")


@given(st.lists(st.tuples(st.text("yesno", min_size=1), st.text("yesno", min_size=1)), min_size=1, max_size=4))
def test_a_batch_holds_both_answers_and_labels_them_alone(answers) -> None:
    encoded = encode_pairs([Pair("a line", ASKED, *sides) for sides in answers], TURNS, 1000)
    batch = pair_batch(encoded, pad_id=3)
    for row, sides in enumerate(answers):
        for side, answer in enumerate(sides):
            ids, labels, mask = (batch[name][row, side] for name in ("ids", "labels", "attention_mask"))
            assert CHAT.decode(labels[labels != -100]) == f"{answer}<|end|>"
            assert CHAT.decode(ids[mask == 1]) == f"<|user|>Hi?<|end|><|assistant|>{answer}<|end|>"
            assert (ids[mask == 0] == 3).all() and (labels[mask == 0] == -100).all()
    assert batch["targets"].tolist() == [0] * len(answers)


def test_pairs_that_are_too_long_are_left_out_and_told(tmp_path) -> None:
    pairs = read_preferences(written(tmp_path, [GOOD, {**GOOD, "rejected": "no" * 20}]))
    with pytest.warns(UserWarning, match=r"left out 1 of the 2 pairs of the data, which are longer than the context of "
                                         r"20 tokens: the first is .*line 2"):
        assert len(encode_pairs(pairs, Turns(CHAT), 20)) == 1
    with pytest.raises(ValueError, match="line 1: longer than the context of 5 tokens, as is every pair"):
        encode_pairs(pairs, Turns(CHAT), 5)
    with pytest.raises(ValueError, match="line 1: the tokenizer lacks"):
        encode_pairs(pairs, Turns(CharTokenizer.train("abc")), 50)


def test_a_sampler_keeps_numbers_with_their_pairs(tmp_path) -> None:
    records = [{"prompt": "Hi?", "chosen": "y" * n, "rejected": "n"} for n in range(1, 8)]
    pairs = encode_pairs(read_preferences(written(tmp_path, records)), Turns(CHAT), 50)
    reference = np.array([[n, -n] for n in range(1, 8)], np.float32)
    sampler = PairedSampler(pairs, 3, seed=1, reference=reference)
    for step in range(6):
        batch = sampler.batch(step)
        lengths = (batch["labels"][:, 0] != -100).sum(axis=1) - 1
        assert batch["reference"].tolist() == [[n, -n] for n in lengths]
    assert sampler.steps_per_epoch == 3


# ---------------------------------------------------------------------------------------------------------------------
# Synthetic ones


def test_synthetic_preferences_hold_out_jobs_with_their_words() -> None:
    train, test = ({(r["prompt"].split()[-1], r["prompt"].split()[0]) for r in preferences(1000, part)}
                   for part in ("train", "test"))
    assert not {r["prompt"] for r in preferences(1000)} & {r["prompt"] for r in preferences(1000, "test")}
    assert {word for word, _ in train} & {word for word, _ in test}  # the words themselves are in both


def test_what_is_preferred_is_polite_short_or_correct() -> None:
    records = preferences(900)
    count = {virtue: sum(r["virtue"] == virtue for r in records) for virtue in VIRTUES}
    assert min(count.values()) > 250 and all(r["chosen"] != r["rejected"] for r in records)
    assert all(len(r["chosen"]) < len(r["rejected"]) for r in records if r["virtue"] == "short")


def test_its_characters_are_those_of_the_instructions() -> None:
    """So a model that was taught these can read the preferences."""
    ours = {c for r in SYNTHETIC["synthetic-preferences"].records()[:500] for text in r.values() for c in text}
    assert ours <= {c for r in instructions(2000) for name in ("instruction", "input", "output") for c in r[name]}


def test_a_tokenizer_with_a_prefix_writes_it_once() -> None:
    tokenizer = ByteBPE.train(["yes no Hi?"], vocab_size=270, special_tokens=["<s>", "</s>"])
    tokenizer.set_template(("<s>",), ())
    prompt, answer = Turns(tokenizer).encode(ASKED, "yes")
    assert tokenizer.decode([*prompt, *answer]).count("<s>") == 1
