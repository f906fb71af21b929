"""Queries of strangers: what reads runs, what does anything else is refused, and the file stays as it was."""

from __future__ import annotations

import sqlite3
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.evaluation.sql import QueryRefused, run_query, same_rows


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("sql ?#%20") / "towns.sqlite"  # a name that a URI has to escape
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE town (name TEXT, people INTEGER); CREATE INDEX own ON town (people);"
                             "INSERT INTO town VALUES ('Ulm', 126), ('Bonn', 331), ('Jena', 111);")
    connection.close()
    return path


@pytest.mark.parametrize("query, expected", [
    ("SELECT name FROM town WHERE people > 120 ORDER BY name", [("Bonn",), ("Ulm",)]),
    ("select count(*), max(people) from town;", [(3, 331)]),
    ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4) SELECT sum(i) FROM n", [(10,)]),
    ("SELECT upper(substr(name, 1, 1)) FROM town WHERE name LIKE 'J%'", [("J",)]),
    ("SELECT 1 -- a comment", [(1,)])])
def test_what_reads_runs(database, query, expected):
    assert run_query(database, query) == expected


@pytest.mark.parametrize("query", [
    "INSERT INTO town VALUES ('x', 1)", "UPDATE town SET people = 0", "DELETE FROM town", "DROP TABLE town",
    "CREATE TABLE t (x)", "CREATE TEMP TABLE t (x)", "CREATE VIEW v AS SELECT 1", "ALTER TABLE town RENAME TO t",
    "ATTACH DATABASE ':memory:' AS other", "ATTACH 'stolen.sqlite' AS s", "DETACH main", "PRAGMA writable_schema = 1",
    "PRAGMA table_info(town)", "SELECT * FROM pragma_table_info('town')", "VACUUM", "VACUUM INTO 'copy.sqlite'",
    "BEGIN", "COMMIT", "SAVEPOINT s", "REINDEX", "ANALYZE", "SELECT load_extension('x')", "EXPLAIN DELETE FROM town",
    "SELECT 1; DELETE FROM town", "WITH x AS (SELECT 1) DELETE FROM town", "REPLACE INTO town VALUES ('x', 1)",
    "SELECT zeroblob(900000000)",
    "SELECT replace(replace(name, 'U', (SELECT group_concat(a.name || b.name || c.name "
    "|| d.name || e.name || f.name || g.name || h.name || i.name || j.name || k.name) FROM town a, town b, town c, "
    "town d, town e, town f, town g, town h, town i, town j, town k)), 'l', 'll') FROM town",
    "SELECT printf('%.*c', 900000000, 'x')", "SELECT '" + "x" * 20_000 + "'",
    "SELECT " + "(" * 500 + "1" + ")" * 500, "SELECT nothing FROM nowhere", "no SQL at all", "", "-- nothing",
    "SELECT '\x00'", "SELECT \ud800"])
def test_everything_else_is_refused(database, query, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = database.read_bytes()
    with pytest.raises(QueryRefused, match="was refused: "):
        run_query(database, query)
    assert database.read_bytes() == before and not list(tmp_path.iterdir())
    assert [path.name for path in database.parent.iterdir()] == ["towns.sqlite"]


@pytest.mark.parametrize("query", [
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "SELECT count(*) FROM town a, town b, town c, town d, town e, town f, town g, town h, town i, town j, town k, "
    "town l, town m, town n, town o, town p, town q, town r, town s, town t"])
def test_endless_queries_are_stopped(database, query):
    start = time.monotonic()
    with pytest.raises(QueryRefused, match="it ran for more than 0.2 s"):
        run_query(database, query, seconds=0.2)
    assert time.monotonic() - start < 5


def test_too_many_rows_and_no_file(database, tmp_path):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    with pytest.raises(QueryRefused, match="it finds more than 5 rows"):
        run_query(database, endless, max_rows=5)
    with pytest.raises(FileNotFoundError, match="no database"):
        run_query(tmp_path / "none.sqlite", "SELECT 1")
    (tmp_path / "text").write_text("no database at all, but a text of some length" * 9)
    with pytest.raises(QueryRefused, match="not a database"):
        run_query(tmp_path / "text", "SELECT 1 FROM town")


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab")), max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_the_order_of_rows_counts_where_it_was_asked_for(rows, random):
    other = list(rows)
    random.shuffle(other)
    assert same_rows(rows, other) and same_rows(rows, other, ordered=True) == (rows == other)
    assert not same_rows(rows, [*rows, (9, "z")])


def test_real_queries(shared_data):
    assert run_query(shared_data / "geography.sqlite", "SELECT count(*) FROM state")[0][0] >= 50
