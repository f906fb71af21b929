"""Killed at any moment, any number of times, and resumed: the same model.safetensors as a run left alone."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tinygpt.cli import main
from tinygpt.training import read_checkpoint, read_metrics

TINY = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "8", "--batch-size", "4", "--lr", "0.01"]
RUNS = {  # a tokenizer and a number of threads each; validations and checkpoints out of step with one another
    "char": [*TINY, "--tokenizer", "char", "--dropout", "0.2", "--steps", "40", "--eval-every", "10",
             "--save-every", "7", "--seed", "3", "--threads", "2"],
    "bpe": [*TINY, "--tokenizer", "bpe", "--vocab-size", "270", "--dropout", "0.1", "--steps", "40",
            "--eval-every", "9", "--save-every", "4", "--accumulate", "2", "--architecture", "llama", "--threads", "1"],
    "long": [*TINY, "--tokenizer", "char", "--steps", "500", "--save-every", "1000", "--eval-every", "1000",
             "--threads", "1"],
}
KINDS = ("char", "bpe")

# Runs the command, and kills it at the n-th call of a function: before the call, or right after it. Of a function that
# renames files, calls outside the run's folder do not count: a tokenizer is tried out in a folder of its own.
DRIVER = """
import os, signal, sys
import tinygpt.optim.flat_adamw, tinygpt.training.run
from tinygpt.cli import main
module, name, n, when = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
folder = sys.argv[sys.argv.index("--out") + 1]
owner = {"os": os, "AdamW": tinygpt.optim.flat_adamw.AdamW}[module]
function, calls = getattr(owner, name), 0
def counted(*args, **kwargs):
    global calls
    if name == "replace" and not str(args[1]).startswith(os.path.join(folder, "")):
        return function(*args, **kwargs)
    calls += 1
    if calls == n and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = function(*args, **kwargs)
    if calls == n:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, name, counted)
sys.exit(main(sys.argv[5:]))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a text."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    words = ["one", "two", "three", "naïve", "four,", "five.\n"]
    (folder / "text.txt").write_text(" ".join(words[i] for i in rng.integers(6, size=300)), encoding="utf-8")
    return folder


def start(place: Path, *arguments: str, driver: tuple[str, ...] = ()) -> subprocess.Popen:
    command = [sys.executable, "-c", DRIVER, *driver] if driver else [sys.executable, "-m", "tinygpt"]
    return subprocess.Popen([*command, "pretrain", *arguments], cwd=place, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, encoding="utf-8")


def finish(place: Path, *arguments: str, code: int = 0, **options) -> tuple[str, str]:
    process = start(place, *arguments, **options)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    return out, err


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def history(folder: Path) -> list[tuple]:
    """What a run wrote down, without what depends on the clock."""
    return [(e["step"], e.get("loss"), e.get("validation_loss"), e.get("lr")) for e in read_metrics(
        folder / "metrics.jsonl")]


@pytest.fixture(scope="module")
def alone(place):
    """Each run, left alone: the folder, and what it printed."""
    done: dict[str, tuple[Path, str]] = {}

    def run(kind: str) -> tuple[Path, str]:
        if kind not in done:
            folder = place / f"alone-{kind}"
            out, _ = finish(place, "--data", "text.txt", "--out", str(folder), *RUNS[kind])
            done[kind] = folder, out
        return done[kind]

    return run


def same_end(place: Path, folder: Path, alone, kind: str) -> None:
    """Resumed to the end, the folder holds what the run left alone does."""
    out, _ = finish(place, "--resume", "--out", str(folder))
    expected, printed = alone(kind)
    assert digest(folder) == digest(expected) and out == printed
    assert history(folder) == history(expected)
    assert (folder / "sample.txt").read_bytes() == (expected / "sample.txt").read_bytes()
    files = {path.relative_to(folder) for path in folder.rglob("*")}
    assert files == {path.relative_to(expected) for path in expected.rglob("*")}  # no half-written file is left


def test_two_runs_left_alone_are_equal(place, alone):
    folder = place / "twin"
    finish(place, "--data", "text.txt", "--out", str(folder), *RUNS["char"])
    assert digest(folder) == digest(alone("char")[0])


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_random_moments(place, alone, kind, tmp_path):
    """The first process gets the options; those after it only --resume."""
    folder, rng = tmp_path / "out", np.random.default_rng(len(kind))
    alone(kind)
    arguments = ["--data", "text.txt", *RUNS[kind]]
    for _ in range(4):
        process = start(place, "--out", str(folder), "--resume", *arguments)
        time.sleep(rng.uniform(0.2, 0.9))
        process.kill()
        process.communicate()
        if (folder / "training_state.safetensors").exists():
            arguments = []
    if arguments:
        finish(place, "--out", str(folder), "--resume", *arguments)
    same_end(place, folder, alone, kind)


@pytest.mark.parametrize("kind, points", [
    ("char", [("AdamW", "step", 5), ("os", "fsync", 2), ("os", "replace", 4), ("AdamW", "step", 8)]),
    ("bpe", [("os", "replace", 3), ("os", "fsync", 3), ("AdamW", "step", 1), ("os", "fsync", 1), ("os", "replace", 2),
             ("os", "replace", 1)]),
])
def test_killed_while_saving_and_stepping(place, alone, kind, points, tmp_path):
    """fsync: the state is half written, or not yet renamed; replace: between the files that are made from it."""
    folder, arguments = tmp_path / "out", ["--data", "text.txt", *RUNS[kind]]
    for i, (module, name, n) in enumerate(points):
        finish(place, "--out", str(folder), "--resume", *arguments, code=-signal.SIGKILL,
               driver=(module, name, str(n), ("before", "after")[i % 2]))
        if (folder / "training_state.safetensors").exists():
            arguments = []
    assert not arguments
    same_end(place, folder, alone, kind)


@pytest.mark.parametrize("number, when", [(signal.SIGINT, "parameters"), (signal.SIGTERM, "step 25/500")])
def test_a_signal_saves_and_exits_and_resuming_ends_in_the_same_bytes(place, alone, number, when, tmp_path):
    """At the first line, which comes before the first step, and while it trains."""
    alone("long")
    folder = tmp_path / "an out"
    process = start(place, "--data", "text.txt", "--out", str(folder), *RUNS["long"])
    assert process.stderr is not None
    while when not in process.stderr.readline():
        pass
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    step = read_checkpoint(folder / "training_state.safetensors").step
    assert (25 if "step" in when else 0) <= step < 500
    assert err.splitlines()[-1] == (f"stopped by {number.name} at step {step} of 500; continue with: "
                                    f"tinygpt pretrain --resume --out '{folder}'")
    assert (folder / "model.safetensors").exists()
    same_end(place, folder, alone, "long")


# -- a folder and what may have become of it --------------------------------------------------------------------------


@pytest.fixture
def finished(place, alone, tmp_path) -> Path:
    return Path(shutil.copytree(alone("char")[0], tmp_path / "copy"))


@pytest.fixture
def half_way(place, alone, tmp_path) -> Path:
    """A run of kind "char" that was killed at step 25."""
    folder = tmp_path / "out"
    finish(place, "--data", "text.txt", "--out", str(folder), *RUNS["char"], code=-signal.SIGKILL,
           driver=("AdamW", "step", "25", "after"))
    assert read_checkpoint(folder / "training_state.safetensors").step == 21
    return folder


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"broken")])
def test_a_finished_run_exports_again(place, alone, finished, damage):
    for name in ("model.safetensors", "config.json", "tokenizer.json", "sample.txt"):
        damage(finished / name)
    same_end(place, finished, alone, "char")


def test_token_files_that_are_lost_or_damaged_are_made_again(place, alone, half_way):
    (half_way / "tokens" / "train.npy").unlink()
    damaged = bytearray((half_way / "tokens" / "validation.npy").read_bytes())
    damaged[-1] ^= 1
    (half_way / "tokens" / "validation.npy").write_bytes(damaged)
    same_end(place, half_way, alone, "char")


def test_the_same_command_with_resume_goes_on(place, alone, half_way):
    finish(place, "--data", "text.txt", "--out", str(half_way), *RUNS["char"], "--resume")
    assert digest(half_way) == digest(alone("char")[0])


def refused(place: Path, *arguments: str) -> str:
    out, err = finish(place, *arguments, code=2)
    lines = [line for line in err.splitlines() if line.startswith("tinygpt: error:")]
    assert len(lines) == 1 and err.splitlines()[-1] == lines[0] and not out and "Traceback" not in err
    return lines[0]


def test_data_that_changed_is_refused_when_it_is_needed(place, half_way):
    state = (half_way / "training_state.safetensors").read_bytes()
    shutil.rmtree(half_way / "tokens")
    text = place / "text.txt"
    original = text.read_bytes()
    try:
        for change in (original.replace(b"two", b"owt"), b""):
            text.write_bytes(change)
            assert ("has changed since it began" if change else "is empty") in refused(
                place, "--resume", "--out", str(half_way))
    finally:
        text.write_bytes(original)
    assert (half_way / "training_state.safetensors").read_bytes() == state


def test_threads_are_remembered(place, tmp_path):
    """Without --threads, those of the machine where the run began; the number is in the state."""
    folder = tmp_path / "out"
    options = RUNS["char"][:-2]
    finish(place, "--data", "text.txt", "--out", str(folder), *options, "--steps", "2")
    threads = read_checkpoint(folder / "training_state.safetensors").run["options"]["threads"]
    assert isinstance(threads, int) and 1 <= threads <= 4


@pytest.mark.parametrize("option, message", [
    (["--steps", "41"], "--steps is 40 in this run, not 41"),
    (["--data", "other.txt"], r"--data is \('text.txt',\) in this run, not \('other.txt',\)"),
    (["--threads", "1"], "--threads is 2 in this run, not 1"),
    (["--preset", "masked-words"], "in this run, not"),
    (["--preset", "nosuch"], "unknown preset 'nosuch'"),
])
def test_an_option_that_disagrees_is_refused(finished, capsys, option, message):
    before = digest(finished)
    assert main(["pretrain", "--resume", "--out", str(finished), *option]) == 2
    captured = capsys.readouterr()
    assert re.search(message, captured.err) and captured.err.count("\n") == 1 and not captured.out
    assert digest(finished) == before


DAMAGES = {
    "truncated": lambda whole: whole[:-100],
    "empty": lambda whole: b"",
    "a bit of a weight": lambda whole: whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:],
    "a bit of the header": lambda whole: whole[:60] + bytes([whole[60] ^ 1]) + whole[61:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_refused_and_left_alone_where_there_is_no_other(finished, capsys, damage):
    (finished / "training_state.previous.safetensors").unlink()
    state = finished / "training_state.safetensors"
    damaged = DAMAGES[damage](state.read_bytes())
    state.write_bytes(damaged)
    assert main(["pretrain", "--resume", "--out", str(finished)]) == 2
    err = capsys.readouterr().err
    assert str(state) in err and err.count("\n") == 1
    assert state.read_bytes() == damaged


def test_another_programs_file_is_no_state(finished, capsys):
    (finished / "training_state.previous.safetensors").unlink()
    shutil.copy(finished / "model.safetensors", finished / "training_state.safetensors")
    assert main(["pretrain", "--resume", "--out", str(finished)]) == 2
    err = capsys.readouterr().err
    assert "is no training state of tinygpt" in err and err.count("\n") == 1


@pytest.mark.parametrize("damage", [*DAMAGES, "gone"])
def test_the_checkpoint_before_a_damaged_one_takes_its_place(place, alone, finished, damage):
    """It says so, and ends in the same bytes."""
    state = finished / "training_state.safetensors"
    if damage == "gone":
        state.unlink()
    else:
        state.write_bytes(DAMAGES[damage](state.read_bytes()))
    _, err = finish(place, "--resume", "--out", str(finished))
    assert "going on from the checkpoint before it, of step 35\n" in err and "at step 35 of 40\n" in err
    same_end(place, finished, alone, "char")
    for name in ("training_state.safetensors", "training_state.previous.safetensors"):
        assert (finished / name).read_bytes() == (alone("char")[0] / name).read_bytes()


def test_both_damaged(finished, capsys):
    for name in ("training_state.safetensors", "training_state.previous.safetensors"):
        (finished / name).write_bytes((finished / name).read_bytes()[:-1])
    assert main(["pretrain", "--resume", "--out", str(finished)]) == 2
    err = capsys.readouterr().err
    assert "training_state.safetensors is not a valid safetensors file" in err and err.count("\n") == 1


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"command": "pretrain", "options": {}}', b"\xff"])
def test_options_that_disagree_with_the_checkpoint_do_not_count_and_are_written_again(place, alone, half_way, content):
    expected = (half_way / "options.json").read_bytes()
    (half_way / "options.json").write_bytes(content)
    _, err = finish(place, "--resume", "--out", str(half_way))
    assert "options.json is damaged or says other things than the checkpoint" in err
    assert (half_way / "options.json").read_bytes() == expected
    same_end(place, half_way, alone, "char")


@pytest.mark.parametrize("line", [b"\xff\xfe\n", b'{"step": 3, "loss": "x\xff"}\n', b"[" * 100_000 + b"\n",
                                  b'{"step": 4, "loss": {"a": 1}}\n', b'{"step": 4, "loss": 1e999}\n'])
def test_a_bad_line_in_the_metrics_does_not_stop_a_resume(place, alone, half_way, line):
    metrics = half_way / "metrics.jsonl"
    metrics.write_bytes(line + metrics.read_bytes())
    same_end(place, half_way, alone, "char")


def test_resume_where_nothing_is_starts_at_the_beginning(place, alone, tmp_path):
    _, err = finish(place, "--data", "text.txt", "--out", str(tmp_path / "new"), *RUNS["char"], "--resume")
    assert f"{tmp_path / 'new'} holds no checkpoint yet: starting at step 0\n" in err
    assert digest(tmp_path / "new") == digest(alone("char")[0])


@pytest.mark.parametrize("n, when", [(1, "after"), (2, "before"), (2, "after"), (3, "after"), (4, "before")])
def test_killed_before_the_first_checkpoint(place, alone, tmp_path, n, when):
    """The first file to be complete has the options, then the tokens, then the first state."""
    folder = tmp_path / "out"
    finish(place, "--data", "text.txt", "--out", str(folder), *RUNS["char"], code=-signal.SIGKILL,
           driver=("os", "replace", str(n), when))
    assert not (folder / "training_state.safetensors").exists()
    same_end(place, folder, alone, "char")


def test_killed_before_anything_was_written(place, tmp_path):
    folder = tmp_path / "out"
    finish(place, "--data", "text.txt", "--out", str(folder), *RUNS["char"], code=-signal.SIGKILL,
           driver=("os", "replace", "1", "before"))
    assert "found no run in the folder" in refused(place, "--resume", "--out", str(folder))


@pytest.mark.parametrize("command", [["pretrain"], ["finetune"], ["pretrain", "--steps", "2", "--n-embd", "8"],
                                     ["finetune", "--task", "classification"]])
@pytest.mark.parametrize("there", [False, True])
def test_resume_in_a_mistyped_folder_trains_nothing(tmp_path, capsys, command, there):
    out = tmp_path / "out"
    if there:
        out.mkdir()
    assert main([command[0], "--resume", "--out", str(out), *command[1:]]) == 2
    captured = capsys.readouterr()
    assert f"no run in the folder '{out}': it looked for training_state.safetensors and options.json" in captured.err
    assert captured.err.count("\n") == 1 and not captured.out
    assert list(tmp_path.rglob("*")) == ([out] if there else [])


@pytest.mark.parametrize("content, message", [
    ("[]", "must hold a JSON object"), ("{", "not valid JSON"), ("{}", "holds a run of another command"),
    ('{"command": "pretrain"}', "holds no options of a run"),
    ('{"command": "pretrain", "options": {"data": [], "nonsense": 1}}', "holds no options of a run"),
    ('{"command": "finetune", "options": {}}', "`tinygpt finetune --resume` goes on with it"),
])
def test_options_that_are_damaged_are_refused(tmp_path, capsys, content, message):
    (tmp_path / "options.json").write_text(content, encoding="utf-8")
    assert main(["pretrain", "--resume", "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["options.json"]


def test_a_run_that_fails_before_it_begins_leaves_no_options(place, tmp_path):
    (tmp_path / "out").mkdir()
    (place / "short.txt").write_text("a", encoding="utf-8")
    refused(place, "--data", "short.txt", "--out", str(tmp_path / "out"), *RUNS["char"])
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_resume_overwrites_no_model_without_a_training_state(place, finished):
    before = digest(finished)
    for name in ("training_state.safetensors", "training_state.previous.safetensors"):
        (finished / name).unlink()
    message = refused(place, "--data", "text.txt", "--out", str(finished), *RUNS["char"], "--resume")
    assert "holds a model (model.safetensors) and no training run to continue" in message
    assert digest(finished) == before


def test_the_state_is_all_that_resuming_needs(place, alone, half_way, tmp_path):
    """From the state and the data alone, in another folder, the same end."""
    other = tmp_path / "elsewhere"
    other.mkdir()
    shutil.copy(half_way / "training_state.safetensors", other)
    finish(place, "--resume", "--out", str(other))
    assert digest(other) == digest(alone("char")[0])


def test_metrics_that_were_cut_off_within_a_line_are_mended(place, alone, half_way):
    with open(half_way / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 26, "lo')
    same_end(place, half_way, alone, "char")
    lines = (half_way / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line) for line in lines)


@pytest.mark.parametrize("began", ["NumPy 1.0, openblas 0.1 Nehalem", "same", None])
def test_resuming_says_what_computes_otherwise_than_when_the_run_began(place, tmp_path, capsys, monkeypatch, began):
    """One line, and the run goes on; where nothing has changed or nothing is known, no line."""
    run = importlib.import_module("tinygpt.training.run")
    now = run.numerics()
    out = ["--out", str(tmp_path / "out")]
    monkeypatch.setattr(run, "numerics", lambda: now if began == "same" else began or "")
    arguments = [*TINY, "--tokenizer", "char", "--threads", "1", "--save-every", "1"]
    assert main(["pretrain", "--data", str(place / "text.txt"), *out, *arguments, "--steps", "2"]) == 0
    monkeypatch.setattr(run, "numerics", lambda: now)
    capsys.readouterr()
    for _ in range(2):  # the beginning counts, not the process before
        assert main(["pretrain", "--resume", *out]) == 0
        said = [line for line in capsys.readouterr().err.splitlines() if "began with" in line]
        assert len(said) == (began not in ("same", None))
        assert not said or (began in said[0] and now in said[0])
