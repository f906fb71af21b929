"""Compiling cuda.cu, launching its kernels, and the switch that turns them on.

The source is compiled on the device's machine when a kernel is first used, once for each element type, by CuPy, which
keeps what it compiled in ~/.cupy/kernel_cache. What a backend needs for this is its `raw_module`, and nothing else: the
tests give the pretend GPU one that compiles the same source for the host.

Prerequisites: kernels/twins.py, ../cuda.cu. Next: activation.py.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...engine.dispatch import Dispatch
from ...backend import Array, backend_of, is_bfloat16
from ..twins import accelerates

__all__ = ["ELEMENTS", "FUSED", "THREADS", "fused", "fused_kernels", "grid", "launch", "load", "row_threads", "serves",
           "switch", "switched_on"]

SOURCE = Path(__file__).parent.parent / "cuda.cu"
ELEMENTS = {"float32": "float", "float64": "double", "bfloat16": "bfloat16"}  # dtype -> what ELEMENT is
THREADS = 256  # of a block: enough to hide the way to memory, few enough that several blocks share a processor

FUSED: list[str] = []  # the operations that have fused kernels
_modules: dict[tuple[str, str], Any] = {}
_switch = {"on": os.environ.get("TINYGPT_KERNELS") == "cuda"}


def switched_on() -> bool:
    """Whether the fused kernels stand in for the rules on a GPU."""
    return _switch["on"] and Dispatch.twins_enabled


@contextlib.contextmanager
def switch(on: bool) -> Iterator[None]:
    """Use the fused kernels, or not, inside `with kernels.cuda.switch(True):`, in every thread."""
    before, _switch["on"] = _switch["on"], on
    try:
        yield
    finally:
        _switch["on"] = before


def fused_kernels() -> list[str]:
    """The operations whose fused kernels are on."""
    return sorted(set(FUSED)) if switched_on() else []


def load(backend: Any, dtype_name: str) -> Any:
    """The compiled kernels for an element type: an object with `get_function(name)`."""
    key = (backend.kind, dtype_name)
    if key not in _modules:
        source = SOURCE.read_text(encoding="utf-8")
        _modules[key] = backend.raw_module(source, ("--std=c++17", f"-DELEMENT={ELEMENTS[dtype_name]}"))
    return _modules[key]


def serves(*arrays: Array | None) -> bool:
    """True if all arrays (None aside) are on a GPU, of one element type that the kernels have, contiguous and not
    empty."""
    there = [x for x in arrays if x is not None]
    return (len({x.dtype.name for x in there}) == 1 and there[0].dtype.name in ELEMENTS
            and all(x.flags.c_contiguous and x.size for x in there) and backend_of(there[0]).raw_module is not None)


def fused(op: Callable, *, products: bool = False) -> Callable[[Callable], Callable]:
    """`accelerates(op, device="cuda")` for a function that launches kernels: asked only while they are switched on.

    With `products` it is asked for bfloat16 at all times: it has matrix products that are worth it, and looks itself
    whether it may launch kernels between them.
    """
    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        FUSED.append(op.operation.name)  # type: ignore[attr-defined]

        @functools.wraps(function)
        def twin(*arrays: Any, **settings: Any) -> Any:
            if switched_on() or (products and any(map(is_bfloat16, arrays))):
                return function(*arrays, **settings)
            return NotImplemented
        accelerates(op, device="cuda")(twin)
        return twin
    return enter


def _argument(x: Any) -> Any:
    """As the kernels take them: arrays, None (a null pointer), long long, double."""
    if x is None:
        return np.uint64(0)
    if isinstance(x, (bool, int)):
        return np.int64(x)
    return np.float64(x) if isinstance(x, float) else x


def launch(name: str, like: Array, blocks: int | tuple[int, int], threads: int, *arguments: Any) -> None:
    """Run a kernel on the current device.

    Args:
        name: the kernel's. like: an array of its element type.
        blocks: the grid. threads: of each block, a multiple of 32.
        arguments: contiguous arrays, None, integers and floats.
    """
    kernel = load(backend_of(like), like.dtype.name).get_function(name)
    kernel(blocks if isinstance(blocks, tuple) else (blocks,), (threads,), tuple(_argument(x) for x in arguments))


def grid(n: int, each: int = THREADS) -> int:
    """How many blocks of `each` elements cover n."""
    return -(-n // each)


def row_threads(width: int) -> int:
    """Threads for a row of `width` elements: a power of two, at least a warp."""
    return max(32, min(THREADS, 1 << (width - 1).bit_length()))
