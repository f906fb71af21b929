"""Answers that are written freely: the checks, and that each prompt is answered as it is alone."""

from __future__ import annotations

import json
import sqlite3

import pytest

from tinygpt.backend import manual_seed
from tinygpt.evaluation import CHECKS, Question, free_answers, write_answers
from tinygpt.evaluation.free_answers import last_number
from tinygpt.evaluation.tasks import Asked, task_named
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE

TEXT = "Question: one and two are 3.\n\nAnswer: 18 stones. " * 5


@pytest.mark.parametrize("check, answer, gold, right", [
    ("number", "So she has $1,200.50 left.", "… #### 1200.5", True), ("number", "1200", "#### 1200.5", False),
    ("number", "none", "#### 1", False), ("number", "It was 3, then 4.", "#### 4", True),
    ("number", "-7.", "#### -7", True), ("exact", " Paris. ", "paris", True), ("exact", "In Paris", "Paris", False),
    ("pattern", "Oh yes!", r"\byes\b", True), ("pattern", "Oh no", r"\byes\b", False),
    ("pattern", "a" * 40 + "!", r"(a+)+$", False)])  # an expression that would search for years
def test_checks(check, answer, gold, right):
    assert CHECKS[check](answer, Question("…", (gold,), 0)) is right


def test_last_numbers():
    assert [last_number(text) for text in ("", "a 1.", "3.5 and .25", "1,000,000", "x" * 20_000)] == [
        None, 1.0, 0.25, 1e6, None]


def test_each_question_is_answered_as_alone():
    tok = ByteBPE.train(TEXT, vocab_size=290)
    manual_seed(0)
    model = GPT(GPTConfig(vocab_size=len(tok), block_size=48, n_layer=1, n_head=2, n_embd=8, initializer_range=0.5))
    questions = [Question(context, ("18",), 0) for context in ("Question: one and two", "Answer:", "stones are 3 and")]
    together = write_answers(model, tok, questions, "number", max_new_tokens=9, batch_size=2)
    alone = [write_answers(model, tok, [question], "number", max_new_tokens=9).answers[0] for question in questions]
    assert together.answers == alone and together.right == [CHECKS["number"](answer, questions[0]) for answer in alone]
    assert together.to_dict()["accuracy"] == sum(together.right) / 3
    with pytest.raises(ValueError, match="leaves no room for an answer in a context of 48; show fewer"):
        write_answers(model, tok, [Question("one and two " * 40, ("1",), 0)], "exact")
    with pytest.raises(ValueError, match="x.jsonl, line 3: the answer is no regular expression"):
        write_answers(model, tok, [Question("one", ("(",), 0, "x.jsonl, line 3")], "pattern")
    with pytest.raises(ValueError, match="at least one question"):
        write_answers(model, tok, [], "exact")


# -- queries ----------------------------------------------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
BIG = "SELECT name FROM town WHERE people > 120"
SORTED = BIG + " ORDER BY people"


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "towns.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE town (name TEXT, people INTEGER);"
                             "INSERT INTO town VALUES ('Ulm', 126), ('Bonn', 331), ('Jena', 111);")
    connection.close()
    return path


@pytest.mark.parametrize("answer, gold, right", [
    ("select name from town where name <> 'Jena' order by name desc;", BIG, True),
    ("SELECT name FROM town", BIG, False),
    (SORTED, SORTED, True), (SORTED + " DESC", SORTED, False), (SORTED + " DESC", f"SELECT * FROM ({SORTED})", True),
    ("DELETE FROM town", BIG, False), ("DROP TABLE town", "SELECT 1 WHERE 0", False), (ENDLESS, BIG, False),
    ("The query is SELECT", BIG, False), ("SELECT nothing FROM town", BIG, False), ("", "SELECT 1 WHERE 0", False),
    ("SELECT 1 WHERE 0", "SELECT name FROM town WHERE 0", True), ("SELECT \ud800", BIG, False)])
def test_a_query_is_right_if_it_finds_the_rows_of_the_expected_one(database, answer, gold, right, monkeypatch):
    monkeypatch.setattr(free_answers, "SECONDS", 0.1)
    before = database.read_bytes()
    assert CHECKS["sql"](answer, Question("…", (gold,), 0, database=str(database))) is right
    assert database.read_bytes() == before


def test_a_file_of_queries_is_measured(database, monkeypatch, tmp_path):
    path, tok = tmp_path / "own.jsonl", ByteBPE.train(TEXT, vocab_size=290)
    record = {"question": "one and two", "answer": BIG, "database": "towns.sqlite"}
    path.write_text(2 * (json.dumps(record) + "\n"), encoding="utf-8")
    model = GPT(GPTConfig(vocab_size=len(tok), block_size=64, n_layer=1, n_head=2, n_embd=8))
    monkeypatch.setattr(tok, "decode", lambda ids, **how: f" {SORTED}\n\nQuestion:")  # what the model writes
    figures, table = task_named("queries")(model, tok, Asked(data=str(path), max_new_tokens=2))
    assert (figures["accuracy"], figures["check"], figures["n_questions"]) == (1.0, "sql", 2) and "sql" in table
    for bad, message in ({"answer": "DELETE FROM town"}, "the answer cannot be run: the query .* was refused"), (
            {"database": "own.jsonl"}, "the answer cannot be run: .* not a database"), (
            {"database": "none.sqlite"}, "no database 'none.sqlite'"):
        path.write_text(json.dumps(record) + "\n" + json.dumps(record | bad) + "\n", encoding="utf-8")
        with pytest.raises(ValueError, match=f"own.jsonl, line 2: {message}"):
            task_named("queries")(model, tok, Asked(data=str(path), max_new_tokens=2))
