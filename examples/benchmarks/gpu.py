"""A GPT's training step on a GPU, tinygpt beside PyTorch: what `training.py --device cuda` runs.

    python examples/benchmarks/training.py --device cuda                 GPT-2 124M, context 1,024
    python examples/benchmarks/training.py --device cuda --fused --tf32  with the fused kernels, and TF32 on both sides
    python examples/benchmarks/training.py --device cuda --fused --dtype bfloat16   mixed precision on both sides

None of this has been run on a GPU yet, but for tinygpt's side on the tests' pretend one. Each side runs in a process of
its own, one after the other, so that each has the whole memory. The batch is halved until it fits both. PyTorch is
eager, in float32, TF32 or autocast to bfloat16, with its fused AdamW and `scaled_dot_product_attention`. The share of
the peak is that of the speed which the same side reaches in one large matrix product of the same type.

Prerequisites: sides.py.
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

from measuring import batch as batch_of, has_torch
from sides import ADAMW, CLIP, tinygpt_model, torch_step

LARGEST = 64  # sequences, from where the batch is halved
PRODUCT = 8192  # rows and columns of the matrix product that the peak is taken from
SHAPES = {"gpt2": dict(V=50257, T=1024, L=12, H=12, C=768), "char": dict(V=65, T=64, L=4, H=4, C=128)}


def flops(shape: dict[str, int], batch: int) -> float:
    """Multiplications and additions of a step in matrix products: 6 a weight and token, and those of attention."""
    weights = shape["L"] * 12 * shape["C"] ** 2 + shape["V"] * shape["C"]
    return batch * shape["T"] * (6 * weights + 12 * shape["L"] * shape["C"] * shape["T"])


def tinygpt_side(shape: dict[str, int], batch: int, steps: int, device: str, weights: Path, tf32: bool = False,
                 dtype: str = "float32", product: int = PRODUCT) -> dict[str, float]:
    """Seconds a step, the last loss, memory in use, and the speed of a large product."""
    from tinygpt.backend import allow_tf32, device_memory, on_device, resolve_dtype, to_device, to_numpy
    from tinygpt.kernels.cuda.gemm import matmul
    from tinygpt.optim import AdamW, FlatParameters, clip_coefficient, grad_norm_on_device
    from tinygpt.training import Criterion, Replicas, language_loss
    allow_tf32(device, tf32)
    model = tinygpt_model(shape)
    if not weights.exists():
        np.savez(weights, **model.state_dict())
    optimizer = AdamW(FlatParameters(model.to(device).compute_in(dtype)), **ADAMW)
    replicas = Replicas(model, Criterion(language_loss), optimizer.flat)
    loss: Any = None
    with on_device(model.device):
        for number in range(2 * steps):  # the first half warms up
            if number == steps:
                to_numpy(loss)  # waits for the device
                start = time.perf_counter()
            loss = replicas.gradient(batch_of({**shape, "B": batch}, number), 0, number)
            norm = grad_norm_on_device(optimizer.flat)
            optimizer.step(grad_scale=clip_coefficient(norm, CLIP))
        last = float(to_numpy(loss))
        seconds = (time.perf_counter() - start) / steps
        free, total = device_memory(device) or (0, 0)
        del loss, replicas, optimizer, model
        x = to_device(np.ones((product, product), dtype=np.float32), device).astype(resolve_dtype(dtype, device))
        for tries in (1, 10):
            start = time.perf_counter()
            for _ in range(tries):
                y = matmul(x, x)
            to_numpy(y[0])
        speed = 10 * 2 * product**3 / (time.perf_counter() - start)
    return {"seconds": seconds, "loss": last, "memory_gib": (total - free) / 2**30, "product_flops": speed}


def torch_side(shape: dict[str, int], batch: int, steps: int, device: str, weights: Path, tf32: bool, dtype: str
               ) -> dict[str, float]:
    """The same in PyTorch."""
    import torch
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.set_default_device(device)
    step = torch_step({**shape, "B": batch}, 1, weights, compiled=False, device=device,
                      bfloat16=dtype == "bfloat16")
    for number in range(2 * steps):
        if number == steps:
            torch.cuda.synchronize()
            start = time.perf_counter()
        last = step(batch_of({**shape, "B": batch}, number))
    seconds = (time.perf_counter() - start) / steps
    memory = torch.cuda.max_memory_reserved() / 2**30
    x = torch.ones(PRODUCT, PRODUCT, dtype=getattr(torch, dtype))
    for tries in (1, 10):
        start = time.perf_counter()
        for _ in range(tries):
            x @ x
        torch.cuda.synchronize()
    speed = 10 * 2 * PRODUCT**3 / (time.perf_counter() - start)
    return {"seconds": seconds, "loss": last, "memory_gib": memory, "product_flops": speed}


def run_side(name: str, options: argparse.Namespace, batch: int, weights: Path) -> dict[str, float] | None:
    """A side in a process of its own; None if it runs out of memory."""
    environment = dict(os.environ, TINYGPT_KERNELS="cuda" if options.fused else "on")
    done = subprocess.run([sys.executable, __file__, name, "--shape", options.shape, "--batch", str(batch), "--steps",
                           str(options.steps or 10), "--device", options.device, "--weights", str(weights), "--dtype",
                           options.dtype] + ["--tf32"] * options.tf32, capture_output=True, text=True, encoding="utf-8",
                          env=environment)
    if done.returncode:
        if "out of memory" in done.stderr.lower():
            return None
        raise SystemExit(f"{name}: the process ended with code {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Both sides with the largest batch that fits both, and the figures of each."""
    from tinygpt.backend import DeviceError, resolve_device, resolve_dtype
    try:
        resolve_dtype(options.dtype, resolve_device(options.device))
    except (DeviceError, ValueError) as error:
        raise SystemExit(f"--device {options.device}: {error}") from None
    if options.shape not in SHAPES:
        raise SystemExit(f"--shape {options.shape} is not measured on a GPU; choose one of {', '.join(SHAPES)}")
    names = ["tinygpt"] + ["torch"] * (has_torch() and not options.alone)
    batch = LARGEST
    with tempfile.TemporaryDirectory() as folder:
        while True:
            sides = [run_side(name, options, batch, Path(folder) / "weights.npz") for name in names]
            if all(side is not None for side in sides):
                break
            batch //= 2
            if not batch:
                raise SystemExit(f"not even one sequence of {SHAPES[options.shape]['T']} tokens fits")
    result: dict[str, Any] = {"shape": options.shape, "device": options.device, "batch": batch, "tf32": options.tf32,
                              "dtype": options.dtype, "fused": options.fused}
    for name, side in zip(names, sides):
        assert side is not None
        work = flops(SHAPES[options.shape], batch) / side["seconds"]
        result |= {f"{name}_tokens_per_second": round(batch * SHAPES[options.shape]["T"] / side["seconds"]),
                   f"{name}_memory_gib": round(side["memory_gib"], 2), f"{name}_loss": side["loss"],
                   f"{name}_share_of_peak": round(work / side["product_flops"], 3)}
    if len(names) == 2:
        result["ratio"] = round(result["tinygpt_tokens_per_second"] / result["torch_tokens_per_second"], 3)
    return result


def print_table(result: dict[str, Any]) -> None:
    """The result for people."""
    products = " with TF32 products" if result["tf32"] else ""
    print(f"{result['shape']} on {result['device']}: {SHAPES[result['shape']]}, batch {result['batch']}, "
          f"{result['dtype']}{products}, fused kernels {'on' if result['fused'] else 'off'}")
    print(f"{'':10}{'tokens/s':>12}{'GiB':>8}{'of peak':>9}{'last loss':>11}")
    for name in ("tinygpt", "torch"):
        if f"{name}_loss" in result:
            print(f"{name:10}{result[f'{name}_tokens_per_second']:>12,}{result[f'{name}_memory_gib']:>8}"
                  f"{result[f'{name}_share_of_peak']:>9.1%}{result[f'{name}_loss']:>11.4f}")
    if "ratio" in result:
        print(f"tinygpt reaches {result['ratio']:.2f} of PyTorch's speed")


def main() -> None:
    """One side, for `run_side`."""
    parser = argparse.ArgumentParser(description="one side of training.py --device cuda")
    parser.add_argument("side", choices=("tinygpt", "torch"))
    parser.add_argument("--shape", choices=tuple(SHAPES), required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), required=True)
    options = parser.parse_args()
    side = tinygpt_side if options.side == "tinygpt" else torch_side
    print(json.dumps(side(SHAPES[options.shape], options.batch, options.steps, options.device, options.weights,
                          options.tf32, options.dtype)))


if __name__ == "__main__":
    main()
