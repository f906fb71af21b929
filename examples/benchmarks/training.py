"""One training step, tinygpt beside PyTorch: forward, backward, clipping, AdamW, on the CPU.

    python examples/benchmarks/training.py --shape char            about half a minute
    python examples/benchmarks/training.py --shape gpt2 --json     some minutes, and 4 GB for each side
    python examples/benchmarks/training.py --shape char --loss dpo     as many pairs of answers as there are sequences

Each side runs in a process of its own, from the same weights and on the same batches of random tokens. The sides take
turns, step by step, so that whatever else the machine does hits both alike; medians are compared, and less than 5 % is
a tie. `ratio` is that of steps a second, tinygpt's by PyTorch's. PyTorch is eager, with its fused AdamW and
`scaled_dot_product_attention`. `--tuned` adds a second PyTorch whose allocator keeps freed memory, `--compile` one
under torch.compile, `--rules` tinygpt without its fast twins, `--replicas` tinygpt with its replicas in threads and in
processes, whichever it takes by itself; `--alone` leaves PyTorch out. To compare two checkouts of tinygpt, see
pairs.py.

`--device cuda` compares on a GPU instead: see gpu.py.
`--profile` prints instead where tinygpt's step goes, operation by operation, beside the least it could take.

Prerequisites: sides.py. Next: breakdown.py, gpu.py, decoding.py, pairs.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from measuring import LOSSES, SHAPES, busy_seconds, cpu_seconds, has_torch

SIDES = ("tinygpt", "tinygpt_threads", "tinygpt_processes", "rules", "torch", "torch_tuned", "torch_compiled")
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(64 << 20)}


class Side:
    """A side of the comparison: a process that answers each line `step N` with its milliseconds and its loss."""

    def __init__(self, name: str, options: argparse.Namespace, folder: str) -> None:
        self.name, self.times, self.losses = name, [], []  # type: ignore[var-annotated]
        environment = dict(os.environ, **(TUNED if name == "torch_tuned" else {}))
        environment["TINYGPT_KERNELS"] = "off" if name == "rules" else "on"
        command = [sys.executable, str(Path(__file__).with_name("sides.py")), name.partition("_")[0],
                   "--shape", options.shape, "--loss", options.loss, "--threads", str(options.threads),
                   "--weights", f"{folder}/weights.npz"]
        if name == "torch_compiled":
            command.append("--compile")
        if name.startswith("tinygpt_"):
            command += ["--replicas", name.removeprefix("tinygpt_")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        encoding="utf-8", env=environment)
        self.ready = self._answer()

    def ask(self, line: str) -> dict[str, Any]:
        """Send one line, wait for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer()

    def step(self, number: int, counts: bool) -> None:
        answer = self.ask(f"step {number}")
        self.losses.append(answer["loss"])
        if counts:
            self.times.append(answer["ms"])

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the process ended with code {self.process.wait()}; see its message above")
        return json.loads(line)


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Run all sides step by step; their medians, spreads, ratios and memory."""
    names = ["tinygpt"] + ["tinygpt_threads", "tinygpt_processes"] * options.replicas + ["rules"] * options.rules
    if has_torch() and not options.alone:
        names += ["torch"] + ["torch_tuned"] * options.tuned + ["torch_compiled"] * options.compile
    steps = options.steps or {"tiny": 60, "char": 60, "baby": 10, "gpt2": 5}[options.shape]
    before, started, own = busy_seconds(), time.perf_counter(), cpu_seconds()
    with tempfile.TemporaryDirectory() as folder:
        sides = [Side(name, options, folder) for name in names]  # the first writes the weights, the others read them
        try:
            for number in range(options.warmup + steps):
                for side in sides if number % 2 == 0 else sides[::-1]:
                    side.step(number, number >= options.warmup)
            ends = [side.ask("end") for side in sides]
            after, elapsed = busy_seconds(), time.perf_counter() - started
        finally:
            for side in sides:
                side.process.kill()
                side.process.wait()
    result: dict[str, Any] = {"shape": options.shape, "loss": options.loss, "threads": options.threads, "steps": steps}
    if before is not None and after is not None:
        own = cpu_seconds() - own + sum(end["cpu_seconds"] for end in ends)
        result["cores_used_by_others"] = round(max(0.0, after - before - own) / elapsed, 2)
    for side, end in zip(sides, ends):
        result[f"{side.name}_ms"] = round(float(np.median(side.times)), 2)
        low, high = np.percentile(side.times, [25, 75])
        result[f"{side.name}_quartiles_ms"] = [round(float(low), 2), round(float(high), 2)]
        result[f"{side.name}_peak_mb"] = round(end["peak_mb"])
        result[f"{side.name}_imports_mb"] = round(side.ready["imports_mb"])
        if side.name != "tinygpt":
            ratio = result[f"{side.name}_ms"] / result["tinygpt_ms"]
            result["ratio" if side.name == "torch" else f"{side.name}_ratio"] = round(ratio, 3)
            worst = max(abs(a - b) / abs(b) for a, b in zip(sides[0].losses, side.losses))
            result[f"{side.name}_loss_difference"] = float(f"{worst:.1e}")
    return result


def print_table(result: dict[str, Any]) -> None:
    """The result for people."""
    shape = SHAPES[result["shape"]]
    print(f"{result['shape']}, {result['loss']}: {shape}, {result['threads']} threads, median of {result['steps']} "
          "steps")
    print(f"{'':16}{'ms a step':>11}{'quartiles':>20}{'against tinygpt':>17}{'peak MB':>9}{'imports MB':>12}"
          f"{'loss off by':>13}")
    for name in SIDES:
        if f"{name}_ms" not in result:
            continue
        ratio = 1.0 if name == "tinygpt" else result.get("ratio" if name == "torch" else f"{name}_ratio")
        low, high = result[f"{name}_quartiles_ms"]
        print(f"{name:16}{result[f'{name}_ms']:>11.1f}{f'{low:.1f} … {high:.1f}':>20}{ratio:>16.2f}x"
              f"{result[f'{name}_peak_mb']:>9}{result[f'{name}_imports_mb']:>12}"
              f"{result.get(f'{name}_loss_difference', 0.0):>13.0e}")
    if result.get("cores_used_by_others", 0.0) > 0.1:
        print(f"other processes used {result['cores_used_by_others']} cores meanwhile: on a quiet machine the figures "
              "may be others")


def main() -> None:
    """Parse the options, compare or profile, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=tuple(SHAPES), default="char")
    parser.add_argument("--loss", choices=tuple(LOSSES), default="language",
                        help="of the next token, or dpo: of pairs of answers, with the reference's log-probabilities "
                             "at hand")
    parser.add_argument("--steps", type=int, help="measured steps (default: 60, 10 or 5)")
    parser.add_argument("--warmup", type=int, default=3, help="steps before the clock counts")
    parser.add_argument("--threads", type=int, default=2, help="tinygpt's replicas and PyTorch's threads")
    parser.add_argument("--alone", action="store_true", help="tinygpt without PyTorch beside it")
    parser.add_argument("--rules", action="store_true", help="also tinygpt without its fast twins")
    parser.add_argument("--replicas", action="store_true", help="also replicas in threads, and in processes")
    parser.add_argument("--tuned", action="store_true", help="also PyTorch with an allocator that keeps freed memory")
    parser.add_argument("--compile", action="store_true", help="also PyTorch under torch.compile")
    parser.add_argument("--profile", action="store_true", help="where tinygpt's step goes, against its floor")
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line, last")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda or cuda:N; see gpu.py")
    parser.add_argument("--fused", action="store_true", help="with --device cuda: tinygpt's fused kernels")
    parser.add_argument("--tf32", action="store_true", help="with --device cuda: TF32 products, on both sides")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32",
                        help="with --device cuda: bfloat16 is mixed precision, PyTorch's under autocast")
    options = parser.parse_args()
    if options.loss != "language" and (options.device != "cpu" or options.profile):
        parser.error(f"--loss {options.loss} is compared on the CPU alone; leave out --device and --profile")
    if options.device != "cpu":
        import gpu
        result = gpu.compare(options)
        if options.json:
            print(json.dumps(result))
        else:
            gpu.print_table(result)
        return
    if options.profile:
        import breakdown
        breakdown.profile(options.shape, options.steps or 5)
        return
    result = compare(options)
    if options.json:
        print(json.dumps(result))
    else:
        print_table(result)


if __name__ == "__main__":
    main()
