"""What an operation costs when there is nothing to compute: the engine's own time, beside PyTorch's.

    python examples/benchmarks/overhead.py

Chains of 1,000 operations on Tensors of one element, forward and backward; then what `import tinygpt` adds to
importing NumPy and regex. Half a minute. `--alone` leaves PyTorch out.

Prerequisites: measuring.py. Next: tokenizer.py.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygpt as tg
from measuring import has_torch

LENGTH = 1000

Chain = Callable[[Any, Any, Any, Callable], Any]  # (x, a, b, exp) -> x after the operations of one round

CHAINS: dict[str, tuple[int, Chain]] = {  # operations in a round, and the round
    "multiply, add": (2, lambda x, a, b, exp: x * a + b),
    "tanh": (1, lambda x, a, b, exp: x.tanh()),
    "sigmoid": (1, lambda x, a, b, exp: x.sigmoid()),
    "relu, negate, exp, subtract": (4, lambda x, a, b, exp: a - exp(-(x.relu()))),
    "multiply, add, tanh, subtract, sigmoid": (5, lambda x, a, b, exp: ((x * a + b).tanh() - b).sigmoid()),
}


def tinygpt_chain(name: str) -> float:
    """A chain of LENGTH operations on a Tensor of one element, and its derivative."""
    n, chain = CHAINS[name]
    a, b = tg.Tensor(np.array([1.0001], np.float32)), tg.Tensor(np.array([0.0001], np.float32))
    x = leaf = tg.Tensor(np.array([0.5], np.float32), requires_grad=True)
    for _ in range(LENGTH // n):
        x = chain(x, a, b, tg.ops.exp)
    x.backward()
    assert leaf.grad is not None
    return float(leaf.grad[0])


def torch_chain(name: str) -> float:
    """The same in PyTorch."""
    import torch
    n, chain = CHAINS[name]
    a, b = torch.tensor([1.0001]), torch.tensor([0.0001])
    x = leaf = torch.tensor([0.5], requires_grad=True)
    for _ in range(LENGTH // n):
        x = chain(x, a, b, torch.exp)
    x.backward()
    return leaf.grad.item()  # type: ignore[union-attr]


def seconds(function: Callable[[], float]) -> float:
    """The time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def import_seconds(statement: str, runs: int) -> float:
    """The fastest of some fresh interpreters that run `statement`, timed inside."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    return min(float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
               for _ in range(runs))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--alone", action="store_true", help="tinygpt without PyTorch beside it")
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line, last")
    options = parser.parse_args()
    sides = {"tinygpt": tinygpt_chain} | ({"torch": torch_chain} if has_torch() and not options.alone else {})
    result: dict[str, Any] = {"chains": {}}
    for name in CHAINS:
        gradients = {side: chain(name) for side, chain in sides.items()}  # warms up
        times: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(options.runs):
            for side, chain in sides.items():
                times[side].append(seconds(lambda: chain(name)))
        row = {f"{side}_us_per_operation": round(float(np.median(t)) / LENGTH * 1e6, 3) for side, t in times.items()}
        if len(sides) == 2:
            row["ratio"] = round(row["tinygpt_us_per_operation"] / row["torch_us_per_operation"], 2)
            row["gradients_agree"] = bool(np.isclose(gradients["tinygpt"], gradients["torch"], rtol=1e-3, atol=1e-30))
        result["chains"][name] = row
    result |= result["chains"]["multiply, add"]  # the chain that others are compared with
    import_runs = min(5, options.runs)
    result["import_ms_over_numpy_and_regex"] = round(
        1e3 * (import_seconds("import numpy, regex, tinygpt", import_runs)
               - import_seconds("import numpy, regex", import_runs)), 1)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{'':42}{'tinygpt':>9}{'PyTorch':>9}{'ratio':>7}   microseconds an operation, forward and backward")
    for name, row in result["chains"].items():
        print(f"{name:42}{row['tinygpt_us_per_operation']:>9.2f}{row.get('torch_us_per_operation', math.nan):>9.2f}"
              f"{row.get('ratio', math.nan):>7.2f}")
    print(f"import tinygpt, over numpy and regex: {result['import_ms_over_numpy_and_regex']} ms")


if __name__ == "__main__":
    main()
