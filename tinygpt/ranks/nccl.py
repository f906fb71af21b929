"""Ranks with a GPU each: NCCL moves arrays from GPU to GPU, MPI moves everything else.

    mpiexec -n 2 tinygpt pretrain --device cuda …

A rank takes the GPU whose number is its own place on its machine. What NCCL does is ordered into the device's stream
like any other operation, so nothing here waits for a device.

Prerequisites: mpi.py, backend/. Next: launch.py. NCCL's user guide: docs.nvidia.com/deeplearning/nccl.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any

from ..backend import Array, Backend, DeviceError, device_of, on_device
from ..backend.host import backend_for
from .group import Group

__all__ = ["OverNCCL", "with_own_gpus"]


class OverNCCL(Group):
    """The ranks of another group, each with a GPU.

    Args:
        hosts: the same ranks; it hands out NCCL's id, and moves what is on the host.
        device: this rank's GPU, "cuda:N", which no other rank has.
    """

    def __init__(self, hosts: Group, device: str) -> None:
        self._hosts, self.device = hosts, device
        self.rank, self.size, self.local = hosts.rank, hosts.size, hosts.local
        backend = backend_for(device.partition(":")[0])
        self._nccl, self._cuda = _nccl_of(backend), backend.module.cuda
        with on_device(device):
            unique_id = hosts.broadcast(self._nccl.get_unique_id() if self.rank == 0 else None)
            self._comm = self._nccl.NcclCommunicator(self.size, unique_id, self.rank)  # waits for all ranks

    def swap(self, sends: Sequence[Array], receives: Sequence[Array]) -> None:
        if device_of(sends[self.rank]) == "cpu":
            self._hosts.swap(sends, receives)
            return
        with on_device(self.device):
            super().swap(sends, receives)
            stream, byte = self._cuda.get_current_stream().ptr, self._nccl.NCCL_UINT8
            self._nccl.groupStart()  # all at the same time: none waits for the one before it
            for step in range(1, self.size):
                to, source = (self.rank + step) % self.size, (self.rank - step) % self.size
                if sends[to].size:
                    self._comm.send(sends[to].data.ptr, sends[to].nbytes, byte, to, stream)
                if receives[source].size:
                    self._comm.recv(receives[source].data.ptr, receives[source].nbytes, byte, source, stream)
            self._nccl.groupEnd()

    def add(self, sends: Sequence[Array], out: Array) -> None:
        nccl = self._nccl
        kind = {"float32": nccl.NCCL_FLOAT32, "float64": nccl.NCCL_FLOAT64}[out.dtype.name]
        with on_device(self.device):
            stream = self._cuda.get_current_stream().ptr
            nccl.groupStart()  # one sum for each rank: reduceScatter would need parts of equal size
            for p, summand in enumerate(sends):
                if summand.size:
                    self._comm.reduce(summand.data.ptr, out.data.ptr if p == self.rank else 0, summand.size, kind,
                                      nccl.NCCL_SUM, p, stream)
            nccl.groupEnd()

    def collect(self, value: Any) -> list[Any]:
        return self._hosts.collect(value)

    def broadcast(self, value: Any) -> Any:
        return self._hosts.broadcast(value)


def with_own_gpus(hosts: Group, device: str | None) -> Group:
    """The group of ranks that train on a kind of device; all of them call this together.

    Args:
        hosts: the ranks.
        device: of the first rank, whose word counts: "cpu", or "cuda" where each has a GPU of its own.

    Returns:
        `hosts` on the CPU, or alone; else the ranks' OverNCCL, whose `device` is this one's GPU.

    Raises:
        DeviceError: on all ranks alike, naming one that has no GPU of its own, or no NCCL.
    """
    device = hosts.broadcast(device)
    if hosts.size == 1 or device is None or device == "cpu":
        return hosts
    kind, _, number = device.partition(":")
    visible = hosts.collect(os.environ.get("CUDA_VISIBLE_DEVICES"))  # srun may show each rank its own GPU alone
    rivals = [rank for rank in hosts.local if visible[rank] == visible[hosts.rank]]
    problem = f"--device {device} is one GPU, and {hosts.size} ranks need one each: give --device {kind}" \
        if int(number or 0) else _problem(kind, len(rivals))
    for rank, (machine, theirs) in enumerate(hosts.collect((platform.node(), problem))):
        if theirs is not None:
            raise DeviceError(f"rank {rank} on {machine}: {theirs}")
    return OverNCCL(hosts, f"{kind}:{rivals.index(hosts.rank)}")


def _problem(kind: str, n_ranks: int) -> str | None:
    """Why so many ranks cannot have a GPU each here, or None if they can."""
    try:
        backend = backend_for(kind)
        _nccl_of(backend)
    except DeviceError as error:
        return str(error)
    n = n_ranks if backend.count is None else backend.count()
    return None if n_ranks <= n else (f"{n_ranks} ranks need a GPU each there, and there are {n}: start fewer ranks, "
                                      "or give --device cpu")


def _nccl_of(backend: Backend) -> Any:
    if backend.nccl is None:
        raise DeviceError(f"several ranks cannot train on {backend.kind}: give --device cpu")
    return backend.nccl()
