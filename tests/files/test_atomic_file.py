"""Files appear whole or not at all, and never at the other end of a link."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from tinygpt.files import atomic_file
from tinygpt.files.atomic_file import (append_to, atomic_write, refuse_link, remove_strays, second_name,
                                       write_text)

links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_and_the_folders_on_its_way(tmp_path):
    write_text(tmp_path / "a" / "b" / "x.txt", "é\r\n")
    assert (tmp_path / "a" / "b" / "x.txt").read_bytes() == "é\r\n".encode()
    write_text(tmp_path / "a" / "b" / "x.txt", "new")
    assert (tmp_path / "a" / "b" / "x.txt").read_text() == "new" and names(tmp_path) == ["a", "b", "x.txt"]


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path):
    write_text(tmp_path / "x", "old")
    with pytest.raises(KeyError), atomic_write(tmp_path / "x") as file:
        file.write(b"half")
        assert [name for name in names(tmp_path) if name != "x"] == [
            name for name in names(tmp_path) if name.startswith(".x.") and name.endswith(".tmp")] != []
        raise KeyError
    assert (tmp_path / "x").read_text() == "old" and names(tmp_path) == ["x"]
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "x", "\ud800")
    assert (tmp_path / "x").read_text() == "old"


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "x"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "x") and names(tmp_path) == []


@links
@pytest.mark.parametrize("write", [lambda path: write_text(path, "ours"), lambda path: append_to(path).close()])
def test_a_link_is_replaced_or_refused_never_followed(tmp_path, write):
    target = tmp_path / "precious"
    target.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").symlink_to(target)
    try:
        write(tmp_path / "out" / "x")
        assert not (tmp_path / "out" / "x").is_symlink()
    except OSError:
        assert (tmp_path / "out" / "x").is_symlink()
    assert target.read_text() == "mine"


@links
def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path, monkeypatch):
    target = tmp_path / "precious"
    target.write_text("mine")
    monkeypatch.setattr(atomic_file, "_beside", lambda path: tmp_path / ".x.1.tmp")
    (tmp_path / ".x.1.tmp").symlink_to(target)
    write_text(tmp_path / "x", "ours")
    assert target.read_text() == "mine" and (tmp_path / "x").read_text() == "ours"
    assert not (tmp_path / "x").is_symlink()


@links
def test_a_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    refuse_link(tmp_path / "real")
    refuse_link(tmp_path / "none")
    with pytest.raises(OSError, match="link is a symbolic link, and nothing is written through it"):
        refuse_link(tmp_path / "link")


def test_strays_are_removed_and_nothing_else(tmp_path):
    for name in (".a.txt.123.4.tmp", ".model.safetensors.9.tmp", "a.1.tmp", ".hidden", ".a.x.tmp", ".a.1.tmpx"):
        (tmp_path / name).touch()
    (tmp_path / ".folder.1.tmp").mkdir()
    remove_strays(tmp_path)
    assert names(tmp_path) == sorted(["a.1.tmp", ".hidden", ".a.x.tmp", ".a.1.tmpx", ".folder.1.tmp"])
    remove_strays(tmp_path / "none")


@links
def test_strays_in_a_folder_elsewhere_stay(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / ".a.1.tmp").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    remove_strays(tmp_path / "link")
    assert names(tmp_path / "real") == [".a.1.tmp"]


@pytest.mark.parametrize("can_link", [True, False])
def test_the_file_that_is_replaced_is_kept(tmp_path, monkeypatch, can_link):
    if not can_link:
        monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(1, "no links here")))
    for text in ("one", "two", "three"):
        if (tmp_path / "x").exists():
            with atomic_write(tmp_path / "x", keep=tmp_path / "x.before") as file:
                file.write(text.encode())
        else:
            write_text(tmp_path / "x", text)
    assert (tmp_path / "x").read_text() == "three" and (tmp_path / "x.before").read_text() == "two"
    assert names(tmp_path) == ["x", "x.before"]


def test_two_names_of_one_file_leave_no_third(tmp_path):
    write_text(tmp_path / "x", "one")
    for _ in range(2):  # the second time, both are the same file already
        second_name(tmp_path / "x", tmp_path / "y")
    assert names(tmp_path) == ["x", "y"] and (tmp_path / "y").read_text() == "one"


def test_threads_that_write_the_same_file(tmp_path):
    def write(letter):
        for _ in range(50):
            write_text(tmp_path / "x", letter * 1000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_text() in {letter * 1000 for letter in "abc"} and names(tmp_path) == ["x"]
