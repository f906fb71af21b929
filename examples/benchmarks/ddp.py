"""One training step on several processes: tinygpt's ranks under mpiexec beside PyTorch's DDP over gloo, on the CPU.

    python examples/benchmarks/ddp.py --shape char                 about half a minute
    python examples/benchmarks/ddp.py --shape baby --json

Both sides have as many processes, of one thread each, the same weights, and the same batches, of which each process
takes its rows. The sides take turns, step by step, so that whatever else the machine does hits both alike; medians are
compared. Their losses must agree to 1e-5, or this ends with exit code 1. PyTorch is eager, with its fused AdamW; each
of its processes has all moments, and DDP sends gradients while backward goes on. It needs PyTorch, mpi4py and mpiexec.

Prerequisites: sides.py, training.py, docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from measuring import SHAPES, batch, has_torch
from sides import tinygpt_step, torch_step
from training import Side

AGREE = 1e-5  # losses of two libraries, in float32


class Ranks(Side):
    """A side: the first of several processes answers each line `step N`, and the others follow it."""

    def __init__(self, name: str, options: argparse.Namespace, folder: str, mpiexec: str) -> None:
        self.name, self.times, self.losses = name, [], []
        worker = [sys.executable, __file__, "--side", name, "--shape", options.shape, "--ranks", str(options.ranks),
                  "--folder", folder]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process, self.others = self._start([mpiexec, "-n", str(options.ranks), *worker] if name == "tinygpt" else
                                                [*worker, "--rank", "0"], environment), []
        if name == "torch":
            self.others = [self._start([*worker, "--rank", str(rank)], environment)
                           for rank in range(1, options.ranks)]
        self.ready = self._answer()

    @staticmethod
    def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
                                env=environment)

    def end(self) -> None:
        """End the processes, which end by themselves when their input does."""
        for process in (self.process, *self.others):
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def serve_tinygpt(options: argparse.Namespace) -> None:
    """One rank of tinygpt: the first one reads the lines and answers."""
    from tinygpt.ranks import together
    group, shape = together(), SHAPES[options.shape]
    weights = Path(options.folder, "weights.npz")
    step = tinygpt_step(shape, 1, weights if group.rank == 0 else None, group=group)
    if group.rank == 0:
        print(json.dumps({"ranks": group.size}), flush=True)
    while number := group.broadcast(sys.stdin.readline() if group.rank == 0 else None):
        answer(step, shape, int(number.split()[1]), group.rank == 0)
    group.collect(None)


def serve_torch(options: argparse.Namespace) -> None:
    """One process of PyTorch's; all read the same lines from a pipe of their own, through the first one."""
    import torch.distributed as dist
    dist.init_process_group("gloo", init_method=f"file://{options.folder}/meeting", rank=options.rank,
                            world_size=options.ranks)
    shape = SHAPES[options.shape]
    step = torch_step(shape, 1, Path(options.folder, "weights.npz"), compiled=False, distributed=True)
    if options.rank == 0:
        print(json.dumps({"ranks": dist.get_world_size()}), flush=True)
    while True:
        line = [sys.stdin.readline() if options.rank == 0 else None]
        dist.broadcast_object_list(line)
        if not line[0]:
            break
        answer(step, shape, int(line[0].split()[1]), options.rank == 0)
    dist.destroy_process_group()


def answer(step: Any, shape: dict[str, int], number: int, first: bool) -> None:
    """Make a step; the first process tells how long it took."""
    given = batch(shape, number)
    start = time.perf_counter()
    loss = step(given)
    if first:
        print(json.dumps({"ms": (time.perf_counter() - start) * 1e3, "loss": float(loss)}), flush=True)


def compare(options: argparse.Namespace, mpiexec: str) -> dict[str, Any]:
    """Run both sides step by step; their medians, quartiles and the difference of their losses."""
    steps = options.steps or {"tiny": 30, "char": 60, "baby": 10, "gpt2": 5}[options.shape]
    result: dict[str, Any] = {"shape": options.shape, "ranks": options.ranks, "steps": steps}
    with tempfile.TemporaryDirectory() as folder:
        sides: list[Ranks] = []
        try:
            sides += [Ranks(name, options, folder, mpiexec) for name in ("tinygpt", "torch")]  # the first: the weights
            for number in range(options.warmup + steps):
                for side in sides if number % 2 == 0 else sides[::-1]:
                    side.step(number, number >= options.warmup)
        finally:
            for side in sides:
                side.end()
    for side in sides:
        low, high = np.percentile(side.times, [25, 75])
        result[f"{side.name}_ms"] = round(float(np.median(side.times)), 2)
        result[f"{side.name}_quartiles_ms"] = [round(float(low), 2), round(float(high), 2)]
    result["ratio"] = round(result["torch_ms"] / result["tinygpt_ms"], 3)
    result["loss_difference"] = float(f"{max(abs(a - b) for a, b in zip(*(side.losses for side in sides))):.1e}")
    return result


def main() -> None:
    """Parse the options, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=tuple(SHAPES), default="char")
    parser.add_argument("--ranks", type=int, default=2, help="processes of each side; the batch is divided by them")
    parser.add_argument("--steps", type=int, help="measured steps (default: 60, 10 or 5)")
    parser.add_argument("--warmup", type=int, default=3, help="steps before the clock counts")
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line, last")
    for name, kind in ("side", str), ("folder", str), ("rank", int):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        return serve_tinygpt(options) if options.side == "tinygpt" else serve_torch(options)
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if mpiexec is None or not has_torch():
        raise SystemExit("this compares mpiexec with PyTorch: pip install mpi4py mpich torch")
    if SHAPES[options.shape]["B"] % options.ranks:
        raise SystemExit(f"--ranks must divide the batch of {SHAPES[options.shape]['B']}, got {options.ranks}")
    result = compare(options, mpiexec)
    if options.json:
        print(json.dumps(result))
    else:
        print(f"{options.shape}: {SHAPES[options.shape]}, {options.ranks} processes, {result['steps']} steps")
        for name in ("tinygpt", "torch"):
            low, high = result[f"{name}_quartiles_ms"]
            print(f"{name:8}{result[f'{name}_ms']:>10.1f} ms a step   quartiles {low:.1f} … {high:.1f}")
        print(f"PyTorch's step takes {result['ratio']:.2f} times as long; "
              f"losses differ by {result['loss_difference']:g}")
    if not result["loss_difference"] < AGREE:
        raise SystemExit(f"the losses differ by {result['loss_difference']:g}, more than {AGREE:g}")


if __name__ == "__main__":
    main()
