"""One example a record: lines, CSV, TSV, JSON and JSON Lines, with errors that name the line.

Running text becomes documents; labelled, paired and chat data come as records with columns. A column is named by its
header, or numbered from 0 where the file has no header. The format follows the file name: .csv, .json, .jsonl (each
also with .gz); everything else is tab separated. TSV has no quoting: a quotation mark is a character. The names of
synthetic data sets serve as files that hold them.

Prerequisites: text_files.py, synthetic/. Next: embedded.py.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .synthetic import SYNTHETIC
from .text_files import read_chunks, read_lines

__all__ = ["file_format", "located_columns", "located_records", "read_columns"]

Record = dict[str | int, Any]


def file_format(path: str | Path) -> str:
    """"csv", "json", "jsonl" or "tsv", by the name of the file.

    >>> file_format("reviews.csv"), file_format("chats.jsonl.gz"), file_format("SMSSpamCollection")
    ('csv', 'jsonl', 'tsv')
    """
    suffix = Path(str(path).removesuffix(".gz")).suffix.lower().removeprefix(".")
    return suffix if suffix in ("csv", "json", "jsonl") else "tsv"


# ---------------------------------------------------------------------------------------------------------------------
# Each format yields (where, record): the place for error messages, and the values by column.


def _split_csv(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(read_lines(path), strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not valid CSV ({error})") from error


def _split_tsv(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_lines(path), 1):
        line = line.removesuffix("\n")
        yield number, line.split("\t") if line else []


def _table(path: str | Path, rows: Iterator[tuple[int, list[str]]], header: bool) -> Iterator[tuple[str, Record]]:
    names: list[str | int] = []
    for line, row in rows:
        if not row:
            continue  # a blank line
        if not names:
            names = list(row) if header else list(range(len(row)))
            if len(set(names)) < len(names):
                raise ValueError(f"{path}, line {line}: the header names a column twice: {', '.join(map(str, row))}")
            if header:
                continue
        if len(row) != len(names):
            raise ValueError(f"{path}, line {line}: {len(row)} fields, but the first line has {len(names)}")
        yield f"{path}, line {line}", dict(zip(names, row))


def _as_record(where: str, value: Any) -> Record:
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list):
        return dict(enumerate(value))
    raise ValueError(f"{where}: expected a JSON object or array for each record, got {json.dumps(value)[:40]}")


def _json_lines(path: str | Path) -> Iterator[tuple[str, Record]]:
    for number, line in enumerate(read_lines(path), 1):
        where = f"{path}, line {number}"
        if line.strip():
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{where}: not valid JSON ({error.msg} at column {error.colno})") from error
            yield where, _as_record(where, value)


def _json_array(path: str | Path) -> Iterator[tuple[str, Record]]:
    try:
        values = json.loads("".join(read_chunks(path)))
    except json.JSONDecodeError as error:
        hint = "; one object a line is named .jsonl" if error.msg == "Extra data" else ""
        raise ValueError(
            f"{path}, line {error.lineno}: not valid JSON ({error.msg} at column {error.colno}){hint}") from error
    if not isinstance(values, list):
        raise ValueError(f"{path}: expected a JSON array of records, got {json.dumps(values)[:40]}")
    for number, value in enumerate(values, 1):
        where = f"{path}, record {number}"
        yield where, _as_record(where, value)


def located_records(path: str | Path, header: bool = True) -> Iterator[tuple[str, Record]]:
    """The records of a file as dicts, JSON values as they are, table cells as strings; each after the place that it
    comes from, file and line, for messages about its contents.

    Args:
        path: a .csv, .json, .jsonl (or .gz of these) or tab-separated file, UTF-8; or a name in `SYNTHETIC`.
        header: the first line of a table names its columns; if False, columns are numbered from 0.

    Raises:
        ValueError: broken JSON or CSV, a line with too many or too few fields (all with the line), an empty file.
    """
    if str(path) in SYNTHETIC and not Path(path).exists():
        for number, example in enumerate(SYNTHETIC[str(path)].records(), 1):
            yield f"{path}, record {number}", {column: text for column, text in example.items()}
        return
    match file_format(path):
        case "csv":
            records = _table(path, _split_csv(path), header)
        case "jsonl":
            records = _json_lines(path)
        case "json":
            records = _json_array(path)
        case _:
            records = _table(path, _split_tsv(path), header)
    first = next(records, None)
    if first is None:
        raise ValueError(f"{path} holds no records")
    yield first
    yield from records


# ---------------------------------------------------------------------------------------------------------------------
# What callers use


def _as_text(where: str, column: str | int, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (dict, list)):
        raise ValueError(f"{where}: column {column!r} holds {json.dumps(value)[:40]}, expected text or a number")
    return json.dumps(value)


def located_columns(path: str | Path, columns: Sequence[str | int]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """As `read_columns`, each with the file and line that it comes from, for messages about its contents."""
    wanted = [int(column) if str(column).isdecimal() else column for column in columns]
    header = any(isinstance(column, str) for column in wanted)
    if header and any(isinstance(column, int) for column in wanted):
        raise ValueError(f"name all columns or number all of them, got {list(columns)}")
    for where, record in located_records(path, header):
        for column in wanted:
            if column not in record:
                kind = "named" if header else "numbered"
                raise ValueError(f"{where}: no column {kind} {column!r}; it has "
                                 f"{', '.join(str(name)[:30] for name in record)}"
                                 f"{'; without a header line, columns are numbered from 0' * header}")
        yield where, tuple(_as_text(where, column, record[column]) for column in wanted)


def read_columns(path: str | Path, columns: Sequence[str | int]) -> Iterator[tuple[str, ...]]:
    """The named columns of every record, as text.

    Args:
        path: as for `located_records`.
        columns: names (then a table's first line is its header), or numbers from 0 (then it has none); a number may
            also come as a string of digits, as a command line gives it.

    Raises:
        ValueError: a missing column, and all that `located_records` raises.

    Example: `for text, label in read_columns("reviews.csv", ["text", "label"]): …`
    """
    return (values for _, values in located_columns(path, columns))
