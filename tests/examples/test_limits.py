"""Examples 30 and 31 in parts: what their data are, what is refused, and that little is enough to learn a little."""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import sqlite3
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str):
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SQL, INVENTED = example("30_text_to_sql"), example("31_making_things_up")
ALIASED = ('SELECT CITYalias0.CITY_NAME FROM CITY AS CITYalias0 WHERE CITYalias0.POPULATION = ( SELECT MAX( '
           'CITYalias1.POPULATION ) FROM CITY AS CITYalias1 WHERE CITYalias1.STATE_NAME = "state_name0" ) ;')


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A made-up geography, as small as the endless queries among the attempts allow."""
    found = tmp_path_factory.mktemp("geography")
    connection = sqlite3.connect(found / "geography.sqlite")
    connection.execute("CREATE TABLE city (city_name TEXT, population INT, state_name TEXT)")
    connection.executemany("INSERT INTO city VALUES (?, ?, ?)", [(f"c{i}", i, f"s{i % 3}") for i in range(150)])
    for name in "state", "river", "lake", "mountain":
        connection.execute(f"CREATE TABLE {name} ({name}_name TEXT)")
    connection.executemany("INSERT INTO state VALUES (?)", [("s0",), ("s1",), ("s2",)])
    connection.commit()
    connection.close()
    questions = [("largest city of state_name0", ALIASED), ("all states", "SELECT STATE_NAME FROM STATE ;")]
    (found / "geography.json").write_text(json.dumps([
        {"sql": [query], "variables": [{"name": "state_name0", "example": "s1"}], "sentences": [
            {"text": text, "variables": {}, "question-split": part} for part in ("train", "dev", "test")]}
        for text, query in questions]), encoding="utf-8")
    return found


def test_attempts_are_refused_and_leave_the_folder_as_it_was(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    database = SQL.Database(folder / "geography.sqlite")
    changes = [meant.format(table) for _, meant in SQL.CHANGES for table in SQL.TABLES]
    for query in (*SQL.ATTEMPTS, *changes):
        assert database.found(query) is None, query
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before and not list(tmp_path.iterdir())
    assert len(database.found("SELECT city_name FROM city")) == 150


def test_queries_lose_the_aliases_that_they_do_not_need(folder):
    database, names = SQL.Database(folder / "geography.sqlite"), {"state_name0": "s1"}
    shorter = database.simplified(ALIASED, names)
    assert shorter == ('SELECT CITY_NAME FROM CITY WHERE POPULATION = ( SELECT MAX( POPULATION ) FROM CITY WHERE '
                       'STATE_NAME = "state_name0" ) ;')
    assert database.rows(shorter, names) == database.rows(ALIASED, names) == [("c148",)]
    two = 'SELECT CITYalias0.CITY_NAME FROM CITY AS CITYalias0 , STATE AS STATEalias0 WHERE CITYalias0.STATE_NAME = ' \
          'STATEalias0.STATE_NAME ;'
    assert database.simplified(two, names) == ("SELECT CITY.CITY_NAME FROM CITY , STATE WHERE CITY.STATE_NAME = "
                                               "STATE.STATE_NAME ;")
    twice = "SELECT CITYalias0.CITY_NAME FROM CITY AS CITYalias0 , CITY AS CITYalias1 WHERE CITYalias0.POPULATION = " \
            "CITYalias1.POPULATION + 149 ;"
    assert database.simplified(twice, names) == twice and database.rows(twice, names) == [("c149",)]


def test_a_query_that_is_refused_agrees_with_none(folder):
    database = SQL.Database(folder / "geography.sqlite")
    assert database.agree("SELECT 1", "select 1 ;", {})
    assert not database.agree("SELECT 1", "SELECT 2", {})
    assert not database.agree("DROP TABLE lake", "DROP TABLE lake", {})


def test_a_writer_learns_two_queries_by_heart():
    pairs = [("how many lakes", "SELECT COUNT( 1 ) FROM LAKE ;"), ("which rivers", "SELECT RIVER_NAME FROM RIVER ;")]
    writer = SQL.Writer(pairs * 16, 0, argparse.Namespace(steps=30, threads=1))
    assert writer.write([text for text, _ in pairs]) == [query for _, query in pairs]


def test_text_to_sql_runs_on_made_up_data(folder, capsys):
    shares = SQL.main(["--data", str(folder), "--steps", "2", "--threads", "1"])
    assert shares["most similar question"] == shares["attempts refused"] == [1.0]
    assert shares["right ones refused"] == [0.0] and len(shares["execution accuracy"]) == 1
    assert "the database is as it was" in capsys.readouterr().out


def test_data_that_are_missing_are_one_line(tmp_path, capsys):
    (tmp_path / "geography.json").write_text("[{}]", encoding="utf-8")
    for where in tmp_path / "nowhere", tmp_path:
        with pytest.raises(SystemExit) as stopped:
            SQL.main(["--data", str(where)])
        said = capsys.readouterr().err
        assert stopped.value.code == 2 and said.count("\n") == 1 and str(where) in said and "--data" in said


def test_questions_have_the_answer_that_their_kind_says():
    rng, known = random.Random(0), INVENTED.WORDS
    for _ in range(100):
        for kind in INVENTED.KINDS:
            ids, targets = INVENTED.draw(rng, [kind])
            words, answer = [known[i] for i in ids], known[targets[-1]]
            text, (topic, mark) = " ".join(words[:-2]), words[-2:]
            assert mark == "?" and set(targets[:-1]) == {-100}
            assert (f"{topic} is {answer} ." in text) == (kind == "answered")
            assert (topic in text) == (kind != "absent") and (f"{topic} is not" in text) == (kind == "denied")
            assert (answer == "unknown") == (kind != "answered")


@pytest.mark.parametrize("taught, share", [((), 0), (("absent", "denied"), 0.25)])
def test_a_quarter_of_what_is_taught_has_no_answer(taught, share):
    source = INVENTED.Questions(0, taught)
    answers = np.concatenate([batch["targets"][batch["targets"] >= 0] for batch in map(source.batch, range(10))])
    assert len(answers) == 10 * 32 * 4
    assert np.mean(answers == INVENTED.ID["unknown"]) == pytest.approx(share, abs=0.04 if share else 0)
    assert np.array_equal(source.batch(3)["ids"], INVENTED.Questions(0, taught).batch(3)["ids"])


def test_it_answers_what_nobody_can_know_until_it_is_taught_not_to():
    rng, unknown = random.Random(0), INVENTED.ID["unknown"]
    answered, absent = ([INVENTED.draw(rng, [kind]) for _ in range(100)] for kind in INVENTED.KINDS[:2])
    for taught in (), ("absent",):
        model = INVENTED.learn(0, taught, argparse.Namespace(steps=40, threads=1))
        invents = np.mean(INVENTED.answers(model, absent)[0] != unknown)
        assert invents < 0.5 if taught else invents == 1  # it has learnt no other word
        said, sure = INVENTED.answers(model, answered)
        assert np.mean(said == [targets[-1] for _, targets in answered]) > 0.25  # chance: an eighth
        assert ((0 < sure) & (sure <= 1)).all()
