"""What an operation costs when there is nothing to compute: the engine's own time, beside PyTorch's.

    python examples/benchmark_overhead.py

A chain of 1,000 operations on Tensors of one element, forward and backward; then what `import tinygpt` adds to
importing NumPy and regex. Ten seconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygpt as tg
from benchmark_sides import has_torch

LENGTH = 1000


def tinygpt_chain() -> float:
    """x ← x · a + b, LENGTH operations in all, and its derivative."""
    a, b = tg.Tensor(np.array([1.0001], np.float32)), tg.Tensor(np.array([0.0001], np.float32))
    x = leaf = tg.Tensor(np.array([0.5], np.float32), requires_grad=True)
    for _ in range(LENGTH // 2):
        x = x * a + b
    x.backward()
    assert leaf.grad is not None
    return float(leaf.grad[0])


def torch_chain() -> float:
    """The same in PyTorch."""
    import torch
    a, b = torch.tensor([1.0001]), torch.tensor([0.0001])
    x = leaf = torch.tensor([0.5], requires_grad=True)
    for _ in range(LENGTH // 2):
        x = x * a + b
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
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line, last")
    options = parser.parse_args()
    chains = {"tinygpt": tinygpt_chain}
    if has_torch():
        chains["torch"] = torch_chain
    gradients = {name: chain() for name, chain in chains.items()}  # warms up
    times: dict[str, list[float]] = {name: [] for name in chains}
    for _ in range(options.runs):
        for name, chain in chains.items():
            times[name].append(seconds(chain))
    result: dict[str, Any] = {f"{name}_us_per_operation": round(float(np.median(t)) / LENGTH * 1e6, 3)
                              for name, t in times.items()}
    if len(chains) == 2:
        result["ratio"] = round(result["tinygpt_us_per_operation"] / result["torch_us_per_operation"], 2)
        result["gradients_agree"] = abs(gradients["tinygpt"] / gradients["torch"] - 1) < 1e-5
    import_runs = min(5, options.runs)
    result["import_ms_over_numpy_and_regex"] = round(
        1e3 * (import_seconds("import numpy, regex, tinygpt", import_runs)
               - import_seconds("import numpy, regex", import_runs)), 1)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:34}{value}")


if __name__ == "__main__":
    main()
