"""Data cut into parts: nothing is lost, and the texts are those of the whole."""

from __future__ import annotations

import gzip
import json

import pytest

from tinygpt.data import Documents
from tinygpt.data.parts import cut_data, piece_documents
from tinygpt.tokenizers import ByteBPE


def documents(parts):
    return [text for part in parts for piece in part for text in piece_documents(piece)]


@pytest.fixture
def folder(tmp_path):
    """Texts of every kind."""
    (tmp_path / "a.txt").write_text("one two\r\nthree " * 400, encoding="utf-8", newline="")
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"text": f"text {i} " * (i % 7 + 1)}) + "\n\n"
                                              for i in range(300)), encoding="utf-8")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"packed " * 2000))
    (tmp_path / "d.txt").write_text("日本語" * 1500, encoding="utf-8")
    for i in range(20):
        (tmp_path / f"small{i:02}.txt").write_text(f"small {i}", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("size", [97, 1000, 3001, 1 << 30])
def test_the_texts_are_those_of_the_whole(folder, size):
    whole = list(Documents([folder]))
    parts = cut_data([str(folder)], size)
    texts = documents(parts)
    assert "".join(texts) == "".join(whole)
    assert [text for text in texts if text.startswith("text ")] == [text for text in whole if text.startswith("text ")]
    assert all(len(part) == 1 or sum(piece.stop - piece.start for piece in part) <= size for part in parts)
    assert len(parts) > 1 or size == 1 << 30
    pieces = [piece for part in parts for piece in part if piece.name.endswith("a.txt")]
    assert [piece.stop for piece in pieces[:-1]] == [piece.start for piece in pieces[1:]]
    assert cut_data([str(folder)], size) == parts


def test_a_cut_changes_no_token(folder):
    tok = ByteBPE.train((folder / "a.txt").read_text(), 300)
    texts = documents(cut_data([str(folder / "a.txt")], 500))
    assert len(texts) > 5
    assert [i for text in texts for i in tok.encode(text)] == tok.encode("".join(Documents([folder / "a.txt"])))


def test_corpora_in_memory_are_a_piece(folder):
    parts = cut_data(["synthetic-sentiment", str(folder / "small00.txt")], 1000)
    assert documents(parts) == list(Documents(["synthetic-sentiment", str(folder / "small00.txt")]))


def test_what_cannot_be_read_twice_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="only once"):
        cut_data(["-"], 100)
    with pytest.raises(FileNotFoundError):
        cut_data([str(tmp_path / "nothing")], 100)


def test_broken_records_are_named_with_their_place(tmp_path):
    lines = [json.dumps({"text": "fine"})] * 40
    for bad, message in (('{"text": 1}', "no text under the name 'text'"), ("{", "not valid JSON"),
                         ("[]", "JSON object")):
        (tmp_path / "x.jsonl").write_text("\n".join([*lines, bad]), encoding="utf-8")
        with pytest.raises(ValueError, match=rf"x.jsonl, line \d+ from byte \d+ on.*{message}"):
            documents(cut_data([str(tmp_path / "x.jsonl")], 200))


def test_broken_bytes_are_counted_where_they_are(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"fine words " * 30 + b"bad \xff byte " + b"more words " * 30)
    with pytest.warns(UserWarning, match=r"x.txt, from byte \d+ on: 1 bytes"):
        texts = documents(cut_data([str(tmp_path / "x.txt")], 200))
    assert "".join(texts).count("\ufffd") == 1
