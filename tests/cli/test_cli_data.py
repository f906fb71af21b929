"""`tinygpt data`, and `pretrain` on what it makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command import TINY, command, error_line

from tinygpt.cli import main
from tinygpt.data import prepare
from tinygpt.tokenizers import ByteBPE
from tinygpt.training import Trainer


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with texts and a tokenizer, which is the current one."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    words = ["one", "two", "three", "four,", "five."]
    Path("texts").mkdir()
    for i in range(12):
        Path(f"texts/{i:02}.txt").write_text(" ".join(words[k] for k in rng.integers(5, size=150)), encoding="utf-8")
    Path("other.txt").write_text("zero nine " * 100, encoding="utf-8")
    ByteBPE.train("one two three four, five. zero nine " * 5, 280, ["<|endoftext|>"]).save("tok")
    return tmp_path


MAKE = ["data", "--data", "texts", "--tokenizer", "tok", "--processes", 1]


def files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_texts_become_tokens_and_a_model(place, capsys):
    done = command(capsys, *MAKE, "--drop", "length=20", "duplicates", "--out", "a")
    assert done.code == 0 and re.fullmatch(
        r"read 12 texts of [\d,]+ characters\nlength dropped 0 texts of 0 characters\n"
        r"duplicates dropped 0 texts of 0 characters\n"
        r"[\d,]+ tokens of 12 texts in 1 shards, written to a; 0.0 MB in 0:0\d \(.* MB/s, .* a core\)\n", done.out)
    assert {*files("a")} == {"00000.npy", "tokens.json", "options.json", "tokenizer.json", "tokenizer_config.json"}
    done = command(capsys, "pretrain", "--data", "a", *TINY, "--out", "run")
    assert done.code == 0 and "validation loss" in done.out and "100.0% of the windows from a" in done.err
    assert not Path("run/tokens").exists()
    assert Path("run/tokenizer.json").read_bytes() == Path("tok/tokenizer.json").read_bytes()


def test_progress_is_told_where_there_is_no_terminal(place, capsys, monkeypatch):
    monkeypatch.setattr("tinygpt.cli.data.LINE_EVERY", 0.0)
    done = command(capsys, *MAKE, "--out", "a")
    lines = done.err.splitlines()
    assert len(lines) > 10 and all(
        re.fullmatch(r"0 of 0 MB  \d+\.\d\d MB/s, \d+\.\d\d a core  \d+:\d\d left", line) for line in lines), lines


def test_a_mixture_resumes_to_the_same_bits(place, capsys, monkeypatch):
    for name, data in ("a", "texts"), ("b", "other.txt"):
        assert command(capsys, "data", "--data", data, "--tokenizer", "tok", "--out", name, "--processes", 1).code == 0
    mixed = ["pretrain", "--data", "a:0.7", "b:0.3", *TINY, "--save-every", 2]
    whole = command(capsys, *mixed, "--steps", 4, "--out", "whole")
    assert whole.code == 0 and "70.0% of the windows from a" in whole.err and "30.0%" in whole.err

    class Killed(BaseException):
        pass

    def train(trainer, *rest):
        if trainer.step == 3:
            raise Killed
        step(trainer, *rest)
    step = Trainer._train_step
    monkeypatch.setattr(Trainer, "_train_step", train)
    with pytest.raises(Killed):
        command(capsys, *mixed, "--steps", 4, "--out", "cut")
    monkeypatch.setattr(Trainer, "_train_step", step)
    done = command(capsys, "pretrain", "--resume", "--out", "cut")
    assert done.code == 0 and done.out == whole.out and "resuming cut at step 2 of 4" in done.err
    assert Path("cut/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()
    index = json.loads(Path("b/tokens.json").read_text())
    Path("b/tokens.json").write_text(json.dumps(index | {"read": {}}))
    again = command(capsys, "pretrain", "--resume", "--out", "cut")
    assert "other tokens than this run began with" in error_line(again)


def test_an_interrupted_run_goes_on_with_its_own_options(place, capsys, monkeypatch):
    make = ["data", "--data", "texts", "--tokenizer", "tok", "--drop", "length=10", "--out"]
    assert command(capsys, *make, "whole", "--processes", 1).code == 0
    monkeypatch.setattr(prepare.Preparation, "make", lambda *rest: (_ for _ in ()).throw(KeyboardInterrupt))
    done = command(capsys, *make, "cut", "--processes", 1)
    assert done.code == 130 and "continue with: tinygpt data --resume --out cut" in done.err
    monkeypatch.undo()
    monkeypatch.chdir(place)
    for more, message in ((["--drop", "length=11"], "--resume needs no --drop"), (["--part-mb", 3], "--part-mb")):
        assert message in error_line(command(capsys, "data", "--resume", "--out", "cut", *more))
    assert command(capsys, "data", "--resume", "--out", "cut").code == 0
    assert files("cut") == files("whole")
    done = command(capsys, "data", "--resume", "--out", "cut")
    assert done.code == 0 and "nothing was left to do" in done.out and files("cut") == files("whole")
    Path("cut/tokens.json").unlink()
    Path("texts/00.txt").write_text("another text")
    assert "have changed since it was begun" in error_line(command(capsys, "data", "--resume", "--out", "cut"))


@pytest.mark.parametrize("arguments, message", [
    (["data", "--out", "x"], "give --data"), (["data", "--data", "texts", "--out", "x"], "give --tokenizer"),
    (["data", "--data", "-", "--tokenizer", "tok", "--out", "x"], "only once"),
    (["data", "--data", "gone", "--tokenizer", "tok", "--out", "x"], "no file or folder"),
    (["data", "--data", "texts", "--tokenizer", "gone", "--out", "x"], "gone"),
    ([*MAKE, "--drop", "spam", "--out", "x"], "no step 'spam'"), ([*MAKE, "--part-mb", 0, "--out", "x"], "--part-mb"),
    ([*MAKE, "--out", "x", "--processes", 0], "--processes"), ([*MAKE, "--out", "tok"], "holds tokenizer.json already"),
    (["data", "--resume", "--out", "x"], "found no run"),
    (["pretrain", "--data", "texts:0.5", "--out", "x"], "a weight is for these"),
    (["pretrain", "--data", "a", "--tokenizer", "bpe", "--out", "x"], "tokens already"),
    (["pretrain", "--data", "a", "--vocab-size", 300, "--out", "x"], "tokens already"),
    (["pretrain", "--data", "a", "--tokenizer", "char", "--out", "x"], "another tokenizer than --tokenizer char"),
    (["pretrain", "--data", "a", "--objective", "masked", "--out", "x"], "here texts are needed"),
    (["pretrain", "--data", "a", "--out", "a"], "holds tokens that tinygpt data has made"),
    (["pretrain", "--resume", "--out", "a"], "a run of another command, and `tinygpt data --resume`"),
    ([*MAKE, "--out", "a"], "holds tokens.json already"),
])
def test_what_cannot_be_is_said_in_one_line(place, capsys, arguments, message):
    if "a" in arguments:
        assert command(capsys, *MAKE, "--out", "a").code == 0
    assert message in error_line(command(capsys, *arguments)) and not Path("x").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="kill -9, and processes that fork")
def test_killed_with_all_its_processes(place):
    """Processes are ended with the one that started them, and what they leave is gone on with."""
    killed_and_resumed(kills=1, megabytes=2, longest=0.1, seed=0)


@pytest.mark.nightly
def test_killed_five_times(place):
    killed_and_resumed(kills=5, megabytes=40, longest=3.0, seed=1)


def killed_and_resumed(kills: int, megabytes: int, longest: float, seed: int) -> None:
    """Each kill comes at most so many seconds after the first or the next part was begun."""
    rng = np.random.default_rng(seed)
    words = np.arange(1000).astype(str)
    for i in range(megabytes):
        lines = (json.dumps({"text": " ".join(words[rng.integers(1000, size=400)])}) for _ in range(600))
        Path(f"texts/{i}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    make = [sys.executable, "-m", "tinygpt", "data", "--processes", "2", "--out"]
    first = ["--data", "texts", "--tokenizer", "tok", "--part-mb", "1", "--drop", "length=20", "duplicates"]

    def finish(out: str, *more: str) -> None:
        done = subprocess.run([*make, out, *more], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    assert main([*make[3:-3], "--processes", "1", "--out", "whole", *first]) == 0
    for kill in range(kills):
        process = subprocess.Popen([*make, "cut", *(["--resume"] if kill else first)], start_new_session=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not any(Path("cut/parts").glob(".*.tmp")):
            time.sleep(0.01)  # what the kill before left is removed first
        time.sleep(rng.uniform(0, longest))
        assert process.poll() is None, "it was killed too late"
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while alive(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not alive(process.pid), "its processes are still there"
    finish("cut", "--resume")
    assert files("cut") == files("whole")


def alive(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == session \
                    and " Z " not in (entry / "stat").read_text():
                found.append(int(entry.name))
        except OSError:
            pass
    return found
