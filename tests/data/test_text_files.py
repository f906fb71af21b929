"""Text out of files: what is repaired, what is counted, what is refused."""

from __future__ import annotations

import gzip
import io
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt.data import text_files
from tinygpt.data.text_files import read_chunks, read_lines, refusal


def text_of(path: Path | str, size: int = 1 << 20) -> str:
    return "".join(read_chunks(path, size))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_byte_order_mark_and_line_ends_at_any_chunk_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfuno\r\ndos\rtres\n\xc3\xb1\r\n")
    assert text_of(path, size) == "uno\ndos\ntres\nñ\n"
    assert list(read_lines(path)) == ["uno\n", "dos\n", "tres\n", "ñ\n"]


@settings(max_examples=60)
@given(data=st.binary(min_size=1, max_size=60).filter(lambda data: b"\x00" not in data), size=st.integers(1, 9))
def test_any_bytes_give_text_and_an_exact_count(tmp_path_factory: pytest.TempPathFactory, data: bytes,
                                                size: int) -> None:
    data = b"text: " + data  # no signature, no byte-order mark
    path = tmp_path_factory.mktemp("bytes") / "a.txt"
    path.write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        text = text_of(path, size)
    text.encode("utf-8")  # no lone surrogates
    escaped = data.decode("utf-8", errors="surrogateescape")
    count = sum("\udc80" <= char <= "\udcff" for char in escaped)
    assert text.count("\ufffd") == count + escaped.count("\ufffd")
    assert len(caught) == (count > 0)
    if count:
        assert str(caught[0].message).startswith(f"{path}: {count} bytes are not valid UTF-8")
    else:
        assert text == data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def test_gzip_is_told_by_content(tmp_path: Path) -> None:
    path = tmp_path / "packed"  # no suffix
    path.write_bytes(gzip.compress("línea\r\notra".encode()))
    assert text_of(path) == "línea\notra"
    assert refusal(path) is None


def test_truncated_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(bytes(range(1, 200)) * 50)[:-12])
    with pytest.raises(ValueError, match="a.txt.gz is a broken gzip file"):
        text_of(path)


@pytest.mark.parametrize(("head", "message"), [
    (b"%PDF-1.7\nwords", "a PDF; extract its text first"),
    (b"PK\x03\x04words", "a zip archive or an office document"),
    ("words".encode("utf-16"), "UTF-16; save it as UTF-8"),
    (b"words\x00words", "binary, not text"),
    (b"", "empty"),
    (gzip.compress(b"words\x00words", mtime=0), "binary, not text"),
    (gzip.compress(b"", mtime=0), "empty"),
])
def test_what_is_no_text_is_refused_by_name(tmp_path: Path, head: bytes, message: str) -> None:
    path = tmp_path / "given"
    path.write_bytes(head)
    assert message in (refusal(path) or "")
    with pytest.raises(ValueError, match=f"given is {message}"):
        text_of(path)


def test_a_lone_byte_order_mark_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "given"
    path.write_bytes(b"\xef\xbb\xbf")
    with pytest.raises(ValueError, match="given is empty"):
        text_of(path)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("señal\r\n".encode()), encoding="ascii"))
    assert text_of("-") == "señal\n"
    with pytest.raises(ValueError, match="standard input is empty"):
        text_of("-")


@pytest.mark.parametrize("read", [read_chunks, read_lines])
def test_a_packed_file_in_no_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read) -> None:
    """A thousandth of what it unpacks to: refused when that shows, not when the memory is full."""
    path = tmp_path / "a.txt.gz"
    line = b"all work and no play\n"
    path.write_bytes(gzip.compress(line * 200_000))
    monkeypatch.setattr(text_files, "FREE", 1 << 20)
    seen = 0
    with pytest.raises(ValueError, match="a.txt.gz unpacks to more than 100 times its size, which no text does"):
        for part in read(path):
            seen += len(part)
    assert 1 << 19 < seen < 4 << 20
    monkeypatch.setattr(text_files, "FREE", 64 << 20)
    assert sum(map(len, read(path))) == len(line) * 200_000  # a small one may


def test_lines_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MAX_LINE", 10)
    path = tmp_path / "a.txt"
    path.write_text("0123456789"[:9] + "\nshort\n" + "0" * 10, encoding="utf-8")
    assert len(list(read_lines(path))) == 3
    path.write_text("short\n" + "0" * 11 + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="a.txt, line 2: longer than 10 characters"):
        list(read_lines(path))


def test_standard_input_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="standard input is closed"):
        text_of("-")
