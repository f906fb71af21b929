"""What may be named as data, and the one clear sentence for what may not."""

from __future__ import annotations

import gzip
import io
import os
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.data import Documents, embedded_documents, sources
from tinygpt.data.sources import bounded
from tinygpt.tokenizers import ByteBPE


def test_files_in_the_order_given_and_again(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"bee\r\n")
    (tmp_path / "a.md.gz").write_bytes(gzip.compress(b"ay"))
    (tmp_path / "c.jsonl").write_text('{"text": "one", "n": 1}\n{"text": "two"}\n', encoding="utf-8")
    documents = Documents([tmp_path / "b.txt", str(tmp_path / "a.md.gz"), tmp_path / "c.jsonl"])
    assert list(documents) == ["bee\n", "ay", "one", "two"]
    assert list(documents) == ["bee\n", "ay", "one", "two"]
    assert list(Documents(tmp_path / "b.txt")) == ["bee\n"]


def test_folder_is_sorted_and_counts_what_it_skips(tmp_path: Path) -> None:
    for name in ("z.txt", "sub/a.py", "sub/.hidden", ".git/config", "b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\x00")
    (tmp_path / "empty.txt").touch()
    with pytest.warns(UserWarning, match=r"reading 3 files; skipped 2 hidden ones and 2 that are empty or not text "
                                         r"\(such as empty.txt\)"):
        documents = Documents([tmp_path])
    assert list(documents) == ["b.txt", "sub/a.py", "z.txt"]


def test_folder_without_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no text file"):
        Documents([tmp_path])


def test_standard_input_can_be_iterated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    documents = Documents("-")
    assert list(documents) == list(documents) == ["from a pipe"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_named_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"flowing",))
    writer.start()
    documents = Documents(pipe)
    writer.join()
    assert list(documents) == list(documents) == ["flowing"]


def test_named_corpora_and_paths_that_shadow_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "names.txt").write_text("ana\n", encoding="utf-8")
    monkeypatch.setenv("TINYGPT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert list(Documents("names")) == ["ana\n"]
    (tmp_path / "names").write_text("a file of that name", encoding="utf-8")
    assert list(Documents("names")) == ["a file of that name"]


def test_nothing_named_is_the_embedded_corpus() -> None:
    assert tuple(Documents()) == embedded_documents() == tuple(Documents(["python-docs"]))


@pytest.mark.parametrize(("spec", "error", "message"), [
    ("shakespere", FileNotFoundError, "no file or folder 'shakespere', .*did you mean 'shakespeare'"),
    ("no/such.txt", FileNotFoundError, "no file or folder 'no/such.txt', and no corpus has that name"),
    ("", FileNotFoundError, "no file or folder ''"),
    ("empty.txt", ValueError, "empty.txt is empty"),
    ("paper.pdf", ValueError, "paper.pdf is a PDF; extract its text first"),
    ("binary", ValueError, "binary is binary, not text"),
])
def test_bad_names_are_errors_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str,
                                                      error: type[Exception], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").touch()
    Path("paper.pdf").write_bytes(b"%PDF-1.4")
    Path("binary").write_bytes(b"a\x00b")
    with pytest.raises(error, match=message) as caught:
        Documents([spec])
    assert "\n" not in str(caught.value)


def test_invalid_utf8_is_one_warning_that_counts(tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("año, señor\n".encode("latin-1") * 1000)
    with pytest.warns(UserWarning) as caught:
        text = "".join(Documents([path]))
    assert [str(warning.message) for warning in caught] == [
        f"{path}: 2000 bytes are not valid UTF-8 and were replaced by U+FFFD (the first is in line 1)"]
    assert text == "a\ufffdo, se\ufffdor\n" * 1000


def test_jsonl_without_text_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"body": "b"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="a.jsonl, line 2: no column named 'text'; it has body"):
        list(Documents([path]))


def test_a_long_file_comes_in_bounded_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.txt"
    path.write_text("word and word\n" * 1000, encoding="utf-8")
    monkeypatch.setattr(sources.bounded, "__defaults__", (1000,))
    parts = list(Documents([path]))
    assert len(parts) == 15 and max(map(len, parts)) <= 1000
    assert "".join(parts) == path.read_text(encoding="utf-8")


@settings(max_examples=50)
@given(chunks=st.lists(st.text(" a\n", max_size=12)), limit=st.integers(1, 12))
def test_bounded_keeps_every_character(chunks: list[str], limit: int) -> None:
    parts = list(bounded(chunks, limit))
    assert "".join(parts) == "".join(chunks)
    assert all(0 < len(part) <= limit for part in parts)


@pytest.fixture(scope="module")
def bpe() -> ByteBPE:
    return ByteBPE.train("the cat  sat, on the mat.\n\n  It's the cat's mat; isn't it?\n" * 3, vocab_size=300)


@settings(max_examples=100)
@given(words=st.lists(
    st.sampled_from(["the", "cat's", "  ", "\n\n", " \n", "mat.", "it?\n", "é", " ", "a b"]), min_size=8))
def test_cuts_change_no_token(bpe: ByteBPE, words: list[str]) -> None:
    text = " x y".join(words)  # a place to cut within any 20 characters
    whole = bpe.encode(text)
    for limit in (20, 33):
        assert [token for part in bounded([text], limit) for token in bpe.encode(part)] == whole
