"""Threads and forked processes: the same answers, the first error, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tinygpt.blas import blas_threads
from tinygpt.training import read_checkpoint
from tinygpt.training.workers import Processes, Threads, can_fork, shared_array

forks = pytest.mark.skipif(sys.platform != "linux", reason="forks")


class Odd(Exception):
    """Cannot be made again from its message alone."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)


def work(i: int, task: str):
    if task == f"fail {i}":
        raise ValueError(f"no luck in {i}")
    if task == f"odd {i}":
        raise Odd(f"odd in {i}", 1)
    if task == f"die {i}":
        os.kill(os.getpid(), signal.SIGKILL)
    return i, task, os.getpid()


def jobs(task: str, n: int = 3) -> list[tuple]:
    return [(i, task) for i in range(n)]


@pytest.mark.parametrize("kind", [Threads, pytest.param(Processes, marks=forks)])
def test_answers_and_errors(kind):
    workers = kind(work, 3)
    try:
        for _ in range(2):
            answers = workers.map(jobs("add"))
            assert [answer[:2] for answer in answers] == jobs("add")
            assert len({answer[2] for answer in answers}) == (1 if kind is Threads else 3)
            assert workers.map(jobs("few", 2))[1][:2] == (1, "few")
        for i in range(3):
            with pytest.raises(ValueError, match=f"no luck in {i}"):
                workers.map(jobs(f"fail {i}"))
        with pytest.raises((Odd, RuntimeError), match="odd in 2"):
            workers.map(jobs("odd 2"))
        assert workers.map(jobs("again"))[2][1] == "again"
    finally:
        workers.close()


@forks
def test_a_process_that_dies_is_an_error_here():
    workers = Processes(work, 3)
    with pytest.raises(ChildProcessError, match="the process of replica 1 was killed by SIGKILL while it trained"):
        workers.map(jobs("die 1"))
    workers.close()


@forks
def test_shared_memory_is_seen_on_both_sides_and_blas_is_held():
    from threadpoolctl import threadpool_info

    array = shared_array(np.arange(6, dtype=np.float32).reshape(2, 3))
    own = np.zeros(1)

    def add(i: int, amount: float):
        array[i] += amount + own[0]
        return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]

    workers = Processes(add, 2)
    own[0] = 100  # the other process does not see it
    try:
        assert set(workers.map([(0, 1.0), (1, 1.0)])[1]) <= {1}
        np.testing.assert_array_equal(array, [[101, 102, 103], [4, 5, 6]])
        array[1] = 0
        workers.map([(0, 0.0), (1, 2.0)])
        np.testing.assert_array_equal(array[1], [2, 2, 2])
    finally:
        workers.close()
    assert shared_array(np.zeros((0, 2))).shape == (0, 2)


def test_no_fork_while_another_thread_runs():
    assert can_fork() == (sys.platform == "linux" and threading.active_count() == 1)
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    assert not can_fork()
    done.set()
    other.join()


LEAVES = """
import os, sys, time
from tinygpt.training import read_checkpoint
from tinygpt.training.workers import Processes
def work(i):
    return os.getpid()
workers = Processes(work, 3)
print(*workers.map([(i,) for i in range(3)]), flush=True)
{end}
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@forks
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(0)", "", "raise SystemExit(3)", "del workers",
                                 "os.kill(os.getpid(), 15)", "workers.close()"])
def test_no_process_outlives_its_parent_however_it_ends(end):
    parent = subprocess.run([sys.executable, "-c", LEAVES.format(end=end)], capture_output=True, text=True, timeout=60)
    pids = [int(word) for word in parent.stdout.split()]
    assert len(set(pids)) == 3 and "Traceback" not in parent.stderr
    deadline = time.monotonic() + 10
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, "an orphan"
        time.sleep(0.05)


@forks
def test_ctrl_c_is_the_parents_affair():
    """A terminal sends SIGINT, and a service manager SIGTERM, to every process of the group."""
    workers = Processes(work, 2)
    try:
        pid = workers.map(jobs("who", 2))[1][2]
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
        assert workers.map(jobs("still there", 2))[1] == (1, "still there", pid)
    finally:
        workers.close()


def test_blas_threads_are_given_back():
    from threadpoolctl import threadpool_info

    def count() -> list[int]:
        return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]

    before = count()
    with blas_threads(1):
        assert set(count()) <= {1}
    assert count() == before


@forks
def test_a_dead_worker_is_one_line_and_the_run_goes_on_from_its_checkpoint(tmp_path):
    """As the system's out-of-memory killer does it; the end is in the same bytes as without."""
    (tmp_path / "text.txt").write_text("one text and another. " * 40, encoding="utf-8")
    tiny = "--tokenizer char --n-layer 1 --n-head 1 --n-embd 4 --block-size 8 --batch-size 4 --threads 3 --steps 60 " \
           "--save-every 20 --eval-every 60".split()
    program = """
import os, signal, sys
import tinygpt.training.run as run
from tinygpt.cli import main
from multiprocessing import active_children
write = run.write_checkpoint
def writing(path, model, optimizer, step, *rest):
    write(path, model, optimizer, step, *rest)
    if step == 40:
        os.kill(sorted(child.pid for child in active_children())[1], signal.SIGKILL)
run.write_checkpoint = writing
sys.exit(main(sys.argv[1:]))
"""
    data = ["pretrain", "--data", str(tmp_path / "text.txt")]
    done = subprocess.run([sys.executable, "-c", program, *data, "--out", str(tmp_path / "out"), *tiny],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count("tinygpt: error: ") == 1
    assert done.stderr.splitlines()[-1].startswith("tinygpt: error: the process of replica 2 was killed by SIGKILL")
    assert read_checkpoint(tmp_path / "out" / "training_state.safetensors").step == 40
    for command in (["pretrain", "--resume", "--out", str(tmp_path / "out")],
                    [*data, "--out", str(tmp_path / "alone"), *tiny]):
        subprocess.run([sys.executable, "-m", "tinygpt", *command], check=True, capture_output=True, timeout=120)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == \
        (tmp_path / "alone" / "model.safetensors").read_bytes()


def test_blocks_that_hold_blas_in_several_threads_end_as_it_was():
    """Each ends at another moment; as long as there is one, BLAS is held."""
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads() -> set[int]:
        return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}

    if not threads():
        pytest.skip("this system's BLAS cannot be held")
    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        first, second = blas_threads(1), blas_threads(1)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == before
