"""One example a record: lines, CSV, TSV, JSON and JSON Lines, with errors that name the line.

Running text becomes documents; labelled, paired and chat data come as records with columns. A column is named by its
header, or numbered from 0 where the file has no header. The format follows the file name: .csv, .json, .jsonl (each
also with .gz); everything else is tab separated. TSV has no quoting: a quotation mark is a character. The names of
synthetic data sets serve as files that hold them.

Prerequisites: text_files.py, synthetic/. Next: embedded.py.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..files import parse_json, shown
from ..files.shown import listed
from .synthetic import SYNTHETIC
from .text_files import MAX_LINE, read_chunks, read_lines

__all__ = ["file_format", "located_columns", "located_records", "read_columns"]

Record = dict[str | int, Any]

MAX_COLUMNS = 10_000
MAX_ARRAY, MAX_ARRAY_VALUES = 1 << 28, 10_000_000  # characters and values of a .json file; .jsonl is read line by line


def file_format(path: str | Path) -> str:
    """"csv", "json", "jsonl" or "tsv", by the name of the file.

    >>> file_format("reviews.csv"), file_format("chats.jsonl.gz"), file_format("SMSSpamCollection")
    ('csv', 'jsonl', 'tsv')
    """
    suffix = Path(str(path).removesuffix(".gz")).suffix.lower().removeprefix(".")
    return suffix if suffix in ("csv", "json", "jsonl") else "tsv"


# ---------------------------------------------------------------------------------------------------------------------
# Each format yields (where, record): the place for error messages, and the values by column.


def _split_csv(path: str | Path, header: bool) -> Iterator[tuple[int, list[str]]]:
    """Rows; where a space follows every comma of the header, it belongs to the commas."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))  # the module's own is 131,072: less than a long text
    lines = read_lines(path)
    first = next(lines, "")
    spaced = header and ", " in first and not re.search(",(?! )", first)
    reader = csv.reader(itertools.chain([first], lines), strict=True, skipinitialspace=spaced)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not valid CSV ({error})") from error


def _split_tsv(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_lines(path), 1):
        line = line.removesuffix("\n")
        if line.count("\t") >= MAX_COLUMNS:
            raise _too_wide(path, number)
        yield number, line.split("\t") if line else []


def _too_wide(path: str | Path, line: int) -> ValueError:
    return ValueError(f"{path}, line {line}: more than {MAX_COLUMNS:,} columns")


def _table(path: str | Path, rows: Iterator[tuple[int, list[str]]], header: bool) -> Iterator[tuple[str, Record]]:
    names: list[str | int] = []
    for line, row in rows:
        if not row:
            continue  # a blank line
        if not names:
            if len(row) > MAX_COLUMNS:
                raise _too_wide(path, line)
            names = [name.strip() for name in row] if header else list(range(len(row)))
            if len(set(names)) < len(names):
                raise ValueError(f"{path}, line {line}: the header names a column twice: {listed(row)}")
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
            yield where, _as_record(where, parse_json(line, where))


def _whole(path: str | Path) -> str:
    chunks, size = [], 0
    for chunk in read_chunks(path):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ARRAY:
            raise ValueError(f"{path}: a JSON array of more than {MAX_ARRAY:,} characters; write one record a line and "
                             "name the file .jsonl, which is read line by line")
    return "".join(chunks)


def _json_array(path: str | Path) -> Iterator[tuple[str, Record]]:
    try:
        values = parse_json(_whole(path), str(path), MAX_ARRAY_VALUES)
    except ValueError as error:
        hint = "; one object a line is named .jsonl" if "(Extra data at" in str(error) else ""
        raise ValueError(f"{error}{hint}") from None
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
            records = _table(path, _split_csv(path, header), header)
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
        raise ValueError(f"{where}: column {shown(column)} holds {json.dumps(value)[:40]}, expected text or a number")
    return json.dumps(value)


def located_columns(path: str | Path, columns: Sequence[str | int]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """As `read_columns`, each with the file and line that it comes from, for messages about its contents."""
    wanted = [int(column) if len(str(column)) < 10 and str(column).isdecimal() else column for column in columns]
    header = any(isinstance(column, str) for column in wanted)
    if header and any(isinstance(column, int) for column in wanted):
        raise ValueError(f"name all columns or number all of them, got {shown(list(columns))}")
    records = located_records(path, header)
    if not header and file_format(path) in ("csv", "tsv"):
        records = _without_numbers(records)
    for where, record in records:
        for column in wanted:
            if column not in record:
                kind = "named" if header else "numbered"
                raise ValueError(f"{where}: no column {kind} {shown(column)}; it has {listed(record)}"
                                 f"{'; without a header line, columns are numbered from 0' * header}")
        yield where, tuple(_as_text(where, column, record[column]) for column in wanted)


def _without_numbers(records: Iterator[tuple[str, Record]]) -> Iterator[tuple[str, Record]]:
    """The records of a table of which no column is named, without a first line that numbers the columns.

    pandas writes 0,1,2 above a table without names. With the row numbers beside it, the line begins with an empty cell,
    and column 0 is the second.
    """
    first = next(records, None)
    if first is None:
        return
    cells = list(first[1].values())
    shift = int(len(cells) > 1 and cells[0] == "")
    if len(cells) - shift > 1 and cells[shift:] == [str(number) for number in range(len(cells) - shift)]:
        warnings.warn(f"{first[0]}: {listed(cells)} is taken for a header that numbers the columns", stacklevel=3)
        for where, record in records:
            yield where, {number: record[number + shift] for number in range(len(cells) - shift)}
        return
    yield first
    yield from records


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
