"""Whether a program is one of several ranks, and what it says where they cannot come together."""

from __future__ import annotations

import sys
import threading

import pytest
from thread_ranks import in_ranks

from tinygpt.cli import main
from tinygpt.ranks import Group, joined, launch, launched_as, require_same, together

MPICH = {"PMI_RANK": "2", "PMI_SIZE": "4"}


@pytest.fixture
def launched(monkeypatch):
    """Pretend that a launcher has set these variables."""
    for names in launch.LAUNCHERS.items():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    return lambda variables: [monkeypatch.setenv(name, value) for name, value in variables.items()]


@pytest.mark.parametrize("variables, expected", [
    ({}, (0, 1)),
    (MPICH, (2, 4)),
    ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "3"}, (1, 3)),
    ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8"}, (5, 8)),
    ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, (0, 1)),  # a batch script, outside of srun
    ({"PMI_RANK": "x", "PMI_SIZE": "4"}, (0, 1)),
    ({"PMI_RANK": "1" * 20, "PMI_SIZE": "4"}, (0, 1)),
])
def test_launchers_say_who_one_is(launched, variables, expected):
    launched(variables)
    assert launched_as() == expected


def test_without_a_launcher_mpi4py_is_not_asked_for(launched, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    for variables in ({}, {"PMI_RANK": "0", "PMI_SIZE": "1"}):
        launched(variables)
        assert type(together()) is Group and joined().size == 1


@pytest.mark.parametrize("rank", [0, 2])
def test_without_mpi4py_the_first_rank_says_so_in_one_line(launched, monkeypatch, capsys, rank):
    launched(MPICH | {"PMI_RANK": str(rank)})
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert main(["pretrain", "--out", "x"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == (rank == 0)
    assert rank or ("one of 4 ranks" in error and "pip install mpi4py mpich" in error)
    assert all(thread.finished.is_set() for thread in threading.enumerate() if isinstance(thread, threading.Timer)), \
        "the timer that ends a process whose ranks do not come ends this one, 25 seconds later"


def test_ranks_that_differ_are_named():
    def compare(group: Group, told: dict) -> str:
        try:
            require_same(group, told)
        except ValueError as error:
            return str(error)
        return ""
    told = [{"--lr": 0.1, "NumPy": "2"}, {"--lr": 0.1, "NumPy": "2"}, {"--lr": 0.2, "NumPy": "2"}]
    answers = in_ranks(3, lambda group: compare(group, told[group.rank]))
    assert len(set(answers)) == 1 and "--lr 0.1" in answers[0] and "rank 2" in answers[0] and "0.2" in answers[0]
    missing = in_ranks(2, lambda group: compare(group, {"--a": 1} if group.rank else {}))
    assert "--a None" in missing[0] and "1: all ranks need the same" in missing[1]
    assert in_ranks(2, lambda group: compare(group, {"a": 1})) == ["", ""]
