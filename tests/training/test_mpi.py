"""Ranks that mpiexec starts, through the command line: the same bits as in one process, and one line when one fails."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinygpt.cli import main

pytest.importorskip("mpi4py")
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
pytestmark = [pytest.mark.oracle, pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec")]

RUN = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "16", "--batch-size", "4", "--steps", "12",
       "--eval-every", "6", "--save-every", "4", "--dropout", "0.1", "--tokenizer", "char"]
PRETRAIN = ["pretrain", "--data", "text.txt", *RUN]
CLASSIFY = ["finetune", "--task", "classification", "--data", "labels.csv", *RUN]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with data, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYGPT_DEVICE", "cpu")
    (tmp_path / "text.txt").write_text(" ".join(f"{i} and {i * i % 17}," for i in range(300)), encoding="utf-8")
    (tmp_path / "labels.csv").write_text("text,label\n" + "".join(
        f"number {i},{'odd' if i % 2 else 'even'}\n" for i in range(40)), encoding="utf-8")
    return tmp_path


def start(*programs: list[str], variables: dict[str, str] | None = None) -> subprocess.Popen:
    """mpiexec with programs, each a number of ranks and arguments of tinygpt."""
    words = [word for count, *arguments in programs
             for word in (":", "-n", count, sys.executable, "-m", "tinygpt", *arguments)]
    return subprocess.Popen([str(MPIEXEC), *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"} | (variables or {}))


def finished(process: subprocess.Popen) -> tuple[int, str, list[str]]:
    """Exit code, standard output, lines of standard error."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err.splitlines()


@pytest.mark.parametrize("command, variables", [
    (PRETRAIN + ["--optimizer", "muon"], {}),
    (CLASSIFY, {"MPIR_CVAR_NOLOCAL": "1", "UCX_TLS": "tcp,self", "FI_PROVIDER": "tcp"}),  # no shared memory
])
def test_two_ranks_are_one_rank_with_two_threads_to_the_bit(place, capsys, command, variables):
    assert main([*command, "--threads", "2", "--out", "one"]) == 0
    code, out, lines = finished(start(["2", *command, "--threads", "1", "--out", "two"], variables=variables))
    assert code == 0, lines
    assert out == capsys.readouterr().out  # the result, once
    assert sum("parameters" in line for line in lines) == 1
    model = Path("one/model.safetensors").read_bytes()
    assert Path("two/model.safetensors").read_bytes() == model
    assert sorted(path.name for path in Path("two").iterdir()) == sorted(path.name for path in Path("one").iterdir())


@pytest.mark.nightly
def test_after_a_rank_was_killed_the_run_goes_on_to_the_same_bits(place, capsys):
    command = [*PRETRAIN, "--steps", "60", "--threads", "1"]
    assert main([*command, "--threads", "2", "--out", "one"]) == 0
    process, state = start(["2", *command, "--out", "two"]), Path("two/training_state.previous.safetensors")
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    found = [pid for pid in children(process.pid) if b"PMI_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes()]
    if process.poll() is None and found:
        os.kill(found[-1], signal.SIGKILL)
        then = time.monotonic()
        assert finished(process)[0] != 0 and time.monotonic() - then < 30
    code, _, lines = finished(start(["2", "pretrain", "--resume", "--out", "two"]))
    assert code == 0, lines
    assert Path("two/model.safetensors").read_bytes() == Path("one/model.safetensors").read_bytes()


def children(pid: int) -> list[int]:
    """Processes below another one."""
    found = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [(int(line.split()[0]), int(line.split()[1])) for line in found.splitlines()]
    below = {pid}
    for _ in range(5):
        below |= {child for child, parent in pairs if parent in below}
    return sorted(below - {pid})


@pytest.mark.parametrize("programs, message", [
    ([["1", *PRETRAIN, "--out", "x"], ["1", *PRETRAIN, "--out", "x", "--lr", "0.1"]], "rank 1 on .* 0.1: all ranks"),
    ([["5", *PRETRAIN, "--out", "x"]], "5 ranks cannot share a batch of 4"),
    ([["1", *PRETRAIN, "--out", "x"], ["1", *PRETRAIN, "--out", "x", "--nonsense"]], r"--nonsense.*\(rank 1 on "),
    ([["2", "gradcheck"]], "gradcheck runs in one process"),
])
def test_what_cannot_be_is_said_in_one_line(place, programs, message):
    code, out, lines = finished(start(*programs))
    assert (code, out, len(lines)) == (2, "", 1) and re.search(message, lines[0]), lines
    assert not Path("x").exists()
