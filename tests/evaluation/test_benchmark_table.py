"""Every row of the table of benchmarks: its records as published and as on the hub, and what is wrong with others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.evaluation import BENCHMARKS, read_questions
from tinygpt.evaluation.benchmarks import benchmark_of
from tinygpt.evaluation.tasks import TASKS

HELLASWAG = {"activity_label": "Roof", "ctx_a": "A man sits [step] there.", "ctx_b": "he ",
             "endings": [" stands.", "eats a roof", "sings"], "label": 2}
ARC = {"question": {"stem": "Why?", "choices": [{"text": "so", "label": "A"}, {"text": "no", "label": "B"}]},
       "answerKey": "B"}
HUB = {"choices": {"text": ["so", "no"], "label": ["1", "2"]}, "answerKey": "2"}

# benchmark -> a record, and its context, choices, answer and group
SHAPES = {
    "hellaswag": (HELLASWAG, "Roof: A man sits there. He", ("stands.", "eats a roof", "sings"), 2, ""),
    "arc": (ARC, "Question: Why?\nAnswer:", ("so", "no"), 1, ""),
    "openbookqa": (HUB | {"question_stem": "The sun is"}, "The sun is", ("so", "no"), 1, ""),
    "piqa": ({"goal": "To eat", "sol1": "chew", "sol2": "sing", "label": "0"}, "Question: To eat\nAnswer:",
             ("chew", "sing"), 0, ""),
    "winogrande": ({"sentence": "Ann saw Eve and _ waved.", "option1": "Ann", "option2": "Eve", "answer": "2"},
                   ("Ann saw Eve and Ann", "Ann saw Eve and Eve"), ("waved.",) * 2, 1, ""),
    "copa": ({"premise": "It rained.", "question": "effect", "choice1": "The road got wet.", "choice2": "I sang.",
              "label": 0}, "It rained therefore", ("the road got wet.", "i sang."), 0, ""),
    "mmlu": ({"question": " 1+1? ", "subject": "sums", "choices": ["1", "2", "3", "4"], "answer": 1},
             "1+1?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:", ("A", "B", "C", "D"), 1, "sums"),
    "choices": ({"query": "sea in Spanish:", "choices": ["mar", "sol"], "gold": 0}, "sea in Spanish:", ("mar", "sol"),
                0, ""),
    "blimp": ({"sentence_good": "She sings.", "sentence_bad": "She sing.", "UID": "agreement"}, "",
              ("She sings.", "She sing."), 0, "agreement"),
    "crows-pairs": ({"sent_more": "a", "sent_less": "b", "bias_type": "age"}, "", ("a", "b"), 0, "age"),
    "queries": ({"question": "How many?", "answer": "SELECT 1", "database": "towns.sqlite"},
                "Question: How many?\nAnswer:", ("SELECT 1",), 0, ""),
    "gsm8k": ({"question": "1+1?", "answer": "One and one.\n#### 2"}, "Question: 1+1?\nAnswer:",
              ("One and one.\n#### 2",), 0, ""),
    "questions": ({"question": "Who?", "answer": "me"}, "Question: Who?\nAnswer:", ("me",), 0, ""),
    "patterns": ({"prompt": "Say yes.", "pattern": "[Yy]es"}, "Say yes.", ("[Yy]es",), 0, ""),
    "lambada": ({"text": "It was only a stone"}, "It was only a", ("stone",), 0, ""),
}

QUERY = SHAPES["queries"][0]


def written(folder: Path, *records, name: str = "questions.jsonl") -> Path:
    path = folder / name
    (folder / "towns.sqlite").touch()  # to SQLite, a database without tables
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_is_known_by_its_fields_and_becomes_questions(tmp_path, name):
    record, context, choices, answer, group = SHAPES[name]
    found, (question,) = read_questions(written(tmp_path, record), task="last-word" if name == "lambada" else None)
    assert found == name and benchmark_of(record) == (None if name == "lambada" else name)
    assert (question.context, question.choices, question.answer, question.group) == (context, choices, answer, group)
    assert question.where.endswith("questions.jsonl, line 1") and BENCHMARKS[name].task in TASKS and name not in TASKS


def test_other_shapes_of_the_same_benchmarks(tmp_path):
    for record, name in ((HUB | {"question": "Why?"}, "arc"), (ARC, "openbookqa"),
                         ({"ctx": "A man sits.", "endings": ["a", "b"], "label": "1"}, "hellaswag")):
        _, (question,) = read_questions(written(tmp_path, record), name)
        assert question.answer == 1
    table = written(tmp_path, '"Which, of these?",1,2,3,4,D', "What?,a,b,c,d,A", name="sums_test.csv")
    name, questions = read_questions(table)
    assert name == "mmlu" and [q.answer for q in questions] == [3, 0] and questions[0].context.startswith("Which, of")
    crows = written(tmp_path, ",sent_more,sent_less,stereo_antistereo,bias_type", "0,a,b,stereo,age", name="crows.csv")
    assert read_questions(crows)[0] == "crows-pairs"


def test_passages_as_lines_of_text(tmp_path):
    path = written(tmp_path, "It was only a stone", "", "and there was light", name="lambada_test.txt")
    for name, task in (("lambada", None), (None, "last-word")):
        found, questions = read_questions(path, name, task=task)
        assert found == "lambada" and [(q.context, q.choices, q.where[-6:]) for q in questions] == [
            ("It was only a", ("stone",), "line 1"), ("and there was", ("light",), "line 3")]
    with pytest.raises(ValueError, match="lambada_test.txt, line 2: the context is empty"):
        read_questions(written(tmp_path, "It was", "light", name="lambada_test.txt"), "lambada")


def test_a_sum_without_a_result_is_named(tmp_path):
    sums = written(tmp_path, {"question": "1+1?", "answer": "#### 2"}, {"question": "1+2?", "answer": "three"})
    with pytest.raises(ValueError, match="questions.jsonl, line 2: the answer 'three' holds no number"):
        read_questions(sums)


def test_labels_in_a_file_beside_it(tmp_path):
    piqa = {"goal": "To eat", "sol1": "chew", "sol2": "sing"}
    path = written(tmp_path, piqa, piqa, name="valid.jsonl")
    written(tmp_path, "1", "0", name="valid-labels.lst")
    assert [question.answer for question in read_questions(path)[1]] == [1, 0]
    written(tmp_path, "1", name="valid-labels.lst")
    with pytest.raises(ValueError, match="valid.jsonl, line 2: valid-labels.lst beside it has no label"):
        read_questions(path)


def test_a_limit_takes_the_first_or_of_groups_some_of_each(tmp_path):
    path = written(tmp_path, *[{"query": str(n), "choices": ["a", "b"], "gold": 0} for n in range(9)])
    pairs = written(tmp_path, *[{"sentence_good": f"g{n}", "sentence_bad": "b", "UID": str(n // 4)} for n in range(12)],
                    name="pairs.jsonl")
    assert [q.context for q in read_questions(path, limit=3)[1]] == ["0", "3", "6"]
    assert [q.choices[0] for q in read_questions(pairs, limit=3)[1]] == ["g0", "g4", "g8"]
    arcs = written(tmp_path, ARC, HUB | {"question": "Then?"}, ARC, name="arcs.jsonl")
    assert [q.context for q in read_questions(arcs, limit=2)[1]][1] == "Question: Then?\nAnswer:"


@pytest.mark.parametrize("bad, message", [
    ({"text": "x"}, "expected a record of hellaswag with endings, got text"),
    ('{"ctx": ', "not valid JSON"),
    (HELLASWAG | {"label": 3}, "the answer 3 is none of the choices 0 … 2"),
    (HELLASWAG | {"label": ""}, "the answer '' is none"),
    (HELLASWAG | {"label": True}, "the answer True is none"),
    (HELLASWAG | {"label": 10 ** 400}, "the answer .* is none"),
    ({k: v for k, v in HELLASWAG.items() if k != "label"}, "has no 'label'"),
    ({"endings": ["a", "b"], "label": 0}, "has no 'ctx_a'"),
    ({"ctx": " ", "endings": ["a", "b"], "label": 0}, "the context is empty"),
    (HELLASWAG | {"endings": ["a"], "label": 0}, "at least two choices"),
    (HELLASWAG | {"endings": ["a", ""], "label": 0}, "none of them empty"),
    (HELLASWAG | {"endings": "ab", "label": 0}, "at least two choices"),
    (HELLASWAG | {"endings": ["a", "b"] * 60}, "120 choices, expected at most 100"),
    (HELLASWAG | {"endings": [1, 2]}, "not of the types expected"),
    (HELLASWAG | {"ctx_a": None}, "not of the types expected"),
    (HELLASWAG | {"ctx_b": "x" * 1_000_001}, r"a text of 1,000,0\d\d characters, expected at most 1,000,000"),
    (HELLASWAG | {"endings": ["a", "b" * 10_000_000]}, "a text of 10,000,000 characters, expected at most"),
    (ARC, "expected a record of hellaswag with endings, got question, answerKey"),
])
def test_bad_questions_are_named_with_their_line(tmp_path, bad, message):
    with pytest.raises(ValueError, match=f"questions.jsonl, line 3.*{message}"):
        read_questions(written(tmp_path, HELLASWAG, "", bad))


@pytest.mark.parametrize("bad, message", [
    (ARC | {"answerKey": "C"}, "answerKey 'C' is none of the choices A, B"),
    (HUB | {"question": "Why?", "choices": 3}, "not of the types expected"),
    (HUB | {"question": "Why?", "choices": {"text": ["a"], "label": ["1", "2"]}}, "as many texts as labels"),
    ({"question": "Why?", "answerKey": "A"}, "has no 'choices'"),
    ({"sentence": "no gap", "option1": "a", "option2": "b", "answer": "1"}, "the sentence has no gap _"),
    ({"premise": "p.", "question": "why", "choice1": "a", "choice2": "b", "label": 0}, "expected cause or effect"),
    ({"question": "q", "choices": ["a"], "answer": 0}, "expected four choices"),
    ({"sentence_good": "a", "sentence_bad": ""}, "none of them empty"),
    ({"query": "q", "choices": ["a", "b"], "gold": None}, "the answer None is none"),
    (ARC | {"question": 3, "choices": HUB["choices"], "answerKey": "1"}, "a question that is a text, got 3"),
    ({"goal": None, "sol1": "a", "sol2": "b", "label": 0}, "a question that is a text, got None"),
    ({"premise": " ", "question": "cause", "choice1": "a", "choice2": "b", "label": 0}, "is a text, got ' '"),
    ({"question": "q", "choices": [1, 2, 3, 4], "answer": 0}, "expected four choices"),
    ({"question": "", "answer": "five"}, "a question that is a text, got ''"),
    (QUERY | {"database": "none.sqlite"}, "no database 'none.sqlite' beside the data file"),
    (QUERY | {"database": "x" * 9_000}, "no database 'xxx.*' beside the data file"),
    (QUERY | {"database": "a\0b"}, "no database .* beside the data file"),
    (QUERY | {"database": ""}, "no database '' beside the data file"),
    *((QUERY | {"database": path}, "expected a path relative to the data file, without ..")
      for path in ("/etc/passwd", "../towns.sqlite", "a/../../towns.sqlite", "C:\\towns", "..\\towns", 3, None)),
    ({"something": 1}, "expected the fields of a record of hellaswag, .*got something"),
])
def test_bad_records_of_other_benchmarks(tmp_path, bad, message):
    with pytest.raises(ValueError, match=f"questions.jsonl, line 1.*{message}"):
        read_questions(written(tmp_path, bad))


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda values: st.lists(
    values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3), max_leaves=5)


@given(st.sampled_from(sorted(SHAPES)), st.data())
@settings(deadline=None, derandomize=True, max_examples=50)
def test_any_value_in_any_field_gives_questions_or_an_error_with_the_line(tmp_path_factory, name, data):
    record = dict(SHAPES[name][0])
    for field in data.draw(st.sets(st.sampled_from(sorted(record)), min_size=1, max_size=2)):
        record[field] = data.draw(JSON)
    path = written(tmp_path_factory.getbasetemp(), record, name="any.jsonl")
    try:
        _, questions = read_questions(path, name)
    except ValueError as error:
        assert str(error).startswith(f"{path}, line 1: ") and "\n" not in str(error)
    else:
        assert all(0 <= question.answer < len(question.choices) for question in questions)
