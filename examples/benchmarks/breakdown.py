"""Where a training step of tinygpt goes: `python examples/benchmarks/training.py --shape char --profile`.

One replica, one BLAS thread. Each operation's time, forward and backward, stands beside the least it could take: its
matrix products at the rate that this machine's BLAS reaches on large ones, or, where it has none, one pass over its
output at the rate of a copy. What lies between is what could still be gained.

Prerequisites: sides.py, training.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygpt.autograd.operation import Engine, Operation
from tinygpt.engine.deferred import Deferred
from measuring import SHAPES, batch
from sides import tinygpt_step

__all__ = ["profile"]

GEMMS = ("linear", "linear_activation", "linear_cross_entropy", "matmul", "scaled_dot_product_attention")


def best(function: Callable[[], Any], runs: int = 7) -> float:
    """Seconds of the fastest call."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def machine() -> tuple[float, float]:
    """Multiplications and additions a second of a large matrix product; bytes a second of a copy, read and written."""
    a, b, c = (np.ones((1024, 1024), dtype=np.float32) for _ in range(3))
    source, target = np.ones(1 << 25, dtype=np.float32), np.empty(1 << 25, dtype=np.float32)
    return (2 * 1024**3 / best(lambda: np.matmul(a, b, out=c)),
            2 * source.nbytes / best(lambda: np.copyto(target, source)))


def products(name: str, arrays: list[Any]) -> int:
    """Floating-point operations of an operation's matrix products, forward."""
    if name == "scaled_dot_product_attention":
        q, k = arrays[:2]
        return 2 * q.size * k.shape[-2]  # two products over half of the (T, S) scores each: causal
    if name == "matmul":
        return 2 * arrays[0].size * arrays[1].shape[-1]
    return 2 * arrays[0].size * arrays[1].shape[0]


class Watch(Engine):
    """An engine that takes the time of every operation, and leaves the work to the engine that was there before.

    Args:
        engine: the one that does the work.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self.node = engine, engine.node
        self.seconds: Counter[str] = Counter()
        self.flops: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def run(self, operation: Operation, arrays: Any, settings: dict[str, Any], recorded: bool) -> Any:
        """Output and closure; the closure's time is taken too."""
        start = time.perf_counter()
        out, backward = self.engine.run(operation, arrays, settings, recorded)
        self.seconds[f"{operation.name} forward"] += time.perf_counter() - start
        if operation.name in GEMMS:
            self.flops[f"{operation.name} forward"] += products(operation.name, list(arrays))
            self.flops[f"{operation.name} backward"] += 2 * products(operation.name, list(arrays))
        size = sum(o.nbytes for o in out) if isinstance(out, tuple) else out.nbytes
        for way in ("forward", "backward"):
            self.bytes[f"{operation.name} {way}"] += 2 * size
        return out, lambda g: self._backward(operation.name, backward, g)

    def _backward(self, name: str, backward: Callable, g: Any) -> Any:
        start = time.perf_counter()
        gradients = [self._later(name, dx) if callable(dx) else dx for dx in backward(g)]
        self.seconds[f"{name} backward"] += time.perf_counter() - start
        return gradients

    def _later(self, name: str, dx: Any) -> Any:
        """A gradient that is computed when it is wanted: its time counts then, as its operation's."""
        def timed(function: Callable, *arguments: Any) -> Any:
            start = time.perf_counter()
            array = function(*arguments)
            self.seconds[f"{name} backward"] += time.perf_counter() - start
            return array

        if isinstance(dx, Deferred):
            later = Watched()
            later.compute, later.add = (lambda: timed(dx)), (lambda *place: timed(dx.add_to, *place))
            later.part = lambda part: self._later(name, dx.rows(part))
            return later
        return lambda: timed(dx)


class Watched(Deferred):
    """A deferred gradient, its methods wrapped."""

    compute: Callable[[], Any]
    add: Callable[[Any, bool], None]
    part: Callable[[slice], Any]

    def __call__(self) -> Any:
        return self.compute()

    def add_to(self, total: Any, vacant: bool) -> None:
        self.add(total, vacant)

    def rows(self, part: slice) -> Any:
        return self.part(part)


def profile(shape_name: str, steps: int) -> None:
    """Print the table for one shape."""
    shape = SHAPES[shape_name]
    flops_per_second, bytes_per_second = machine()
    step = tinygpt_step(shape, 1, None)
    step(batch(shape, 0))
    plain = Operation.engine
    Operation.engine = watch = Watch(plain)
    try:
        start = time.perf_counter()
        for number in range(steps):
            step(batch(shape, 1 + number))
        total = (time.perf_counter() - start) / steps
    finally:
        Operation.engine = plain
    print(f"{shape_name}: {shape}, one thread; matrix products at {flops_per_second / 1e9:.0f} GFLOP/s, "
          f"copies at {bytes_per_second / 1e9:.1f} GB/s")
    print(f"{'':46}{'ms':>9}{'floor ms':>10}{'times':>7}")
    rest = total
    for name, seconds in watch.seconds.most_common():
        seconds /= steps
        rest -= seconds
        floor = (watch.flops[name] / flops_per_second or watch.bytes[name] / bytes_per_second) / steps
        if seconds > 0.002 * total:
            print(f"{name:46}{seconds * 1e3:>9.2f}{floor * 1e3:>10.2f}{seconds / floor:>7.1f}")
    gemm = sum(watch.flops.values()) / steps / flops_per_second
    print(f"{'clipping, AdamW, the engine itself':46}{rest * 1e3:>9.2f}")
    print(f"{'a whole step; its matrix products alone':46}{total * 1e3:>9.2f}{gemm * 1e3:>10.2f}{total / gemm:>7.1f}")
