"""Names that are no files, and home folders of nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinygpt.data import Documents, find_table
from tinygpt.files import read_bounded, user_path
from tinygpt.pretrained import SafetensorsFile
from tinygpt.tokenizers import load_tokenizer


def test_a_whole_file_up_to_a_size(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"12345")
    assert read_bounded(tmp_path / "x", 5) == b"12345"
    with pytest.raises(ValueError, match="x has 5 bytes; a note has at most 4"):
        read_bounded(tmp_path / "x", 4, "a note")
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "y", 4)


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "tokenizer.json")
    os.mkfifo(tmp_path / "x.safetensors")
    for path in (tmp_path / "tokenizer.json", Path("/dev/zero"), tmp_path):
        with pytest.raises(ValueError, match="is no regular file"):
            read_bounded(path, 10)
    with pytest.raises(FileNotFoundError, match="has no tokenizer.json"):
        load_tokenizer(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        SafetensorsFile(tmp_path / "x.safetensors")
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.json").symlink_to("/dev/zero")
    with pytest.raises(FileNotFoundError, match="has no tokenizer.json"):
        load_tokenizer(tmp_path)


def test_home_folders():
    assert user_path("~/x") == Path.home() / "x" and user_path("a/~b") == Path("a/~b")
    for use in (user_path, Documents, find_table):
        with pytest.raises(FileNotFoundError, match="'~nosuchuser/x' begins in a home folder that is not known"):
            use("~nosuchuser/x")
