"""The benchmarks run, and print the object that they promise as their last line. Speed is not tested here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(code: str) -> dict:
    """Run a benchmark as if neither PyTorch nor transformers were installed; its last line as JSON."""
    hide = ("import importlib.util, runpy, sys; find = importlib.util.find_spec\n"
            "importlib.util.find_spec = lambda name, *rest: None if name in ('torch', 'transformers') else find(name)\n"
            f"sys.path.insert(0, {str(EXAMPLES)!r})\n")
    done = subprocess.run([sys.executable, "-c", hide + code], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def call(name: str, *options: str) -> dict:
    path = str(EXAMPLES / name)
    return run(f"sys.argv = {[path, *options]!r}; runpy.run_path({path!r}, run_name='__main__')")


def test_training():
    result = call("benchmark_training.py", "--shape", "char", "--steps", "2", "--warmup", "1", "--rules", "--json")
    assert result["tinygpt_ms"] > 0 and result["rules_ms"] > 0 and result["rules_loss_difference"] < 1e-6
    assert result["tinygpt_peak_mb"] > result["tinygpt_imports_mb"] or not result["tinygpt_peak_mb"]
    assert result.get("cores_used_by_others", 0.0) >= 0.0


def test_tokenizer():
    result = call("benchmark_tokenizer.py", "--size", "20000", "--long", "20000", "--tries", "1", "--json")
    assert all(row["ratio"] > 0 and row["equal"] is not False for row in result["rows"])
    assert len(result["alone"]) == 7 and all(number >= 0 for number in result["alone"].values())


def test_decoding():
    result = call("benchmark_decoding.py", "--shape", "char", "--runs", "1", "--new-tokens", "4", "--json")
    assert result["tinygpt_tokens_per_second"] > 0


def test_overhead():
    result = call("benchmark_overhead.py", "--runs", "1", "--json")
    assert result["tinygpt_us_per_operation"] > 0


def test_training_on_a_gpu_that_is_not_there():
    path = str(EXAMPLES / "benchmark_training.py")
    done = subprocess.run([sys.executable, path, "--device", "cuda", "--shape", "char"], capture_output=True, text=True,
                          encoding="utf-8")
    assert done.returncode == 0 or (done.stderr.startswith("--device cuda: device \"cuda\" was asked for, but CuPy")
                                    and done.stderr.count("\n") == 1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_gpu_side_of_training_on_the_pretend_gpu(dtype, tmp_path):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    result = run(f"""
sys.path.insert(0, {str(EXAMPLES.parent / "tests")!r})
import dataclasses, json, pathlib, fake_device, benchmark_gpu
from tinygpt.backend import register_backend
register_backend(dataclasses.replace(fake_device.BACKEND, memory=lambda index: (1 << 30, 3 << 30)))
shape, weights = dict(V=11, T=6, L=1, H=2, C=8), pathlib.Path({str(tmp_path)!r}, "w.npz")
print(json.dumps(benchmark_gpu.tinygpt_side(shape, 2, 2, "fake:1", weights, True, {dtype!r}, product=16)))
""")
    assert result["memory_gib"] == 2 and result["loss"] > 0 and min(result["seconds"], result["product_flops"]) > 0
