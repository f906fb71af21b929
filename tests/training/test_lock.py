"""One writer for a folder: others are turned away, and nothing of a process that is gone stands in the way."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from tinygpt.training import PretrainOptions, lock, pretrain
from tinygpt.training.lock import locked
from tinygpt.training.objectives.causal import Causal

TINY = dict(tokenizer="char", n_layer=1, n_head=1, n_embd=4, block_size=8, batch_size=2, steps=2)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked there")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)


def start(tmp_path, **how):
    (tmp_path / "text.txt").write_text("one text and another. " * 40)
    return pretrain(PretrainOptions(data=(str(tmp_path / "text.txt"),), **TINY), tmp_path / "out", **how)


def test_a_second_run_is_turned_away_and_touches_nothing(tmp_path):
    start(tmp_path)
    (tmp_path / "out" / ".half.1.tmp").write_bytes(b"what the other run is writing")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with locked(tmp_path / "out"):
        for resume in (True, False):
            with pytest.raises(FileExistsError, match="another run is writing into .*out"):
                start(tmp_path, resume=resume)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    assert start(tmp_path, resume=True).step == 2  # released


def test_a_new_run_holds_its_folder(tmp_path, monkeypatch):
    from tinygpt.training import run

    def meanwhile(*arguments):
        with pytest.raises(FileExistsError, match="another run is writing"):
            start(tmp_path, resume=True)
        return write(*arguments)

    write = run.write_checkpoint
    monkeypatch.setattr(run, "write_checkpoint", meanwhile)
    start(tmp_path)


def test_two_that_begin_together(tmp_path, monkeypatch):
    """The other run makes the folder while this one reads its data: what it has there stays."""
    with contextlib.ExitStack() as other:
        def meanwhile(self):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "theirs").touch()
            other.enter_context(locked(tmp_path / "out"))
            return parts(self)

        parts = Causal.parts
        monkeypatch.setattr(Causal, "parts", meanwhile)
        with pytest.raises(FileExistsError, match="another run is writing"):
            start(tmp_path)
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["theirs"]


def test_a_killed_process_leaves_no_lock(tmp_path):
    program = "import sys, time; from pathlib import Path; from tinygpt.training.lock import locked\n" \
              "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(FileExistsError), locked(tmp_path):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
