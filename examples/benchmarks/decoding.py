"""Greedy decoding with a key-value cache: tinygpt beside transformers' `generate` on PyTorch, the same weights.

    python examples/benchmarks/decoding.py --shape char        some seconds
    python examples/benchmarks/decoding.py --shape gpt2        two minutes, 1.5 GB for each side

A prompt of 16 random tokens, batch 1, 64 new tokens; each side in a process of its own, taking turns; medians are
compared. Both write the same tokens (checked), so both have done the same work. tinygpt saves a folder in Hugging
Face's format, which transformers opens as it is. `--alone` measures tinygpt alone.

Prerequisites: sides.py. Next: overhead.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from measuring import SHAPES, has_torch, resident_mb
from sides import tinygpt_model

Generate = Callable[[np.ndarray], np.ndarray]  # prompt (1, T) -> prompt and continuation (1, T + new)


def tinygpt_side(folder: str, threads: int, new_tokens: int) -> Generate:
    """Generate with tinygpt; BLAS may use all threads, since one token is one product with every weight."""
    from threadpoolctl import threadpool_limits

    from tinygpt.models import GPT
    threadpool_limits(threads, "blas")
    model = GPT.from_pretrained(folder).eval()
    return lambda prompt: model.generate(prompt, max_new_tokens=new_tokens, temperature=0.0, eos_token_id=None)


def transformers_side(folder: str, threads: int, new_tokens: int) -> Generate:
    """Generate with transformers."""
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    settings: dict[str, Any] = dict(max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False,
                                    use_cache=True, pad_token_id=0)

    def generate(prompt: np.ndarray) -> np.ndarray:
        ids = torch.from_numpy(prompt)
        with torch.no_grad():
            return model.generate(ids, attention_mask=torch.ones_like(ids), **settings).numpy()
    return generate


def has_transformers() -> bool:
    """Whether transformers and PyTorch are installed."""
    return has_torch() and importlib.util.find_spec("transformers") is not None


def serve(side: str, folder: str, threads: int, new_tokens: int) -> None:
    """One side: answers each line, a prompt as JSON, with its seconds and its tokens."""
    generate = (tinygpt_side if side == "tinygpt" else transformers_side)(folder, threads, new_tokens)
    print(flush=True)
    for line in sys.stdin:
        prompt = np.array([json.loads(line)], dtype=np.int64)
        start = time.perf_counter()
        out = generate(prompt)
        seconds = time.perf_counter() - start
        print(json.dumps(dict(seconds=seconds, tokens=out[0].tolist(), peak_mb=resident_mb(peak=True))), flush=True)


class Side:
    """A process that serves."""

    def __init__(self, name: str, folder: str, options: argparse.Namespace) -> None:
        self.name, self.seconds, self.last = name, [], {}  # type: ignore[var-annotated]
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", name, "--folder", folder, "--threads", str(options.threads),
             "--new-tokens", str(options.new_tokens)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the process ended with code {self.process.wait()}; see its message above")
        return line

    def run(self, prompt: list[int], counts: bool) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(prompt) + "\n")
        self.process.stdin.flush()
        self.last = json.loads(self._line())
        if counts:
            self.seconds.append(self.last["seconds"])


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Both sides in turns."""
    shape = SHAPES[options.shape]
    names = ["tinygpt"] + ["transformers"] * (has_transformers() and not options.alone)
    same = 0
    with tempfile.TemporaryDirectory() as folder:
        shape = dict(shape, T=max(shape["T"], 16 + options.new_tokens))
        tinygpt_model(shape).save_pretrained(folder)
        sides = [Side(name, folder, options) for name in names]
        try:
            for number in range(1 + options.runs):  # the first warms up
                prompt = np.random.default_rng(number).integers(0, shape["V"], 16).tolist()
                for side in sides if number % 2 == 0 else sides[::-1]:
                    side.run(prompt, number > 0)
                same += sides[0].last["tokens"] == sides[-1].last["tokens"]
        finally:
            for side in sides:
                side.process.kill()
                side.process.wait()
    result: dict[str, Any] = dict(shape=options.shape, threads=options.threads, runs=options.runs)
    for side in sides:
        rates = options.new_tokens / np.array(side.seconds)
        result[f"{side.name}_tokens_per_second"] = round(float(np.median(rates)), 1)
        result[f"{side.name}_ms_per_token"] = round(1e3 / float(np.median(rates)), 3)
        result[f"{side.name}_peak_mb"] = round(side.last["peak_mb"])
    if len(sides) == 2:
        result["ratio"] = round(result["tinygpt_tokens_per_second"] / result["transformers_tokens_per_second"], 2)
        result["same_tokens"] = f"{same} of {1 + options.runs} prompts"
    return result


def main() -> None:
    """Parse the options; serve, or compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=tuple(SHAPES), default="char")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", action="store_true", help="tinygpt without transformers beside it")
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line, last")
    parser.add_argument("--serve", choices=("tinygpt", "transformers"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.folder, options.threads, options.new_tokens)
        return
    result = compare(options)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:32}{value}")


if __name__ == "__main__":
    main()
