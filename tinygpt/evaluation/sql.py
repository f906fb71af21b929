"""Queries that a model wrote, run where they can do no harm, and compared by what they find.

Code of a model is code of a stranger. A query may write, attach another file, change a setting, or never end, whether
by mistake or because the question asked for it. So nothing is forbidden by name; a few things are allowed, and the rest
is refused by the database itself:

    opened        read only, by its URI: no other file is opened or made
    authorizer    SELECT, reading columns, recursion, and the functions of a list
    time, rows    the engine is stopped after a second; more rows than a limit are an error
    sizes         of a statement, a string, a pattern and an expression; one statement at a time

Two queries agree if they find the same rows (execution accuracy): many wordings of a query are right.

What it does not see: two queries that agree on this database and not on another.

Prerequisites: files/shown.py. Next: free_answers.py. Zhong, Yu and Klein, "Semantic evaluation for text-to-SQL with
distilled test suites" (2020).
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ..files import shown

__all__ = ["QueryRefused", "run_query", "same_rows"]

ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
# Of functions those that queries need. Some of the others load code, and printf('%.*c', 900000000, 'x') works for a
# minute at a string that the limit on lengths then refuses.
FUNCTIONS = {"abs", "avg", "coalesce", "count", "date", "datetime", "glob", "group_concat", "ifnull", "iif", "instr",
             "julianday", "length", "like", "lower", "ltrim", "max", "min", "nullif", "replace", "round", "rtrim",
             "strftime", "substr", "substring", "sum", "time", "total", "trim", "typeof", "upper"}
SIZES = {sqlite3.SQLITE_LIMIT_LENGTH: 1_000_000, sqlite3.SQLITE_LIMIT_SQL_LENGTH: 10_000,
         sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100, sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
         sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100, sqlite3.SQLITE_LIMIT_ATTACHED: 0}
STEPS = 1_000  # of the engine between two looks at the clock

Row = tuple[Any, ...]


class QueryRefused(ValueError):
    """A query that was not run to its end; the message says why."""


def _authorize(action: int, first: str | None, second: str | None, *rest: str | None) -> int:
    refused = action not in ALLOWED \
        or action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in FUNCTIONS
    return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK


def run_query(database: str | Path, query: str, *, seconds: float = 1.0, max_rows: int = 10_000) -> list[Row]:
    """The rows that a query finds.

    Args:
        database: an SQLite file; it is not changed.
        query: one SELECT.
        seconds, max_rows: after which it is stopped.

    Raises:
        QueryRefused: the query would do more than read, is no SQL, takes too long, or finds too much.
        FileNotFoundError: no such file.
    """
    path = Path(database).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"no database {shown(str(database))}")
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        for kind, size in SIZES.items():
            connection.setlimit(kind, size)
        end = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > end, STEPS)
        connection.set_authorizer(_authorize)
        cursor = connection.execute(query)
        if cursor.description is None:  # nothing, or a comment: it would agree with whatever finds no rows
            raise ValueError("it is no query")
        rows = cursor.fetchmany(max_rows + 1)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        late = "interrupted" in str(error)
        reason = f"it ran for more than {seconds:g} s" if late else str(error)
        raise QueryRefused(f"the query {shown(query, 60)} was refused: {reason}") from None
    finally:
        connection.close()
    if len(rows) > max_rows:
        raise QueryRefused(f"the query {shown(query, 60)} was refused: it finds more than {max_rows:,} rows")
    return rows


def same_rows(ours: list[Row], theirs: list[Row], ordered: bool = False) -> bool:
    """Whether two queries found the same rows, each as often; in the same order if that was asked for.

    >>> same_rows([(1, "a"), (2, "b")], [(2, "b"), (1, "a")])
    True
    """
    return ours == theirs if ordered else Counter(ours) == Counter(theirs)
