"""Records in four formats, and the line that every error names."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.data import located_records, read_columns

ROWS = [("good \"film\"", "1"), ("bad, sad\nfilm", "0"), ("ñandú", "-1")]


def write_all_formats(folder: Path, rows: list[tuple[str, str]]) -> list[Path]:
    table = io.StringIO(newline="")
    csv.writer(table).writerows([("text", "label"), *rows])
    objects = [{"text": text, "label": int(label), "more": None} for text, label in rows]
    contents = {"a.csv": table.getvalue(), "a.json": json.dumps(objects, indent=1),
                "a.jsonl": "\n".join(map(json.dumps, objects))}
    for name, content in contents.items():
        (folder / name).write_bytes(content.encode("utf-8"))
    (folder / "a.csv.gz").write_bytes(gzip.compress(table.getvalue().encode("utf-8")))
    return [folder / name for name in ("a.csv", "a.json", "a.jsonl", "a.csv.gz")]


def test_formats_agree(tmp_path: Path) -> None:
    for path in write_all_formats(tmp_path, ROWS):
        assert list(read_columns(path, ["text", "label"])) == ROWS, path
        assert list(read_columns(path, ["label"])) == [(label,) for _, label in ROWS]


@settings(max_examples=30)
@given(rows=st.lists(
    st.tuples(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.integers().map(str)), min_size=1))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    for path in write_all_formats(tmp_path_factory.mktemp("rows"), rows):
        assert list(read_columns(path, ["text", "label"])) == rows


def test_tsv_has_no_quoting_and_columns_may_be_numbers(tmp_path: Path) -> None:
    path = tmp_path / "messages"
    path.write_text('ham\t"Ok" lar\n\nspam\tsay "yes\n', encoding="utf-8")
    assert list(read_columns(path, [1, 0])) == [('"Ok" lar', "ham"), ('say "yes', "spam")]
    assert list(read_columns(path, ["1", "0"])) == list(read_columns(path, [1, 0]))
    assert list(read_columns(path, ['"Ok" lar'])) == [('say "yes',)]  # a name makes the first line a header


def test_rows_as_json_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('["a", 1]\n["b", true]\n', encoding="utf-8")
    assert list(read_columns(path, [0, 1])) == [("a", "1"), ("b", "true")]


def _records(path: Path, header: bool = True) -> list:
    return [record for _, record in located_records(path, header)]


def test_records_keep_json_values(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"chat": [{"role": "user"}], "n": 1.5}]', encoding="utf-8")
    assert _records(path) == [{"chat": [{"role": "user"}], "n": 1.5}]
    table = tmp_path / "b.tsv"
    table.write_text("x\ty\n1\t2\n", encoding="utf-8")
    assert _records(table) == [{"x": "1", "y": "2"}]
    assert _records(table, header=False) == [{0: "x", 1: "y"}, {0: "1", 1: "2"}]


@pytest.mark.parametrize(("name", "content", "columns", "message"), [
    ("a.jsonl", '{"text": "x"}\n{"text": \n', ["text"], r"a.jsonl, line 2: not valid JSON \(Expecting value"),
    ("a.jsonl", '{"text": "x"}\n\n{"label": 1}\n', ["text"], "a.jsonl, line 3: no column named 'text'; it has label"),
    ("a.jsonl", '"x"\n', ["text"], "a.jsonl, line 1: expected a JSON object or array for each record"),
    ("a.jsonl", '{"text": null}\n', ["text"], "a.jsonl, line 1: column 'text' holds null, expected text or a number"),
    ("a.json", '[\n{"text": "x"},\n{"text"}]', ["text"], "a.json, line 3: not valid JSON"),
    ("a.json", '{"text": "x"}\n{"text": "y"}', ["text"], "a.json, line 2: .*one object a line is named .jsonl"),
    ("a.json", '{"text": "x"}', ["text"], "a.json: expected a JSON array of records"),
    ("a.json", '[{"text": "x"}, 3]', ["text"], "a.json, record 2: expected a JSON object"),
    ("a.json", "[]", ["text"], "a.json holds no records"),
    ("a.csv", "text,label\nx,1\ny\n", ["text"], "a.csv, line 3: 1 fields, but the first line has 2"),
    ("a.csv", "text,label\nx,1\n", ["txt"], "a.csv, line 2: no column named 'txt'; it has text, label"),
    ("a.csv", "text,label\n", ["text"], "a.csv holds no records"),
    ("a.csv", "text,text\nx,1\n", ["text"], "a.csv, line 1: the header names a column twice"),
    ("a.csv", 'text,label\n"x" y,1\n', ["text"], "a.csv, line 2: not valid CSV"),
    ("a.csv", 'text,label\nx,1\n"y,2\n', ["text"], "a.csv, line 3: not valid CSV"),
    ("a.tsv", "x\t1\ny\t2\t3\n", [0], "a.tsv, line 2: 3 fields, but the first line has 2"),
    ("a.tsv", "x\t1\n", [2], "a.tsv, line 1: no column numbered 2; it has 0, 1"),
    ("a.tsv", "x\t1\n", ["x", 1], "name all columns or number all of them"),
    ("a.tsv", "", [0], "a.tsv is empty"),
])
def test_errors_name_the_place(tmp_path: Path, name: str, content: str, columns: list[str | int], message: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        list(read_columns(path, columns))


def test_real_files(shared_data: Path) -> None:
    labels = [label for label, _ in read_columns(shared_data / "SMSSpamCollection", [0, 1])]
    assert (labels.count("ham"), labels.count("spam")) == (4827, 747)
    assert len(list(read_columns(shared_data / "sst2_train.tsv", [0, 1]))) == 6920
    assert len(_records(shared_data / "instruction-data.json")) == 1100
    assert sum(1 for _ in read_columns(shared_data / "spa.txt.gz", [0, 1])) == 118_964


def test_a_long_field(tmp_path: Path) -> None:
    text = "a \"long\" text, " * 20_000
    for path in write_all_formats(tmp_path, [(text, "1"), ("b", "0")]):
        assert list(read_columns(path, ["text"])) == [(text,), ("b",)]


@pytest.mark.parametrize("content", ["0,1\nx y,a\nz,b\n", ",0,1\n0,x y,a\n1,z,b\n"])
def test_a_line_that_numbers_the_columns_is_a_header(tmp_path: Path, content: str) -> None:
    """As pandas writes tables without names, the second with the rows' numbers."""
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.warns(UserWarning, match="a.csv, line 1: .*0, 1 is taken for a header that numbers the columns"):
        assert list(read_columns(path, [0, "1"])) == [("x y", "a"), ("z", "b")]


@pytest.mark.parametrize("content", ["1,0\nx,a\n", "0\n1\n", "0,1,3\nx,y,z\n"])
def test_other_lines_of_numbers_are_records(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    assert len(list(read_columns(path, [0]))) == 2


def test_spaces_in_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('label, text\nham, "one, two"\nspam, three\n', encoding="utf-8")
    assert list(read_columns(path, ["text", "label"])) == [("one, two", "ham"), ("three", "spam")]
    path.write_text("label,text \nham, one\n", encoding="utf-8")
    assert list(read_columns(path, ["text"])) == [(" one",)]
    path = tmp_path / "a.jsonl"
    path.write_text('{" text": "x"}', encoding="utf-8")
    with pytest.raises(ValueError, match="no column named 'text'; it has ' text'"):
        list(read_columns(path, ["text"]))


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.jsonl", '{"text": "x"}\n{"text": ' + "[" * 100_000, r"a.jsonl, line 2: not valid JSON \(nested too deeply"),
    ("a.jsonl", '{"text": "x"}\n{"text": "\\ud83d"}', r"a.jsonl, line 2: not valid JSON \(.ud83d is half of"),
    ("a.jsonl", '{"text": "x", "text": "y"}', "a.jsonl, line 1: not valid JSON .*'text' is given twice"),
    ("a.jsonl", '{"text": ' + "9" * 5000 + "}", "a.jsonl, line 1: not valid JSON .*5,000 digits"),
    ("a.json", "[" * 100_000, "a.json: not valid JSON .nested too deeply"),
    ("a.json", '[\n{"text": "x", "n": 1e999}]', "a.json: not valid JSON .the number 1e999 is too large"),
    ("a.tsv", "text" + "\t" * 20_000, "a.tsv, line 1: more than 10,000 columns"),
    ("a.csv", "text" + "," * 20_000, "a.csv, line 1: more than 10,000 columns"),
    ("a.csv", ",".join(f"c{n}\x1b" for n in range(9000)) + "\n" + "," * 8999, r"it has 'c0\\x1b', .*'c9\\x1b', …"),
])
def test_hostile_records(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        list(read_columns(path, ["text"]))
    assert len(str(caught.value)) < 600
