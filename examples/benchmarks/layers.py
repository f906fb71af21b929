"""Recurrent layers, convolutions and pooling beside PyTorch's on the CPU: forward and backward, in turns; and memory.

    python examples/benchmarks/layers.py --json                       # C 128, T 64, batch 12; half a minute
    python examples/benchmarks/layers.py --kinds LSTM --batch 32

Both sides have the same weights and the same input, take turns, and use one thread each, so that whatever else the
machine does hits both alike. `ratio` is PyTorch's time over ours, the median of all turns: above 0.5, a layer here
takes less than twice as long. Memory is what the peak of a fresh process rises by in three passes after its first small
one; `memory` is ours over PyTorch's, below 1 where ours needs less.

Prerequisites: measuring.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from measuring import resident_mb

Run = Callable[[np.ndarray], np.ndarray]


def _recurrent(name: str) -> tuple[Any, Any]:
    return lambda nn, c, options: getattr(nn, name)(c, c, **options), lambda c, t, b: (b, t, c)


RECURRENT = ("RNN", "LSTM", "GRU")
KINDS: dict[str, tuple[Any, Any]] = {  # how the layer is made; the shape of its input, of width, length and batch
    **{name: _recurrent(name) for name in RECURRENT},
    "Conv1d": (lambda nn, c, _: nn.Conv1d(c, c, 3, padding=1), lambda c, t, b: (b, c, t)),
    "Conv2d": (lambda nn, c, _: nn.Conv2d(c // 4, c // 4, 3, padding=1), lambda c, t, b: (b, c // 4, t // 2, t // 2)),
    "MaxPool2d": (lambda nn, c, _: nn.MaxPool2d(2), lambda c, t, b: (b, c // 4, t // 2, t // 2)),
    "AvgPool2d": (lambda nn, c, _: nn.AvgPool2d(2), lambda c, t, b: (b, c // 4, t // 2, t // 2)),
}


def tinygpt_side(kind: str, width: int) -> tuple[Run, Any]:
    """A pass of ours, from an input to its gradient; and the layer. The gradient of the output is the output."""
    import tinygpt as tg
    layer = KINDS[kind][0](tg.nn, width, {})

    def run(x: np.ndarray) -> np.ndarray:
        for parameter in layer.parameters():
            parameter.grad = None
        read = tg.Tensor(x, requires_grad=True)
        out = layer(read)[0] if kind in RECURRENT else layer(read)
        out.backward(out.data)
        return np.asarray(read.grad)
    return run, layer


def torch_side(kind: str, width: int, weights: dict[str, Any] | None = None) -> Run:
    """The same by PyTorch."""
    import torch
    torch.set_num_threads(1)
    layer = KINDS[kind][0](torch.nn, width, {"batch_first": True})
    if weights is not None:
        layer.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})

    def run(x: np.ndarray) -> np.ndarray:
        layer.zero_grad()
        read = torch.tensor(x, requires_grad=True)
        out = layer(read)[0] if kind in RECURRENT else layer(read)
        out.backward(out.detach())
        assert read.grad is not None
        return np.asarray(read.grad.numpy())
    return run


def memory_mb(side: str, kind: str, args: argparse.Namespace) -> float:
    """By how many MB a fresh process grows, at its peak."""
    command = [sys.executable, __file__, "--grow", side, "--kinds", kind, "--width", str(args.width), "--length",
               str(args.length), "--batch", str(args.batch)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def grow(args: argparse.Namespace) -> None:
    """What such a process does and prints."""
    kind, = args.kinds
    run = tinygpt_side(kind, args.width)[0] if args.grow == "tinygpt" else torch_side(kind, args.width)
    shape = KINDS[kind][1]
    run(np.ones(shape(args.width, 4, 1), np.float32))
    before, x = resident_mb(peak=True), np.random.default_rng(0).standard_normal(
        shape(args.width, args.length, args.batch), dtype=np.float32)
    for _ in range(3):
        run(x)
    print(resident_mb(peak=True) - before)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure; returns, for each kind, milliseconds and MB of both sides and their ratios."""
    parser = argparse.ArgumentParser(description="Recurrent layers, convolutions and pooling beside PyTorch's.")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--width", type=int, default=128, help="C, channels in and out; of pictures a quarter of it "
                                                               "[%(default)s]")
    parser.add_argument("--length", type=int, default=64, help="T, tokens; pictures have T/2 by T/2 [%(default)s]")
    parser.add_argument("--batch", type=int, default=12, help="sequences or pictures [%(default)s]")
    parser.add_argument("--turns", type=int, default=20, help="how often each side runs [%(default)s]")
    parser.add_argument("--alone", action="store_true", help="tinygpt alone")
    parser.add_argument("--grow", choices=("tinygpt", "torch"), help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args(argv)
    if args.grow:
        grow(args)
        return {}
    rng, found = np.random.default_rng(0), dict[str, Any]()
    for kind in args.kinds:
        x = rng.standard_normal(KINDS[kind][1](args.width, args.length, args.batch), dtype=np.float32)
        ours, layer = tinygpt_side(kind, args.width)
        sides = {"tinygpt": ours}
        if not args.alone:
            sides["torch"] = torch_side(kind, args.width, layer.state_dict())
            apart = float(np.abs(sides["torch"](x) - ours(x)).max())
            assert apart < 1e-4, f"{kind}: the gradients are {apart} apart"
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(args.turns):
            for name, run in sides.items():
                start = time.perf_counter()
                run(x)
                times[name].append(1000 * (time.perf_counter() - start))
        row = {f"{name}_ms": float(np.median(each)) for name, each in times.items()}
        row |= {f"{name}_mb": memory_mb(name, kind, args) for name in sides}
        if not args.alone:
            row["ratio"] = float(np.median(np.array(times["torch"]) / np.array(times["tinygpt"])))
            row["memory"] = row["tinygpt_mb"] / max(row["torch_mb"], 1e-9)
        found[kind] = row
        print(f"{kind:10}", ", ".join(f"{name} {value:.2f}" for name, value in row.items()), flush=True)
    if args.json:
        print(json.dumps(found))
    return found


if __name__ == "__main__":
    main()
