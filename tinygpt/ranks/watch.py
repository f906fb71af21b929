"""Who still answers: a thread in each rank that sends signs of life, and ends all ranks when one of them fails.

A rank that waits for another one waits for ever. So each one sends a beat to the first every BEAT seconds, and the
first one sends them to all. Who is silent for SILENCE seconds is dead, stopped, or cut off, and then all end.

A rank that fails tells the first one, which alone prints, so that the reader sees one line, however many ranks fail at
the same time. Then MPI ends all ranks at once, with one exit code: what was saved before is whole.

(Of a rank that is killed, a launcher on its machine may know at once. MPICH's ends the others itself and says so.)

Prerequisites: mpi.py. Next: launch.py.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any, NoReturn

__all__ = ["BEAT", "SILENCE", "Watch"]

BEAT, SILENCE, GRACE, LOOK = 1.0, 20.0, 1.0, 0.05  # seconds; LOOK: between two looks at what has arrived


class Watch:
    """The watch of one rank. It needs an MPI that several threads may use at once.

    Args:
        world: mpi4py's communicator; this takes a duplicate of it.
        machines: the name of each rank's machine.
    """

    def __init__(self, world: Any, machines: list[str]) -> None:
        from mpi4py import MPI

        self._comm, self._status = world.Dup(), MPI.Status
        self._rank, self._machines = world.Get_rank(), machines
        self._watched = range(1, world.Get_size()) if self._rank == 0 else range(1)
        self._n_sent, self._n_heard = [0] * world.Get_size(), [0] * world.Get_size()  # messages to and from each rank
        self._heard = dict.fromkeys(self._watched, time.monotonic())
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failure: tuple[float, str, int] | None = None  # of another rank: when to print it, the line, the code
        self._sent: list[Any] = []
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, once all ranks are done; all of them call this. No message is left on its way."""
        self._over.set()
        self._thread.join()
        for other, theirs in enumerate(self._comm.allgather(self._n_sent)):
            for _ in range(theirs[self._rank] - self._n_heard[other]):
                self._comm.recv(source=other)

    def fail(self, line: str, code: int) -> NoReturn:
        """End all ranks with this exit code, and have the line printed, unless another one has been by now."""
        if self._rank == 0:
            self._end_all(line, code)
        self._send(0, (line, code))
        time.sleep(SILENCE)  # meanwhile the first rank ends this one
        self._end_all(line, code)  # it does not

    def _run(self) -> None:
        next_beat = 0.0
        while not self._over.wait(LOOK):
            now = time.monotonic()
            if now >= next_beat:
                for other in self._watched:
                    self._send(other, None)
                next_beat = now + BEAT
            self._listen(now)
            silent = [other for other, then in self._heard.items() if now - then > SILENCE]
            if silent:
                self._end_all(f"tinygpt: error: rank {silent[0]} on {self._machines[silent[0]]} has not answered for "
                              f"{SILENCE:.0f} seconds, so all ranks end; the last checkpoint is kept, and --resume "
                              "goes on from it", 1)
            if self._failure is not None and now >= self._failure[0]:
                self._end_all(*self._failure[1:])

    def _listen(self, now: float) -> None:
        status = self._status()
        while self._comm.iprobe(status=status):
            other = status.Get_source()
            failure = self._comm.recv(source=other)
            self._heard[other] = now
            self._n_heard[other] += 1
            if failure is not None and self._failure is None:  # this rank may be about to fail alike, and prints then
                line, code = failure
                self._failure = now + GRACE, f"{line} (rank {other} on {self._machines[other]})", code

    def _end_all(self, line: str, code: int) -> NoReturn:
        with self._lock:  # for good: one line
            print(line, file=sys.__stderr__, flush=True)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # MPI would add a line of its own
            self._comm.Abort(code)
            os._exit(code)

    def _send(self, other: int, message: tuple[str, int] | None) -> None:
        """Send a beat (None), or a line and an exit code."""
        self._sent = [request for request in self._sent if not request.Test()]
        self._sent.append(self._comm.isend(message, dest=other))
        self._n_sent[other] += 1
