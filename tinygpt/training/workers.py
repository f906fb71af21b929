"""Several workers that each do a part of a job at the same time: threads, or forked processes.

NumPy lets go of Python's lock while it computes, so threads do. But between two NumPy calls a thread needs the lock,
which the other one may hold: each hand-over costs microseconds, and where the arrays are small a step is made of
thousands of them. A process has a lock of its own. `fork` gives it everything that its parent has, the model
included, at no cost; from then on the two share only what lies in memory that was made for it (`shared_array`).

    parent  ── job 1 ──> process 1     over a pipe each; job 0 is the parent's own
            <─ answer ──

What goes through a pipe comes from a process of our own, never from a file.

Next: parallel.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..blas import blas_threads

__all__ = ["Processes", "Threads", "can_fork", "shared_array"]

Work = Callable[..., Any]
PR_SET_PDEATHSIG = 1  # prctl(2)


def shared_array(like: np.ndarray) -> np.ndarray:
    """A copy of an array, in memory that processes forked from now on share with this one."""
    memory = mmap.mmap(-1, max(1, like.nbytes))
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    array = np.frombuffer(memory, dtype=like.dtype, count=like.size).reshape(like.shape)
    array[...] = like
    return array


def can_fork() -> bool:
    """Whether forking is safe here and now: on Linux, as long as no other thread of Python's may hold a lock."""
    return sys.platform.startswith("linux") and threading.active_count() == 1


class Threads:
    """n threads that call `work`.

    Args:
        work: (i, *rest of the job) -> an answer, called by worker i.
    """

    def __init__(self, work: Work, n: int) -> None:
        self._work, self._pool = work, ThreadPoolExecutor(n, thread_name_prefix="replica")

    def map(self, jobs: Sequence[tuple]) -> list[Any]:
        """The answers to the jobs, job i by worker i. The first worker's error is raised, once all are through."""
        return _answers([_outcome(future.result) for future in [self._pool.submit(self._work, *job) for job in jobs]])

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


class Processes:
    """This process and n − 1 forked from it call `work`, each with one BLAS thread of its own.

    What changes here after the fork is not seen there, except what jobs bring and what shared arrays hold. The
    processes end on `close`, and when this one ends, however it does.
    """

    def __init__(self, work: Work, n: int) -> None:
        import multiprocessing.util  # it costs milliseconds that not everybody owes

        context: Any = multiprocessing.get_context("fork")
        self._work = work
        self._pipes: list[Any] = []
        self._processes: list[Any] = []
        for i in range(1, n):
            mine, theirs = context.Pipe()
            self._pipes.append(mine)
            process = context.Process(target=_serve, args=(work, theirs, list(self._pipes)), name=f"replica_{i}",
                                      daemon=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on, for BLAS's threads: they take care
                process.start()
            theirs.close()
            self._processes.append(process)
        self.close = multiprocessing.util.Finalize(  # also at the interpreter's end, and when nobody holds this
            self, _end, (self._pipes, self._processes), exitpriority=0)

    def map(self, jobs: Sequence[tuple]) -> list[Any]:
        """The answers to the jobs, job 0 by this process, job i by process i. The first error is raised here."""
        sent = [_outcome(lambda: pipe.send(job)) for pipe, job in zip(self._pipes, jobs[1:])]
        outcomes = [_outcome(lambda: self._work(*jobs[0]))]
        outcomes += [self._receive(i) for i in range(1, 1 + len(sent))]
        return _answers(outcomes)

    def _receive(self, i: int) -> tuple[Any, BaseException | None]:
        try:
            return self._pipes[i - 1].recv()
        except (EOFError, OSError):
            self._processes[i - 1].join(5)
            return None, ChildProcessError(f"the process of replica {i} {_end_of(self._processes[i - 1].exitcode)} "
                                           "while it trained; the last checkpoint is kept, and --resume goes on from it"
                                           " once there is more memory, if that ran out")


def _end_of(code: int | None) -> str:
    """How a process ended, by its exit code."""
    if code is None:
        return "no longer answers"
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


def _end(pipes: list[Any], processes: list[Any]) -> None:
    """Close the pipes, which ends the processes."""
    for pipe in pipes:
        pipe.close()
    for process in processes:
        process.join(5)
        if process.exitcode is None:
            process.kill()
            process.join()
        process.close()


def _outcome(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What a function returns, and what it raises."""
    try:
        return function(), None
    except BaseException as error:  # whatever it is, the other workers' answers must be waited for
        return None, error


def _answers(outcomes: list[tuple[Any, BaseException | None]]) -> list[Any]:
    for _, error in outcomes:
        if error is not None:
            raise error
    return [answer for answer, _ in outcomes]


def _serve(work: Work, pipe: Any, inherited: list[Any]) -> None:
    """The life of a forked process: take a job, answer, until the pipe ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal sends Ctrl-C to all; the parent decides what it means
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):  # killed with the parent at once, if the system can do that;
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # otherwise the pipe's end ends this after the job
    for other in inherited:  # the parent's ends: as long as anybody holds one, its pipe does not end
        other.close()
    with blas_threads(1), contextlib.suppress(EOFError, OSError):
        while True:
            job = pipe.recv()
            answer, error = _outcome(lambda: work(*job))
            pipe.send((answer, _portable(error)))


def _portable(error: BaseException | None) -> BaseException | None:
    """The error, or where it does not survive the way through a pipe, a RuntimeError with its name and message."""
    from multiprocessing.reduction import ForkingPickler

    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
