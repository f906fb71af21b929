"""Whether this program is one of several that a launcher started, and the group that they make.

    mpiexec -n 4 tinygpt pretrain …

A launcher tells each process its number in the environment. mpi4py, the extra `mpi`, is imported only then.

Prerequisites: mpi.py, watch.py. Next: training/exchange.py, cli/__init__.py.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
import sys
import threading
import warnings
from typing import Any

import numpy as np

from .._version import __version__
from ..files import printable
from .group import Group
from .mpi import OverMPI
from .watch import Watch

__all__ = ["end_together", "joined", "launched_as", "require_same", "together"]

# The variables in which launchers tell a process its number, and how many there are.
LAUNCHERS = {"PMI_RANK": "PMI_SIZE",                              # MPICH, Intel MPI, MVAPICH
             "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE",      # Open MPI
             "SLURM_PROCID": "SLURM_STEP_NUM_TASKS"}              # srun; a batch script itself has no step
PATIENCE = 25.0  # seconds in which all ranks must have come

_state: dict[str, Any] = {}  # "group" and "watch", once this process has joined


def launched_as() -> tuple[int, int]:
    """This process's number and how many there are, as the launcher says: (0, 1) without one."""
    for rank, size in LAUNCHERS.items():
        found = os.environ.get(rank, ""), os.environ.get(size, "")
        if all(text.isascii() and text.isdigit() and len(text) < 10 for text in found):
            return int(found[0]), int(found[1])
    return 0, 1


def joined() -> Group:
    """The group that this process has joined; without one, a group of its own."""
    return _state.get("group", Group())


def together() -> Group:
    """Join the other ranks, if a launcher started several; at the first call only.

    Raises:
        ImportError: mpi4py is not installed.
        RuntimeError: the launcher belongs to another MPI than mpi4py, or there is none behind mpi4py.
        ValueError: the ranks run other versions of tinygpt, NumPy or its BLAS.
    """
    rank, size = launched_as()
    if size < 2 or "group" in _state:
        return joined()
    late = threading.Timer(PATIENCE, _nobody_came, (rank, size))
    late.daemon = True
    late.start()
    try:
        world, machines = _world(size)
    finally:
        late.cancel()  # who is refused goes on, perhaps without the others: a test, a notebook
    _state["group"], _state["watch"] = group, _ = OverMPI(world), Watch(world, machines)
    atexit.register(_part)  # before mpi4py's own, which waits for all ranks
    require_same(group, _versions())
    return group


def _world(size: int) -> tuple[Any, list[str]]:
    """MPI's communicator of all ranks, and the name of each rank's machine, once all have come."""
    try:
        import mpi4py
        mpi4py.rc.initialize = False  # see `_initialize`
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of another MPI's launcher, which is an error below
            from mpi4py import MPI
    except ImportError as error:
        raise ImportError(f"a launcher started this as one of {size} ranks, which need mpi4py: pip install mpi4py "
                          f"mpich ({error})") from None
    except RuntimeError as error:  # no MPI library where mpi4py looks for it
        raise ImportError(f"mpi4py finds no MPI on this machine: pip install mpich ({error})") from None
    _initialize(MPI)
    world = MPI.COMM_WORLD
    if world.Get_size() != size:
        raise ImportError(f"a launcher started {size} ranks, but mpi4py's MPI sees {world.Get_size()}: use the mpiexec "
                          f"of the same MPI, which is {MPI.Get_library_version().splitlines()[0]}")
    if MPI.Query_thread() != MPI.THREAD_MULTIPLE:
        raise ImportError("this MPI lets one thread alone send messages, and ranks need one to work and one to watch: "
                          "pip install mpich")
    return world, world.allgather(platform.node())


def _initialize(MPI: Any) -> None:
    """Start MPI, which waits for all ranks; meanwhile other threads run. mpi4py's own call would keep Python's lock,
    and the timer that ends this where a rank never comes could not."""
    if MPI.Is_initialized():
        return  # by a program that uses tinygpt
    provided = ctypes.c_int()
    try:
        ctypes.CDLL(MPI.__file__).MPI_Init_thread(None, None, MPI.THREAD_MULTIPLE, ctypes.byref(provided))
    except (OSError, AttributeError):  # not to be found in that library
        MPI.Init_thread(MPI.THREAD_MULTIPLE)
    atexit.register(MPI.Finalize)  # behind `_part`, which is registered later


def _nobody_came(rank: int, size: int) -> None:
    if rank == 0:
        print(f"tinygpt: error: not all {size} ranks have come within {PATIENCE:.0f} seconds; has every machine "
              "tinygpt and mpi4py, and does its firewall let MPI through?", file=sys.__stderr__, flush=True)
    os._exit(2)


def _versions() -> dict[str, str]:
    from threadpoolctl import threadpool_info

    blas = sorted(f"{info['internal_api']} {info['version']}" for info in threadpool_info()
                  if info["user_api"] == "blas")
    return {"tinygpt": __version__, "NumPy": np.__version__, "BLAS": ", ".join(blas) or "unknown"}


def require_same(group: Group, told: dict[str, Any]) -> None:
    """Compare what the ranks are told: on every rank, with values by name.

    Raises:
        ValueError: two ranks differ; the first difference is named, on all of them alike.
    """
    first, *others = group.collect((platform.node(), told))
    for rank, (machine, theirs) in enumerate(others, 1):
        for name in first[1] | theirs:
            if first[1].get(name) != theirs.get(name):
                raise ValueError(f"rank 0 on {first[0]} has {name} {first[1].get(name)!r:.60} and rank {rank} on "
                                 f"{machine} {theirs.get(name)!r:.60}: all ranks need the same")


def end_together(line: str, code: int) -> bool:
    """This rank has failed: end all of them with this exit code and one line. It returns where there are no others, or
    none have come together yet: whether the line is still to be printed here."""
    if "watch" in _state:
        _state["watch"].fail(printable(line), code)
    return launched_as()[0] == 0


def _part() -> None:
    """At the end of the program: wait for the other ranks, unless this one has failed."""
    if hasattr(sys, "last_value"):  # an error that nobody caught, in a program that uses tinygpt
        end_together(f"tinygpt: error: rank {joined().rank} has failed: {sys.last_value}", 1)
    joined().collect(None)
    _state["watch"].close()
