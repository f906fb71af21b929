"""Who still answers: a thread in each rank that sends signs of life, and ends all ranks when one of them fails.

A rank that waits for another one waits for ever. So each one sends a beat to the first every BEAT seconds, and the
first one answers. Who is silent for SILENCE seconds is dead, stopped, or cut off, and then all the others end too.

A rank that fails tells the first one, which alone prints, so that the reader sees one line, however many ranks fail at
the same time. Then all ranks end at once, with one exit code: what was saved before is whole.

Prerequisites: mpi.py. Next: launch.py.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any, NoReturn

__all__ = ["BEAT", "SILENCE", "Watch"]

BEAT, SILENCE, GRACE, LOOK = 1.0, 20.0, 1.0, 0.05  # seconds


class Watch:
    """The watch of one rank. It needs an MPI that several threads may use at once.

    Args:
        world: mpi4py's communicator; this takes a duplicate of it.
        machines: the name of each rank's machine.
    """

    def __init__(self, world: Any, machines: list[str]) -> None:
        self._comm = world.Dup()
        self._rank, self._machines = world.Get_rank(), machines
        self._watched = range(1, world.Get_size()) if self._rank == 0 else range(1)
        self._heard = dict.fromkeys(self._watched, time.monotonic())
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failure: tuple[float, str, int] | None = None  # of another rank: when to print it, the line, the code
        self._sent: list[Any] = []
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, once all ranks are done."""
        self._over.set()
        self._thread.join()

    def fail(self, line: str, code: int) -> NoReturn:
        """End all ranks with this exit code, and have the line printed, unless another one has been by now."""
        if self._rank == 0:
            self._end_all(line, code)
        self._send(0, ("failed", line, code))
        time.sleep(SILENCE)  # the thread ends this process, when the first rank says so
        self._leave(line, code)  # it does not

    def _run(self) -> None:
        next_beat = 0.0
        while not self._over.wait(LOOK):
            now = time.monotonic()
            if now >= next_beat:
                for other in self._watched:
                    self._send(other, ("beat", "", 0))
                next_beat = now + BEAT
            self._listen(now)
            silent = [other for other, then in self._heard.items() if now - then > SILENCE]
            if silent:
                self._give_up(silent[0])
            if self._failure is not None and now >= self._failure[0]:
                self._end_all(*self._failure[1:])

    def _listen(self, now: float) -> None:
        from mpi4py import MPI

        status = MPI.Status()
        while self._comm.iprobe(status=status):
            other = status.Get_source()
            kind, line, code = self._comm.recv(source=other)
            self._heard[other] = now
            if kind == "end":
                self._leave("", code)
            if kind == "failed" and self._failure is None:  # this rank may be about to fail alike, and says it better
                self._failure = now + GRACE, f"{line} (rank {other} on {self._machines[other]})", code

    def _give_up(self, other: int) -> NoReturn:
        line = (f"tinygpt: error: rank {other} on {self._machines[other]} has not answered for {SILENCE:.0f} seconds: "
                "all ranks end; the last checkpoint is kept, and --resume goes on from it")
        if self._rank == 0:
            self._end_all(line, 1)
        self._leave(line, 1)

    def _end_all(self, line: str, code: int) -> NoReturn:
        with self._lock:  # held until the end: one line
            _print(line)
            for other in self._watched:
                self._send(other, ("end", "", code))
            time.sleep(0.5)  # the messages must get away
            os._exit(code)

    def _leave(self, line: str, code: int) -> NoReturn:
        _print(line)
        os._exit(code)

    def _send(self, other: int, message: tuple[str, str, int]) -> None:
        self._sent = [request for request in self._sent if not request.Test()]
        self._sent.append(self._comm.isend(message, dest=other))


def _print(line: str) -> None:
    if line:
        print(line, file=sys.__stderr__, flush=True)
