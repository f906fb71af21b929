"""Tokens a second beside processes that spin: BLAS with one thread, with all, and with the number that is chosen.

    python examples/benchmarks/busy.py                                   two minutes
    python examples/benchmarks/busy.py --layers 2 --channels 64 --seconds 0.5     to try it

A GPT (12 layers of 576 channels) decodes greedily. Beside it there are no, one, two, and again no processes that do
nothing but count, `--seconds` for each phase. The three ways are processes of their own and take turns of
`--seconds / 5`, so that all of them meet the same load, also from whatever else the machine does; the one that chooses
keeps what it has learnt between its turns. What counts is the last column: tokens of the way that chooses over those of
the better of the other two.

Prerequisites: decoding.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

from measuring import has_torch

WAYS = ("one", "all", "chosen")
LOADS = (0, 1, 2, 0)


def serve(way: str, layers: int, channels: int) -> None:
    """One way: answers each line, a number of seconds, with how many tokens it has written in them."""
    from tinygpt.blas import blas_threads
    from tinygpt.models import GPT, GPTConfig

    model = GPT(GPTConfig(vocab_size=4096, block_size=256, n_layer=layers, n_head=channels // 64, n_embd=channels))
    model.eval()
    from threadpoolctl import threadpool_info
    most = max([info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"], default=1)
    with blas_threads({"one": 1, "all": most, "chosen": None}[way]):
        print(flush=True)
        for line in sys.stdin:
            n, end = 0, time.perf_counter() + float(line)
            start = time.perf_counter()
            while time.perf_counter() < end:
                for _ in model.stream(np.zeros((1, 16), dtype=np.int64), 128, temperature=0.0, eos_token_id=None):
                    n += 1
                    if time.perf_counter() >= end:
                        break
            print(json.dumps([n, time.perf_counter() - start]), flush=True)


def torch_side(layers: int, channels: int) -> None:
    """The same with transformers and as many threads as PyTorch chooses."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=4096, n_positions=256, n_layer=layers, n_head=channels // 64,
                                       n_embd=channels)).eval()
    print(flush=True)
    for line in sys.stdin:
        n, start = 0, time.perf_counter()
        with torch.no_grad():
            while time.perf_counter() < start + float(line):
                model.generate(torch.zeros((1, 16), dtype=torch.int64), max_new_tokens=8, min_new_tokens=8,
                               do_sample=False, pad_token_id=0, attention_mask=torch.ones((1, 16), dtype=torch.int64))
                n += 8
        print(json.dumps([n, time.perf_counter() - start]), flush=True)


@contextlib.contextmanager
def spinning(n: int) -> Iterator[None]:
    """n processes that spin."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def compare(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Tokens a second of each way, in each phase; a line for each as it ends."""
    names = [*WAYS, *(["transformers"] if has_torch() and options.transformers else [])]
    sides = {name: subprocess.Popen(
        [sys.executable, __file__, "--serve", name, "--layers", str(options.layers), "--channels",
         str(options.channels)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in names}
    found: dict[str, dict[str, float]] = {}
    try:
        for side in sides.values():
            assert side.stdout is not None and side.stdout.readline(), "a side did not start; its message is above"
        for place, load in enumerate(LOADS):
            done = {name: np.zeros(2) for name in names}
            with spinning(load):
                for turn in range(5):
                    for name in names if turn % 2 else names[::-1]:
                        process = sides[name]
                        assert process.stdin is not None and process.stdout is not None
                        process.stdin.write(f"{options.seconds / 5}\n")
                        process.stdin.flush()
                        done[name] += json.loads(process.stdout.readline())
            rates = {name: float(n / seconds) for name, (n, seconds) in done.items()}
            phase = f"{place + 1}: {load} beside"
            found[phase] = rates | {"share": rates["chosen"] / max(rates["one"], rates["all"])}
            print(f"{phase:14}" + "".join(f"  {name} {value:8.2f}" for name, value in found[phase].items()), flush=True)
    finally:
        for side in sides.values():
            side.kill()
            side.wait()
    return found


def main() -> None:
    """Parse the options; serve, or compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--channels", type=int, default=576, help="a multiple of 64")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each way in each phase")
    parser.add_argument("--transformers", action="store_true", help="and transformers on PyTorch, where it is there")
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line, last")
    parser.add_argument("--serve", choices=(*WAYS, "transformers"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve == "transformers":
        torch_side(options.layers, options.channels)
    elif options.serve:
        serve(options.serve, options.layers, options.channels)
    else:
        found = compare(options)
        if options.json:
            print(json.dumps(found))


if __name__ == "__main__":
    main()
