"""Conversations: records of every shape, what is wrong with one, splits without overlap, and packed batches."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.chat_template import add_chat_template, chat_template
from tinygpt.data.conversations import (ConversationSampler, all_conversations, conversation_batch,
                                        encode_conversations, last_answer, located_conversations, packed,
                                        read_conversations, split_conversations)
from tinygpt.tokenizers import ByteBPE, CharTokenizer

ASKED = [{"role": "user", "content": "Reverse.\nabc"}, {"role": "assistant", "content": "cba"}]


def written(folder, name, records):
    path = folder / name
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    path.write_text("\n".join(lines) if name.endswith("l") else f"[{', '.join(lines)}]", encoding="utf-8")
    return path


@pytest.mark.parametrize("record", [
    {"messages": ASKED}, {"instruction": "Reverse.", "input": "abc", "output": "cba"},
    {"instruction": "Reverse.\nabc", "output": "cba"}, {"instruction": "Reverse.\nabc", "input": "", "output": "cba"},
    {"prompt": "Reverse.\nabc", "completion": " cba "}, {"instruction": " Reverse.\nabc", "input": None,
                                                         "output": "cba", "id": 3},
])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_every_shape_is_the_same_conversation(tmp_path, record, name):
    assert read_conversations(written(tmp_path, name, [record, record])) == [ASKED, ASKED]


SHAREGPT = {"conversations": [{"from": "human", "value": "Reverse.\nabc"}, {"from": "gpt", "value": "cba"}]}


@pytest.mark.parametrize("record", [
    SHAREGPT, {"id": "x_0", **SHAREGPT}, ASKED, {"conversations": ASKED}, {"conversation": SHAREGPT["conversations"]},
    SHAREGPT["conversations"],
    {"messages": [{"from": "User", "value": "Reverse.\nabc"}, {"from": "chatgpt", "value": "cba"}]},
])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_sharegpt_records_and_bare_lists(tmp_path, record, name):
    assert read_conversations(written(tmp_path, name, [record, record])) == [ASKED, ASKED]


@pytest.mark.parametrize("message", [ASKED[0], SHAREGPT["conversations"][0]])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_file_of_messages_is_one_conversation(tmp_path, message, name):
    chat = [*ASKED, message, ASKED[1]]
    assert read_conversations(written(tmp_path, name, chat)) == [[*ASKED, *ASKED]]
    with pytest.raises(ValueError, match=r"(record|line) 2: message 2 is"):
        read_conversations(written(tmp_path, name, [ASKED[0], {"role": "user"}, ASKED[1]]))


def test_all_who_speak(tmp_path):
    """ShareGPT's names; a system message may stand apart; calls of tools stay in their message."""
    calls = [{"type": "function", "function": {"name": "clock", "arguments": {}}}]
    turns = [{"from": "human", "value": "When?"}, {"from": "function_call", "value": "clock()"},
             {"from": "observation", "value": "12:00"}, {"from": "gpt", "value": "At noon."}]
    openai = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": None, "tool_calls": calls},
              {"role": "tool", "content": "12:00", "tool_call_id": "c"}, {"role": "assistant", "content": "At noon."}]
    records = [{"system": "Be short.", "conversations": turns}, {"messages": openai}]
    one, other = read_conversations(written(tmp_path, "a.jsonl", records))
    assert [message["role"] for message in one] == ["system", "user", "assistant", "tool", "assistant"]
    assert one[0]["content"] == "Be short." and one[3]["content"] == "12:00"
    assert other[1] == {"role": "assistant", "content": "", "tool_calls": calls}
    assert other[2] == {"role": "tool", "content": "12:00", "tool_call_id": "c"}


def test_contents_in_parts(tmp_path):
    parts = [{"type": "text", "text": "Reverse.\n"}, {"type": "text", "text": "abc"}]
    chat, = read_conversations(written(tmp_path, "a.jsonl", [[{"role": "user", "content": parts}, ASKED[1]]]))
    assert chat[0]["content"] == parts
    template = chat_template(add_chat_template(CharTokenizer.train("Reverse.\nabc")))
    assert (template.encode(chat)[0] == template.encode(ASKED)[0]).all()


def test_a_role_that_the_template_lacks_is_named_with_its_line(tmp_path):
    chat = [*ASKED[:1], {"role": "tool", "content": "abc"}, ASKED[1]]
    found = located_conversations(written(tmp_path, "a.jsonl", [ASKED, chat]))
    places, chats = zip(*found)
    template = chat_template(add_chat_template(CharTokenizer.train("Reverse.\nabc")))
    with pytest.raises(ValueError, match="a.jsonl, line 2: message 2 has the role 'tool', expected system, user"):
        encode_conversations(chats, template, 64, places=places)


def test_tables_and_named_data_sets(tmp_path):
    (tmp_path / "a.csv").write_text('instruction,input,output\nReverse.,abc,cba\n"Add, please",1 2,3\n')
    assert read_conversations(tmp_path / "a.csv")[1] == [{"role": "user", "content": "Add, please\n1 2"},
                                                         {"role": "assistant", "content": "3"}]
    named = read_conversations("synthetic-instructions-test")
    assert len(named) == 500 and {len(chat) for chat in named} == {2}
    assert len(read_conversations([tmp_path / "a.csv", "synthetic-instructions-test"])) == 502


def test_real_instructions(shared_data):
    records = json.loads((shared_data / "instruction-data.json").read_text(encoding="utf-8"))
    chats = read_conversations(shared_data / "instruction-data.json")
    assert len(chats) == len(records) > 1000
    for record, (question, answer) in zip(records, chats):
        assert question["content"] == "\n".join(filter(None, (record["instruction"], record["input"])))
        assert answer["content"] == record["output"]


GOOD = {"instruction": "Reverse.", "output": "x"}


@pytest.mark.parametrize("bad, message", [
    ({"question": "a", "answer": "b"}, 'expected "messages" or "conversations", or "instruction" and "output"'),
    ({"instruction": "a"}, 'expected "messages"'),
    ({"conversations": []}, "'conversations' holds []"),
    ({"conversations": None}, "'conversations' holds null"),
    ({"conversations": [{"from": "robot", "value": "a"}]}, "message 1 is"),
    ({"conversations": [{"from": 3, "value": "a"}]}, "message 1 is"),
    ({"conversations": [{"from": "human"}]}, "message 1 is"),
    ([*ASKED, {"role": "user", "content": [3]}], "message 3 is"),
    ([*ASKED, 3], "message 3 is"),
    ([[ASKED]], 'expected "messages"'),
    ({"messages": []}, "'messages' holds []"),
    ({"messages": "hello"}, "'messages' holds"),
    ({"messages": [{"role": "bot", "content": "a"}]}, "message 1 is"),
    ({"messages": [*ASKED, {"role": "user", "content": 3}]}, "message 3 is"),
    ({"instruction": ["a"], "output": "b"}, "'instruction' holds"),
    ({"instruction": "a", "output": True}, "'output' holds true"),
    ("[1, 2]", 'expected "messages"'),
    ("{", "not valid JSON"),
    ("3", "expected a JSON object"),
])
def test_a_bad_record_is_named_by_its_line(tmp_path, bad, message):
    path = written(tmp_path, "a.jsonl", [GOOD, "", bad, GOOD])
    with pytest.raises(ValueError) as caught:
        read_conversations(path)
    assert str(caught.value).startswith(f"{path}, line 3: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_sides_are_counted(tmp_path):
    records = [GOOD, {"instruction": "a", "output": " "}, {"instruction": "", "output": "b"},
               {"messages": ASKED[:1]}, {"messages": [*ASKED, {"role": "assistant", "content": ""}]}]
    path = written(tmp_path, "a.jsonl", records)
    with pytest.warns(UserWarning, match=r"left out 4 of 5 .* the first is .*a.jsonl, line 2"):
        assert len(read_conversations(path)) == 1
    with pytest.raises(ValueError, match="no question with an answer.*line 1 lacks"):
        read_conversations(written(tmp_path, "a.jsonl", records[1:]))


questions = st.lists(st.integers(0, 9), min_size=2, max_size=40).filter(lambda numbers: len(set(numbers)) > 1)


@given(questions, st.floats(0.01, 0.99), st.integers(0, 5))
def test_no_question_is_on_both_sides(numbers, validation, seed):
    chats = [[{"role": "user", "content": str(n)}, {"role": "assistant", "content": str(place)}]
             for place, n in enumerate(numbers)]
    train, held = split_conversations(chats, validation, seed)
    sides = [{chat[0]["content"] for chat in part} for part in (train, held)]
    assert sides[0] and sides[1] and not sides[0] & sides[1]
    assert sorted(train + held, key=chats.index) == chats == sorted(chats, key=lambda chat: int(chat[1]["content"]))
    assert len(sides[1]) == min(max(1, round(validation * len(set(numbers)))), len(set(numbers)) - 1)
    assert (train, held) == split_conversations(chats, validation, seed)


def test_what_cannot_be_split():
    chats = [ASKED, ASKED]
    with pytest.raises(ValueError, match="at least two different ones, got 1"):
        split_conversations(chats)
    with pytest.raises(ValueError, match=r"in \(0, 1\)"):
        split_conversations(chats, 1.0)


def test_too_long_and_unwritable():
    template = chat_template(add_chat_template(CharTokenizer.train("Reverse.\nabcdefgh")))
    long = [{"role": "user", "content": "abc" * 10}, ASKED[1]]
    with pytest.warns(UserWarning, match="left out 1 of the 2 conversations of the file, .* the longest has 37"):
        (ids, learnt), = encode_conversations([ASKED, long], template, 20, "the file")
    assert len(ids) == 19 and learnt.sum() == 4
    with pytest.raises(ValueError, match="none of the 1 conversations of the data fits a context of 17 tokens"):
        encode_conversations([ASKED], template, 17)
    encode_conversations([ASKED], template, 18)
    with pytest.raises(ValueError, match="conversation 2 of the data: .*lacks the character 'z'"):
        encode_conversations([ASKED, [{"role": "user", "content": "z"}, ASKED[1]]], template, 20)


# -- batches ----------------------------------------------------------------------------------------------------------


def chats_of(lengths):
    """Conversations whose ids tell which one they are and where: 100 · number + place; all but the first is learnt."""
    return [(100 * number + np.arange(n), np.arange(n) > 0) for number, n in enumerate(lengths)]


@given(st.lists(st.integers(2, 11), min_size=1, max_size=30))
def test_packing_keeps_every_conversation_whole(lengths):
    rows = packed(chats_of(lengths), block_size=10)
    assert all(len(ids) == len(learnt) <= 11 for ids, learnt in rows)
    found = [piece for ids, _ in rows for piece in np.split(ids, np.flatnonzero(np.diff(ids) != 1) + 1)]
    assert sorted(map(tuple, found)) == sorted(tuple(ids) for ids, _ in chats_of(lengths))
    half = [row for row in rows if len(row[0]) <= 5]
    assert len(half) <= 1  # two of them would have shared a row
    for ids, learnt in rows:
        assert (learnt == (ids % 100 > 0)).all()


@given(st.lists(st.integers(2, 11), min_size=1, max_size=30), st.integers(1, 8), st.integers(0, 9))
def test_each_conversation_once_an_epoch(lengths, batch_size, seed):
    sampler = ConversationSampler(chats_of(lengths), batch_size, 10, seed, pad_id=7)
    n = -(-len(lengths) // batch_size)
    for epoch in (0, 2):
        seen = []
        for step in range(epoch * n, epoch * n + n):
            batch = sampler.batch(step)
            assert batch["ids"].shape == batch["targets"].shape and batch["ids"].shape[1] <= 10
            seen += batch["targets"][batch["targets"] >= 0].tolist()
        assert sorted(seen) == sorted(100 * number + place for number, n_ids in enumerate(lengths)
                                      for place in range(1, n_ids))
    again = ConversationSampler(chats_of(lengths), batch_size, 10, seed, pad_id=7).batch(n)  # without steps before it
    assert all((again[name] == array).all() for name, array in sampler.batch(n).items())


@given(st.lists(st.integers(2, 11), min_size=1, max_size=30), st.integers(1, 8))
def test_all_conversations(lengths, batch_size):
    found = [row[row >= 0] // 100 for batch in all_conversations(chats_of(lengths), batch_size)
             for row in batch["targets"]]
    assert sorted(int(numbers[0]) for numbers in found) == list(range(len(lengths)))
    assert all((numbers == numbers[0]).all() for numbers in found)


def test_targets_stand_one_place_before_their_ids():
    template = chat_template(add_chat_template(ByteBPE.train("abc", vocab_size=256)))
    batch = conversation_batch(encode_conversations([ASKED, ASKED + ASKED], template, 64), template.end_id)
    kept = batch["targets"] != -100
    nexts = np.concatenate([batch["ids"][:, 1:], np.full((2, 1), template.end_id)], axis=1)
    assert (batch["targets"][kept] == nexts[kept]).all()
    assert [template.tokenizer.decode(row[row >= 0]) for row in batch["targets"]] == ["cba<|end|>", "cba<|end|>" * 2]


@given(st.lists(st.booleans(), min_size=1, max_size=20).filter(any))
def test_the_last_answer_is_the_last_run(learnt):
    ids = np.arange(len(learnt))
    prompt, answer = last_answer((ids, np.array(learnt)))
    end = max(place for place, yes in enumerate(learnt) if yes) + 1
    assert np.concatenate([prompt, answer]).tolist() == ids[:end].tolist()
    assert all(learnt[i] for i in answer) and len(answer) and (not len(prompt) or not learnt[prompt[-1]])
