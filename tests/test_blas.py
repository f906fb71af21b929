"""How many threads BLAS has: the choice beside load that changes, by a clock of its own; and who may set the number."""

from __future__ import annotations

import itertools
import random
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygpt import blas
from tinygpt.autograd import no_grad
from tinygpt.blas import ALL, ONE, Choice, blas_threads, chooses_threads
from tinygpt.cli import main

QUIET, BUSY, FULL = (114, 149), (122, 50), (81, 3)  # steps a second with one thread and with all: beside 0, 1, 2 others


class Machine:
    """A choice, and steps that take as long as a machine says."""

    def __init__(self, noise: float = 0.0, seed: int = 0) -> None:
        self.choice, self.noise, self.random = Choice(), noise, random.Random(seed)

    def run(self, seconds: float, rates: tuple[float, float], kind: str = "decode", work: int = 1) -> tuple[int, int]:
        """How many steps are done in the time, and how often the better way was another one."""
        steps, changes = 0, 0
        while seconds > 0:
            before, way = self.choice.better, self.choice.way(kind)
            took = work / rates[way] * self.random.uniform(1 - self.noise, 1 + self.noise)
            seconds -= took
            self.choice.took(took, work)
            steps, changes = steps + 1, changes + (self.choice.better != before)
        return steps, changes


@settings(max_examples=20)
@given(st.floats(2, 200), st.floats(0.03, 3), st.floats(0, 0.3), st.integers(0, 99))
def test_it_finds_the_better_way_and_stays_with_it(one, ratio, noise, seed):
    """Whatever the rates: after the first looks at least 0.85 of the better, in few changes."""
    machine, rates = Machine(noise, seed), (one, one * ratio)
    machine.run(20 + 10 / one, rates)
    steps, changes = machine.run(120 + 100 / one, rates)
    assert steps >= 0.85 * max(rates) * (120 + 100 / one) - 1
    assert changes <= 5
    if not 0.8 < ratio < 1.25:
        assert machine.choice.better == (ALL if ratio > 1 else ONE)


def test_it_begins_with_the_way_that_cannot_be_terrible():
    assert Choice().way("prompt") == ONE


@pytest.mark.parametrize("seed", range(3))
def test_load_that_comes_and_goes_costs_at_most_a_tenth(seed):
    """Five minutes; every phase ends with the way that is the better one in it."""
    machine = Machine(0.3, seed)
    total, phases = 0, [QUIET, BUSY, FULL, QUIET, FULL, QUIET, BUSY, QUIET, FULL, BUSY]
    for rates in phases:
        total += machine.run(30, rates)[0]
        assert machine.choice.better == (ALL if rates is QUIET else ONE)
    assert total >= 0.9 * sum(30 * max(rates) for rates in phases)


def test_load_is_noticed_at_once():
    machine = Machine()
    machine.run(30, QUIET)
    assert machine.choice.better == ALL
    machine.run(2, FULL)
    assert machine.choice.better == ONE


def test_a_look_at_a_terrible_way_is_a_step_and_comes_seldom():
    """A step of five seconds, where the other way takes 0.04: one is the price, and then there is quiet for long."""
    machine = Machine()
    machine.run(300, (28, 0.18))
    looks = 300 - machine.run(300, (28, 0.18))[0] / 28
    assert looks <= 3 * 5.6


def test_before_a_look_at_all_a_small_job_says_whether_it_is_worth_it():
    """A step with all threads takes a minute; the job tells so in 0.1 seconds, again and again, until the load ends."""
    busy, jobs = [True], []

    def try_all() -> tuple[bool, float]:
        jobs.append(None)
        return not busy[0], 0.1 if busy[0] else 0.002
    machine = Machine()
    machine.choice = Choice(try_all)
    steps, changes = machine.run(100, (28, 1 / 60))
    assert steps >= 2799 and not changes and 10 < len(jobs) < 60
    busy[0] = False
    machine.run(8, QUIET)
    assert machine.choice.better == ALL


def test_ways_as_good_as_one_another_do_not_take_turns():
    machine = Machine(noise=0.3)
    machine.run(10, (100, 103))
    assert sum(machine.run(60, (100, 103))[1] for _ in range(5)) <= 6  # in five minutes


def test_steps_of_other_kinds_are_not_compared():
    """A prompt between two answers takes long for other reasons; and there it does not look at anything."""
    machine = Machine()
    machine.run(10, FULL)
    for _ in range(40):
        machine.run(0.5, FULL)
        assert machine.choice.way("prompt") == ONE
        machine.choice.took(1.0, 40)
    assert machine.choice.better == ONE


# -- the library ------------------------------------------------------------------------------------------------------


class Library:
    """What threadpoolctl has for each BLAS."""

    internal_api, version, architecture = "fastblas", "1.2", "Haswell"

    def __init__(self, n: int) -> None:
        self.num_threads, self.log = n, [n]

    def set_num_threads(self, n: int) -> None:
        self.num_threads = n
        self.log.append(n)


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch):
    for name in blas.FIXED_BY:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def library(monkeypatch) -> Library:
    found = Library(4)
    monkeypatch.setattr(blas, "_libraries", lambda: [found])
    monkeypatch.setattr(blas, "_blas", blas._Blas())
    monkeypatch.setattr(blas, "_choice", Choice())  # without the job, whose products would not know the library
    monkeypatch.setattr(blas, "_owner", threading.Lock())
    return found


@chooses_threads
def step(library: Library, ids: np.ndarray, inside=lambda: None) -> int:
    inside()
    return library.num_threads


IDS = np.zeros((1, 1), dtype=np.int64)


def timed(monkeypatch, seconds: dict[int, float], library: Library):
    """A clock that a step moves by so much, according to the threads that it has."""
    now = [0.0]

    def work() -> None:
        now[0] += seconds[library.num_threads]
    monkeypatch.setattr(blas.time, "perf_counter", lambda: now[0])
    return work


@no_grad()
def test_a_step_has_one_thread_or_all_and_leaves_them_as_they_were(library, monkeypatch):
    work = timed(monkeypatch, {1: 0.02, 4: 0.01}, library)
    had = []
    for _ in range(30):
        had.append(step(library, IDS, work))
        assert library.num_threads == 4
    assert had[:4] == [1] * 4 and set(had[4:]) == {4}


@no_grad()
def test_beside_load_one_thread_is_kept(library, monkeypatch):
    work = timed(monkeypatch, {1: 0.012, 4: 0.3}, library)
    had = [step(library, IDS, work) for _ in range(100)]
    assert had.count(4) == 1 and library.num_threads == 4


def test_what_is_recorded_and_what_is_held_is_left_alone(library):
    assert [step(library, IDS) for _ in range(5)] == [4] * 5  # the tape is on: a step of training
    with no_grad(), blas_threads(3):
        assert [step(library, IDS) for _ in range(5)] == [3] * 5
        with blas_threads(None), blas_threads(2):
            assert step(library, IDS) == 2
        assert step(library, IDS) == 3
    assert library.num_threads == 4


@no_grad()
def test_a_machine_with_one_thread_has_nothing_to_choose(library):
    library.num_threads = 1
    assert [step(library, IDS) for _ in range(9)] == [1] * 9 and library.log == [4]


@no_grad()
def test_a_step_inside_a_step_does_not_choose_and_an_error_leaves_all_as_it_was(library):
    assert step(library, IDS, lambda: step(library, IDS)) == 1
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            step(library, IDS, lambda: 1 // 0)
        assert library.num_threads == 4 and not blas._owner.locked()


def test_one_thread_of_python_chooses_and_the_others_leave_it_alone(library):
    """Four that compute at the same time: while one is in its step, nobody else sets the number."""
    setters, barrier = itertools.count(), threading.Barrier(4)
    alone, seen = threading.Lock(), []
    choose = blas._blas.choose

    def watched(n):
        if n is not None:
            seen.append(alone.acquire(blocking=False))
            next(setters)
        choose(n)
        if n is None and alone.locked():
            alone.release()
    blas._blas.choose = watched  # type: ignore[method-assign]

    def work() -> None:
        barrier.wait()
        with no_grad():
            for _ in range(200):
                step(library, IDS)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert next(setters) > 0 and all(seen) and library.num_threads == 4


@no_grad()
def test_who_holds_blas_during_a_step_gets_it_and_the_number_before_comes_back(library):
    """A training that begins while another thread generates must not take the chosen number for the machine's own."""
    held = blas_threads(2)
    assert step(library, IDS, lambda: held.__enter__()) == 2
    assert step(library, IDS) == 2
    held.__exit__(None, None, None)
    assert library.num_threads == 4


@no_grad()
def test_a_hold_that_ends_during_a_step_leaves_the_number_before(library):
    held = blas_threads(2)
    held.__enter__()
    step(library, IDS, lambda: held.__exit__(None, None, None))
    assert library.num_threads == 4
    step(library, IDS)
    assert library.num_threads == 4


def test_what_computes_has_a_name(library, monkeypatch):
    assert blas.numerics() == f"NumPy {np.__version__}, fastblas 1.2 Haswell"
    monkeypatch.setattr(blas, "_libraries", list)  # as on macOS
    assert re.fullmatch(r"NumPy \d\S+, \S+", blas.numerics())


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["generate", "--prompt", "x"], ["chat"], ["evaluate", "--data", "x"]])
@pytest.mark.parametrize("n", ["0", "-1", "100000", "many"])
def test_a_number_of_threads_out_of_range_is_a_sentence(command, n, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([*command, "--model", "x", "--threads", n])
    err = capsys.readouterr().err
    assert leaving.value.code == 2 and err.count("\n") == 1 and "--threads" in err


def test_generate_with_one_thread_writes_as_ever(tmp_path):
    """The library itself, not a pretended one."""
    code = """
import sys
from threadpoolctl import threadpool_info
from tinygpt import blas
from tinygpt.models import GPT, GPTConfig
model = GPT(GPTConfig(vocab_size=20, block_size=64, n_layer=1, n_head=2, n_embd=16)).eval()
def threads():
    return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]
before = threads()
free = model.generate([[1, 2]], 50, temperature=0.0, eos_token_id=None)
assert threads() == before
with blas.blas_threads(1):
    assert (model.generate([[1, 2]], 50, temperature=0.0, eos_token_id=None) == free).all()
assert threads() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("name", sorted(blas.FIXED_BY))
def test_a_number_in_the_environment_is_kept(library, monkeypatch, name):
    assert blas._blas.open()
    monkeypatch.setenv(name, "2")
    assert not blas._blas.open()
