"""Labelled texts: read with errors that name the line; split by class, with equal texts on one side."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygpt.data.labelled import class_balance, label_names, read_labelled, split_labelled

EXAMPLES = st.lists(st.tuples(st.text("abc", min_size=1, max_size=3), st.sampled_from("xyz")), min_size=4, max_size=80)


@given(EXAMPLES, st.floats(0.05, 0.95), st.integers(0, 5))
def test_split(examples, validation: float, seed: int) -> None:
    first: dict[str, str] = {}
    for text, label in examples:
        first.setdefault(text, label)
    per_class = Counter(first.values())
    if len({label for _, label in examples}) < 2 or max(per_class.values()) < 2:
        with pytest.raises(ValueError):
            split_labelled(examples, validation, seed)
        return
    train, held = split_labelled(examples, validation, seed)
    assert Counter(train) + Counter(held) == Counter(examples)
    assert not {text for text, _ in train} & {text for text, _ in held}
    assert [e for e in examples if e in set(train)] == train  # the order given
    assert split_labelled(examples, validation, seed) == (train, held)
    texts = {text for text, _ in held}
    for label, n in per_class.items():  # of each class the same fraction, to a whole text
        n_held = sum(first[text] == label for text in texts)
        assert n_held == (min(max(1, round(validation * n)), n - 1) if n > 1 else 0)


def test_split_depends_on_the_seed() -> None:
    examples = [(f"text {i}", "ab"[i % 2]) for i in range(40)]
    assert len({tuple(split_labelled(examples, 0.25, seed)[1]) for seed in range(5)}) == 5


@pytest.mark.parametrize("examples, validation, about", [
    ([("a", "x"), ("b", "x")], 0.5, "two classes at least; all 2 texts have the label 'x'"),
    ([("a", "x"), ("b", "y")], 0.5, "every class has a single text"),
    ([("a", "x"), ("b", "y")], 1.0, r"in \(0, 1\)"),
])
def test_split_errors(examples, validation: float, about: str) -> None:
    with pytest.raises(ValueError, match=about):
        split_labelled(examples, validation)


def test_names_and_balance() -> None:
    assert label_names([("", "2"), ("", "10"), ("", "1")]) == ["1", "2", "10"]
    assert label_names([("", "2"), ("", "b"), ("", "10")]) == ["10", "2", "b"]
    assert class_balance(["b", "a"]) == "a 1 (50.0%), b 1 (50.0%)"


@pytest.mark.parametrize("name, content, columns", [
    ("a.csv", 'text,label\n"a, b",x\nc,y\n', ("text", "label")), ("a.csv", 'x,"a, b"\ny,c\n', ("1", "0")),
    ("a.tsv", "text\tother\tlabel\na, b\t0\tx\nc\t1\ty\n", ("text", "label")), ("a", "x\ta, b\ny\tc", (1, 0)),
    ("a.jsonl", '{"text": "a, b", "label": "x"}\n{"text": "c", "label": "y"}\n', ("text", "label")),
    ("a.json", '[{"t": " a, b ", "l": "x"}, {"t": "c", "l": " y"}]', ("t", "l")),
])
def test_formats(tmp_path: Path, name: str, content: str, columns) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_labelled(tmp_path / name, *columns) == [("a, b", "x"), ("c", "y")]


@pytest.mark.parametrize("name, content, about", [
    ("a.csv", "text,stars\na,1\n", "a.csv, line 2: no column named 'label'; it has text, stars"),
    ("a.tsv", "text\tlabel\na\t \n", "a.tsv, line 2: the label is empty"),
    ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": \n', "a.jsonl, line 2: not valid JSON"),
    ("a.tsv", "text\tlabel\n \tx\n\ty\n", r"holds no text: every one is empty \(.*a.tsv, line 2 is the first"),
    ("a.tsv", "text\tlabel\na\n", "a.tsv, line 2: 1 fields, but the first line has 2"),
])
def test_errors(tmp_path: Path, name: str, content: str, about: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=about):
        read_labelled(tmp_path / name)


def test_empty_texts_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tlabel\na\tx\n\ty\nb\ty\n \tx\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"left out 2 of 4 texts, which are empty \(the first: .*a.tsv, line 3\)"):
        assert read_labelled(tmp_path / "a.tsv") == [("a", "x"), ("b", "y")]


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes("text\tlabel\nseñal\tx\n".encode() + "señal\ty\n".encode("latin-1"))
    with pytest.warns(UserWarning, match=r"1 bytes are not valid UTF-8 .*\(the first is in line 3\)"):
        assert read_labelled(tmp_path / "a.tsv")[1] == ("se\ufffdal", "y")
