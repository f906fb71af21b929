"""Recurrent layers beside PyTorch's on the CPU: forward and backward of a whole sequence, in turns.

    python examples/benchmarks/recurrent.py --json                       # C 128, T 64, batch 12; a quarter of a minute
    python examples/benchmarks/recurrent.py --kinds LSTM --batch 32

Both sides have the same weights and the same input, take turns, and use one thread each, so that whatever else the
machine does hits both alike. `ratio` is PyTorch's time over ours, the median of all turns: above 0.5, a layer here
takes less than twice as long.

Prerequisites: measuring.py.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

KINDS = ("RNN", "LSTM", "GRU")


def tinygpt_side(kind: str, width: int, x: np.ndarray, g: np.ndarray) -> tuple[Callable[[], np.ndarray], Any]:
    """A pass of ours, which gives the gradient of the input; and the layer."""
    import tinygpt as tg
    layer = getattr(tg.nn, kind)(width, width)

    def run() -> np.ndarray:
        for parameter in layer.parameters():
            parameter.grad = None
        read = tg.Tensor(x, requires_grad=True)
        layer(read)[0].backward(g)
        return np.asarray(read.grad)
    return run, layer


def torch_side(kind: str, width: int, x: np.ndarray, g: np.ndarray,
               weights: dict[str, Any]) -> Callable[[], np.ndarray]:
    """The same by PyTorch."""
    import torch
    torch.set_num_threads(1)
    layer = getattr(torch.nn, kind)(width, width, batch_first=True)
    layer.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    cotangent = torch.tensor(g)

    def run() -> np.ndarray:
        layer.zero_grad()
        read = torch.tensor(x, requires_grad=True)
        layer(read)[0].backward(cotangent)
        assert read.grad is not None
        return np.asarray(read.grad.numpy())
    return run


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure; returns, for each kind, milliseconds of both sides and the ratio."""
    parser = argparse.ArgumentParser(description="Recurrent layers beside PyTorch's.")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--width", type=int, default=128, help="C, channels in and of the state [%(default)s]")
    parser.add_argument("--length", type=int, default=64, help="T, tokens [%(default)s]")
    parser.add_argument("--batch", type=int, default=12, help="sequences [%(default)s]")
    parser.add_argument("--turns", type=int, default=20, help="how often each side runs [%(default)s]")
    parser.add_argument("--alone", action="store_true", help="tinygpt alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args(argv)
    rng, found = np.random.default_rng(0), dict[str, Any]()
    x, g = rng.standard_normal((2, args.batch, args.length, args.width), dtype=np.float32)
    for kind in args.kinds:
        ours, layer = tinygpt_side(kind, args.width, x, g)
        sides = {"tinygpt_ms": ours}
        if not args.alone:
            sides["torch_ms"] = torch_side(kind, args.width, x, g, layer.state_dict())
            apart = float(np.abs(sides["torch_ms"]() - ours()).max())
            assert apart < 1e-4, f"{kind}: the gradients are {apart} apart"
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(args.turns):
            for name, run in sides.items():
                start = time.perf_counter()
                run()
                times[name].append(1000 * (time.perf_counter() - start))
        row = {name: float(np.median(each)) for name, each in times.items()}
        if not args.alone:
            row["ratio"] = float(np.median(np.array(times["torch_ms"]) / np.array(times["tinygpt_ms"])))
        found[kind] = row
        print(kind, ", ".join(f"{name} {value:.2f}" for name, value in row.items()))
    if args.json:
        print(json.dumps(found))
    return found


if __name__ == "__main__":
    main()
