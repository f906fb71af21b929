"""Kernels of cuda.cu compiled for the host, and given to the pretend GPU: `RawModule` without a device.

What is launched is checked more strictly than CuPy does: an array's dtype against the kernel's parameter, contiguity,
and that nothing beside an array's ends is written; what is read there is NaN. Threads run forwards or backwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_device
import numpy as np

from tinygpt.autograd import OPS
from tinygpt.engine.dispatch import Twin, twins_of
from tinygpt.backend import register_backend
from tinygpt.kernels import cuda

__all__ = ["AVAILABLE", "HostModule", "launched", "on_the_pretend_device", "order"]

COMPILER = shutil.which("g++")
AVAILABLE = COMPILER is not None and sys.platform.startswith("linux")
PARAMETERS = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')
GUARD = 64  # bytes beside each array
ELEMENTS = {"float": np.dtype(np.float32), "double": np.dtype(np.float64)}

launched: list[str] = []  # the names of the kernels that have run
order = {"backwards": False}


@contextlib.contextmanager
def on_the_pretend_device(kernels: bool = True) -> Iterator[None]:
    """Inside the block the CUDA twins serve the pretend device, with `kernels` that run on the host or without."""
    register_backend(dataclasses.replace(fake_device.BACKEND, raw_module=HostModule))
    before = {operation: list(twins_of(operation)) for operation in OPS.values()}
    for operation, twins in before.items():
        twins_of(operation)[:] = [Twin(twin.function, "fake") for twin in twins if twin.device == "cuda"] + twins
    launched.clear()
    try:
        with cuda.switch(kernels):
            yield
    finally:
        register_backend(fake_device.BACKEND)
        for operation, twins in before.items():
            twins_of(operation)[:] = twins


def signatures(source: str) -> dict[str, list[str]]:
    """Kernel -> the types of its parameters."""
    return {name: [" ".join(p.split()[:-1]) for p in parameters.split(",")]
            for name, parameters in PARAMETERS.findall(source)}


@functools.cache
def build(source: str, element: str) -> ctypes.CDLL:
    """The shared library of the kernels for one element type."""
    calls = []
    for name, types in signatures(source).items():
        values = ", ".join(f"*({kind}*)a[{i}]" for i, kind in enumerate(types))
        calls.append(f'extern "C" const char* run_{name}(const unsigned* grid, unsigned threads, int backwards,'
                     f" void** a) {{ body = [=] {{ {name}({values}); }}; return run_grid(grid, threads, backwards); }}")
    with tempfile.TemporaryDirectory() as folder:
        header = Path(__file__).with_suffix(".h").read_text(encoding="utf-8")
        path = Path(folder) / "kernels.cpp"
        path.write_text("\n".join([header, source, *calls]), encoding="utf-8")
        library = path.with_suffix(".so")
        subprocess.run([COMPILER, "-std=c++17", "-O2", "-U_FORTIFY_SOURCE", "-ffp-contract=off", "-shared", "-fPIC",
                        "-Wl,-z,now", f"-DELEMENT={element}", "-o", library, path], check=True, timeout=120)
        return ctypes.CDLL(str(library))


class HostModule:
    """`cupy.RawModule(code=…, options=("-DELEMENT=…",))`."""

    def __init__(self, source: str, options: tuple[str, ...]) -> None:
        self.element = next(o.removeprefix("-DELEMENT=") for o in options if o.startswith("-DELEMENT="))
        self.types, self.library = signatures(source), build(source, self.element)

    def get_function(self, name: str) -> Any:
        return functools.partial(self._run, name, self.types[name], getattr(self.library, f"run_{name}"))

    def _dtype(self, kind: str) -> np.dtype:
        named = {"long long": np.int64, "unsigned char": np.bool_, "double": np.float64,
                 "ELEMENT": ELEMENTS.get(self.element, np.uint16),
                 "Wide": ELEMENTS.get(self.element, np.float32)}
        return np.dtype(named[kind])

    def _run(self, name: str, types: list[str], function: Any, grid: tuple, block: tuple, args: tuple) -> None:
        assert len(args) == len(types), f"{name} takes {len(types)} arguments, got {len(args)}"
        buffers: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        values = []
        for i, (kind, x) in enumerate(zip(types, args)):
            if not kind.endswith("*"):
                assert type(x) is self._dtype(kind).type, f"{name}: argument {i} is {type(x)}, expected {kind}"
                values.append(x.tobytes())
                continue
            if type(x) is np.uint64 and x == 0:  # a null pointer
                values.append(x.tobytes())
                continue
            assert isinstance(x, fake_device.FakeArray), f"{name}: argument {i} is {type(x)}, expected an array"
            host = fake_device._unwrap(x)
            dtype = self._dtype(kind.removeprefix("const ").removesuffix("*"))
            assert host.dtype.itemsize == dtype.itemsize and (host.dtype == dtype or host.dtype.name == "bfloat16"), (
                f"{name}: argument {i} is {host.dtype}, expected {kind}")
            assert host.flags.c_contiguous, f"{name}: argument {i} is not contiguous"
            start = host.ctypes.data
            if start not in buffers:
                guarded = np.full(host.nbytes + 2 * GUARD, 0xff, np.uint8)
                guarded[GUARD:GUARD + host.nbytes] = np.frombuffer(host.tobytes(), np.uint8)
                buffers[start] = guarded, host
            assert buffers[start][1].nbytes == host.nbytes
            values.append(np.uint64(buffers[start][0].ctypes.data + GUARD).tobytes())
        storage = ctypes.create_string_buffer(b"".join(values))
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(storage) + 8 * i for i in range(len(values))))
        assert len(grid) <= 3 and len(block) == 1 and all(type(n) is int and n > 0 for n in (*grid, *block))
        assert grid[0] < 2**31 and all(n < 2**16 for n in grid[1:]), f"{name}: a grid of {grid}"
        function.restype = ctypes.c_char_p
        sizes = (ctypes.c_uint * 3)(*grid, *[1] * (3 - len(grid)))
        error = function(sizes, block[0], int(order["backwards"]), pointers)
        assert error is None, f"{name}: {error.decode()}"
        for guarded, host in buffers.values():
            assert (guarded[:GUARD] == 0xff).all() and (guarded[GUARD + host.nbytes:] == 0xff).all(), (
                f"{name} writes beside an array")
            ctypes.memmove(host.ctypes.data, guarded.ctypes.data + GUARD, host.nbytes)
        launched.append(name)
