"""A pretend NCCL between pretend GPUs: `cupy.cuda.nccl`, as far as tinygpt/ranks/nccl.py uses it.

    with fake_nccl.installed(n_gpus=2): …            between the ranks of tests/thread_ranks.py
    mpiexec -n 2 python tests/fake_nccl.py 2 …       tinygpt's command line, between processes; on 2 GPUs a machine

The functions and their parameters are those of CuPy 14 (its file nccl.pyx): numbers only, addresses among them. It is
as strict as NCCL, or more so: each communicator belongs to the device that was current when it was made, and no two to
one device; what is sent has the size and the type of what is received; what stands between groupStart and groupEnd
happens at groupEnd. A sum is made from the last rank to the first, which is not the order of ranks/sums.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import queue
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import fake_device
import numpy as np

from tinygpt.backend import DeviceError, register_backend
from tinygpt.cli import main

__all__ = ["install", "install_none", "installed"]

NCCL_INT8, NCCL_UINT8, NCCL_FLOAT32, NCCL_FLOAT64 = 0, 1, 7, 8  # as in NCCL's header
NCCL_SUM = 0
DTYPES = {NCCL_INT8: np.int8, NCCL_UINT8: np.uint8, NCCL_FLOAT32: np.float32, NCCL_FLOAT64: np.float64}

_boxes: dict[Any, queue.Queue[Any]] = defaultdict(queue.Queue)  # (id, what, from, to) -> what is on its way
_devices: dict[Any, set[int]] = defaultdict(set)  # id -> devices that have a communicator
_lock = threading.Lock()
_thread = threading.local()  # .depth of groups, .waiting operations


class NcclError(RuntimeError):
    """CuPy's, in name."""


def _view(pointer: int, count: int, datatype: int) -> np.ndarray:
    dtype = np.dtype(DTYPES[datatype])
    return np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(pointer), dtype)


class InThreads:
    """What is on its way between threads."""

    def __init__(self, commId: tuple, rank: int) -> None:
        self.id, self.rank = commId, rank

    def put(self, what: str, to: int, message: Any) -> None:
        _boxes[self.id, what, self.rank, to].put(message)

    def get(self, what: str, source: int) -> Any:
        return _boxes[self.id, what, source, self.rank].get(timeout=60)

    def sent(self) -> None:
        pass


class BetweenProcesses:
    """The same through mpi4py."""

    TAGS = {"message": 1, "summand": 2}

    def __init__(self, commId: tuple, rank: int) -> None:
        from mpi4py import MPI
        self.comm, self.requests = MPI.COMM_WORLD.Dup(), []
        assert self.comm.Get_rank() == rank and set(self.comm.allgather(commId)) == {commId}

    def put(self, what: str, to: int, message: Any) -> None:
        self.requests.append(self.comm.isend(message, dest=to, tag=self.TAGS[what]))

    def get(self, what: str, source: int) -> Any:
        return self.comm.recv(source=source, tag=self.TAGS[what])

    def sent(self) -> None:
        for request in self.requests:
            request.wait()
        self.requests = []


def _module(way: Callable[[tuple, int], Any]) -> SimpleNamespace:
    """The module, with one way for bytes to travel."""
    ids = iter(range(1 << 30))

    class NcclCommunicator:
        def __init__(self, ndev: int, commId: tuple, rank: int) -> None:
            assert type(commId) is tuple and len(commId) == 128 and 0 <= rank < ndev
            self.ndev, self.rank, self.device = ndev, rank, fake_device._current_index()
            with _lock:
                if self.device in _devices[commId]:
                    raise NcclError("NCCL_ERROR_INVALID_USAGE: invalid usage (two ranks on one GPU)")
                _devices[commId].add(self.device)
            self.way = way(commId, rank)

        def send(self, sendbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
            self._do(sendbuf, count, datatype, peer, stream, lambda: self._put("message", peer, sendbuf, count,
                                                                               datatype), None)

        def recv(self, recvbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
            def receive() -> None:
                _view(recvbuf, count, datatype)[...] = self._got("message", peer, count, datatype)
            self._do(recvbuf, count, datatype, peer, stream, None, receive)

        def reduce(self, sendbuf: int, recvbuf: int, count: int, datatype: int, op: int, root: int,
                   stream: int) -> None:
            assert op == NCCL_SUM and bool(recvbuf) == (root == self.rank)

            def add_up() -> None:
                summands = [self._got("summand", p, count, datatype) for p in range(self.ndev)]
                _view(recvbuf, count, datatype)[...] = sum(reversed(summands[:-1]), summands[-1])
            self._do(sendbuf, count, datatype, root, stream, lambda: self._put("summand", root, sendbuf, count,
                                                                               datatype),
                     add_up if root == self.rank else None)

        def _do(self, pointer: int, count: int, datatype: int, peer: int, stream: int,
                out: Callable[[], None] | None, into: Callable[[], None] | None) -> None:
            assert all(type(x) is int for x in (pointer, count, datatype, peer, stream))
            assert pointer and count > 0 and datatype in DTYPES and 0 <= peer < self.ndev
            if fake_device._current_index() != self.device:
                raise NcclError("NCCL_ERROR_INVALID_USAGE: the communicator is of another device")
            groupStart()
            _thread.waiting.append((self.way, out, into))
            groupEnd()

        def _put(self, what: str, to: int, pointer: int, count: int, datatype: int) -> None:
            self.way.put(what, to, (count, datatype, _view(pointer, count, datatype).copy()))

        def _got(self, what: str, source: int, count: int, datatype: int) -> np.ndarray:
            theirs = self.way.get(what, source)
            assert theirs[:2] == (count, datatype), f"{theirs[:2]} sent, {(count, datatype)} expected"
            return theirs[2]

    def get_unique_id() -> tuple:
        number = next(ids)
        return tuple((number >> 8 * i) % 256 - 128 for i in range(128))

    return SimpleNamespace(
        available=True, NcclCommunicator=NcclCommunicator, NcclError=NcclError, get_unique_id=get_unique_id,
        groupStart=groupStart, groupEnd=groupEnd, NCCL_INT8=NCCL_INT8, NCCL_UINT8=NCCL_UINT8,
        NCCL_FLOAT32=NCCL_FLOAT32, NCCL_FLOAT64=NCCL_FLOAT64, NCCL_SUM=NCCL_SUM)


def groupStart() -> None:
    if not getattr(_thread, "depth", 0):
        _thread.depth, _thread.waiting = 0, []
    _thread.depth += 1


def groupEnd() -> None:
    _thread.depth -= 1
    if _thread.depth:
        return
    waiting, _thread.waiting = _thread.waiting, []
    for turn in (1, 2):  # all that goes out, then all that comes in
        for operation in waiting:
            if operation[turn] is not None:
                operation[turn]()
    for way, _, _ in waiting:
        way.sent()


def install(n_gpus: int, way: Callable[[tuple, int], Any] = InThreads) -> None:
    """Give the pretend device a number of GPUs and NCCL."""
    module = _module(way)
    register_backend(dataclasses.replace(fake_device.BACKEND, count=lambda: n_gpus, nccl=lambda: module))


def install_none() -> None:
    """Give it two GPUs without NCCL, as `backend/cuda.py` says it."""
    def missing() -> Any:
        raise DeviceError("CuPy finds no NCCL: pip install it")
    register_backend(dataclasses.replace(fake_device.BACKEND, count=lambda: 2, nccl=missing))


@contextlib.contextmanager
def installed(n_gpus: int) -> Iterator[None]:
    """The same inside the block, for ranks in threads."""
    install(n_gpus)
    try:
        yield
    finally:
        register_backend(fake_device.BACKEND)
        _boxes.clear()
        _devices.clear()


if __name__ == "__main__":
    if sys.argv[1] == "none":
        install_none()
    else:
        install(int(sys.argv[1]), BetweenProcesses)
    sys.exit(main(sys.argv[2:]))
