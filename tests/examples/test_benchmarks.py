"""The benchmarks run, and print the object that they promise as their last line. Speed is not tested here.

Each measures tinygpt alone (`--alone`), so that the tests do the same whatever is installed; where PyTorch is, a test
more compares the two.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tinygpt.backend import DeviceError, resolve_device
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import ByteBPE

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "examples" / "benchmarks"
FILES = sorted(BENCHMARKS.glob("*.py"))
HELPERS = {"breakdown.py", "gpu.py", "measuring.py", "sides.py"}  # what the others are made of
ELSEWHERE = {"against_harness.py"}  # needs lm-eval, which wants an environment of its own


def start(*command: str) -> subprocess.CompletedProcess[str]:
    """Run Python; whether it succeeds is for the caller to say."""
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, encoding="utf-8")


def call(name: str, *options: str) -> str:
    """What a benchmark prints."""
    done = start(str(BENCHMARKS / name), *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def result(name: str, *options: str) -> dict:
    """The object that a benchmark prints last."""
    return json.loads(call(name, *options, "--json").splitlines()[-1])


def test_training_alone_and_by_the_rules():
    found = result("training.py", "--shape", "char", "--steps", "2", "--warmup", "1", "--rules", "--alone")
    assert found["tinygpt_ms"] > 0 and found["rules_ms"] > 0 and "torch_ms" not in found
    # Float32 losses near 4, added in other orders: some units in the last place, 1e-7 of the loss each.
    assert found["rules_loss_difference"] < 1e-6


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's memory")
def test_training_tells_memory_and_what_others_used():
    found = result("training.py", "--shape", "char", "--steps", "1", "--warmup", "0", "--alone")
    assert found["tinygpt_peak_mb"] > found["tinygpt_imports_mb"] > 0
    assert 0 <= found["cores_used_by_others"] < 4096


@pytest.mark.oracle
def test_training_beside_pytorch():
    pytest.importorskip("torch")
    found = result("training.py", "--shape", "char", "--steps", "2", "--warmup", "1")
    assert found["ratio"] == pytest.approx(found["torch_ms"] / found["tinygpt_ms"], rel=2e-3)  # printed with 3 digits
    assert found["torch_loss_difference"] < 1e-5  # two libraries' float32, after two steps
    assert found["tinygpt_peak_mb"] >= 0 and found["torch_peak_mb"] >= 0


def test_a_step_of_dpo_alone():
    found = result("training.py", "--shape", "tiny", "--steps", "2", "--warmup", "1", "--loss", "dpo", "--rules",
                   "--alone")
    assert found["loss"] == "dpo" and found["tinygpt_ms"] > 0 and found["rules_loss_difference"] < 1e-5


@pytest.mark.oracle
@pytest.mark.parametrize("shape", ["tiny", "char"])
def test_a_step_of_dpo_beside_pytorch(shape):
    """Losses of log-probabilities of answers, which are sums of up to 49 numbers near −log 65, in float32."""
    pytest.importorskip("torch")
    found = result("training.py", "--shape", shape, "--steps", "2", "--warmup", "1", "--loss", "dpo")
    assert found["ratio"] == pytest.approx(found["torch_ms"] / found["tinygpt_ms"], rel=2e-3)
    assert found["torch_loss_difference"] < 1e-5


@pytest.mark.parametrize("option", [["--profile"], ["--device", "cuda"]])
def test_what_is_not_measured_of_dpo(option):
    done = start(str(BENCHMARKS / "training.py"), "--loss", "dpo", *option)
    assert done.returncode == 2 and "--loss dpo is compared on the CPU alone" in done.stderr


@pytest.mark.oracle
def test_ranks_beside_pytorchs():
    pytest.importorskip("torch")
    pytest.importorskip("mpi4py")
    found = result("ddp.py", "--shape", "tiny", "--steps", "3", "--warmup", "1")
    assert found["ratio"] == pytest.approx(found["torch_ms"] / found["tinygpt_ms"], rel=2e-2)  # printed with 2 digits
    assert found["ranks"] == 2 and found["loss_difference"] < 1e-5


def test_the_profile_lists_what_takes_time():
    printed = call("training.py", "--shape", "char", "--steps", "1", "--profile")
    for line in ("linear forward", "linear backward", "scaled_dot_product_attention backward", "clipping, AdamW",
                 "a whole step"):
        assert f"\n{line}" in printed, line


def test_tokenizer():
    found = result("tokenizer.py", "--size", "20000", "--long", "20000", "--tries", "1")
    assert found["rows"][0]["other"] == "minbpe's loop"  # is always there; the others where they are installed
    assert not [row for row in found["rows"] if row["ratio"] <= 0 or row["equal"] is False]
    assert len(found["alone"]) == 7 and min(found["alone"].values()) >= 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's memory")
def test_data():
    found = result("data.py", "--mb", "0.3", "--alone", "--steps", "duplicates")
    assert found["texts"] > found["dropped"]["duplicates"] > 0
    assert min(found["tokens"], found["mb_per_second"], found["peak_mb"]) > 0


def test_decoding_alone():
    found = result("decoding.py", "--shape", "char", "--runs", "1", "--new-tokens", "4", "--alone")
    assert found["tinygpt_tokens_per_second"] > 0 and "ratio" not in found


@pytest.mark.oracle
def test_decoding_beside_transformers():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    found = result("decoding.py", "--shape", "char", "--runs", "1", "--new-tokens", "4")
    assert found["ratio"] > 0 and found["same_tokens"] == "2 of 2 prompts"


def test_checkpoint():
    found = json.loads(call("checkpoint.py", "--n-embd", "16", "--rounds", "1"))
    assert min(found["megabytes"], found["seconds_with"], found["seconds_without"], found["ratio"]) > 0


def test_busy():
    found = result("busy.py", "--layers", "1", "--channels", "64", "--seconds", "0.1")
    assert len(found) == 4 and all(min(rates.values()) > 0 for rates in found.values())


def test_layers_alone():
    found = result("layers.py", "--width", "8", "--length", "4", "--turns", "2", "--alone", "--kinds", "LSTM", "Conv2d")
    assert set(found) == {"LSTM", "Conv2d"} and all(set(row) == {"tinygpt_ms", "tinygpt_mb"} for row in found.values())


@pytest.mark.oracle
def test_layers_beside_pytorch():
    pytest.importorskip("torch")
    found = result("layers.py", "--width", "8", "--length", "4", "--turns", "2", "--kinds", "GRU", "Conv1d",
                   "MaxPool2d")
    assert set(found) == {"GRU", "Conv1d", "MaxPool2d"} and all(row["ratio"] > 0 for row in found.values())


@pytest.mark.oracle
def test_multiple_choice_beside_transformers(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    tokenizer = ByteBPE.train("the fox and the dog sit. " * 9, vocab_size=280, special_tokens=["<|endoftext|>"])
    GPT(GPTConfig(vocab_size=280, block_size=64, n_layer=1, n_head=2, n_embd=8)).save_pretrained(tmp_path, tokenizer)
    record = {"ctx": "The fox", "endings": [" sits.", " and the dog", " the", "."], "label": 1}
    (tmp_path / "questions.jsonl").write_text(f"{json.dumps(record)}\n" * 5, encoding="utf-8")
    found = result("multiple_choice.py", "--model", str(tmp_path), "--data", str(tmp_path / "questions.jsonl"),
                   "--part", "2")
    assert found["questions"] == found["same_choice"] == 5 and found["ratio"] > 0


def test_overhead():
    found = result("overhead.py", "--runs", "1", "--alone")
    assert found["tinygpt_us_per_operation"] > 0 and len(found["chains"]) == 5


@pytest.mark.parametrize("what, options, figures", [
    ("training", ["--steps", "1", "--shape", "tiny"], {"step_ms", "run_ms"}),
    ("decoding", ["--new-tokens", "2"], {"token_ms"}),
    ("overhead", ["--steps", "1"], {"operation_us"}),
    ("import", [], {"import_ms"}),
])
def test_a_checkout_beside_itself(what, options, figures):
    """The same folder twice: every figure has a ratio, and the answers are equal to the bit."""
    found = result("pairs.py", "--before", str(ROOT), "--after", str(ROOT), "--what", what, "--pairs", "1", *options)
    assert figures == {name for name, row in found.items() if isinstance(row, dict)} - {"peak_mb"}
    assert all(found[name]["ratio"] > 0 for name in figures)
    assert found["answers_differ_by"] == 0 and found["answers_agree"]


def test_pairs_measure_what_they_are_given(tmp_path):
    """A folder whose tinygpt is not there, or is another: one line, or an error of its own, and no figure."""
    done = start(str(BENCHMARKS / "pairs.py"), "--before", str(tmp_path), "--after", str(ROOT), "--what", "import")
    assert done.returncode == 1 and done.stderr == (
        f"{tmp_path.resolve()} holds no folder tinygpt/: give the root of a checkout\n")
    (tmp_path / "tinygpt").mkdir()
    (tmp_path / "tinygpt" / "__init__.py").write_text("raise ImportError('this one')", encoding="utf-8")
    done = start(str(BENCHMARKS / "pairs.py"), "--before", str(tmp_path), "--after", str(ROOT), "--what", "import")
    assert done.returncode == 1 and done.stderr.endswith("ImportError: this one\n\n") and not done.stdout


def test_training_on_a_gpu_that_is_not_there():
    try:
        name = resolve_device("cuda")
    except (DeviceError, ValueError) as error:
        expected = f"--device cuda: {error}\n"
    else:
        pytest.skip(f"this machine has {name}")
    done = start(str(BENCHMARKS / "training.py"), "--device", "cuda", "--shape", "char")
    assert done.returncode == 1 and done.stderr == expected and expected.count("\n") == 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_gpu_side_of_training_on_the_pretend_gpu(dtype, tmp_path):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    done = start("-c", f"""
import sys
sys.path[:0] = [{str(ROOT / "tests")!r}, {str(BENCHMARKS)!r}]
import dataclasses, json, pathlib, fake_device, gpu
from tinygpt.backend import register_backend
register_backend(dataclasses.replace(fake_device.BACKEND, memory=lambda index: (1 << 30, 3 << 30)))
shape, weights = dict(V=11, T=6, L=1, H=2, C=8), pathlib.Path({str(tmp_path)!r}, "w.npz")
print(json.dumps(gpu.tinygpt_side(shape, 2, 2, "fake:1", weights, True, {dtype!r}, product=16)))
""")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["memory_gib"] == 2 and found["loss"] > 0 and min(found["seconds"], found["product_flops"]) > 0


def test_every_benchmark_is_run_here():
    called = {node.args[0].value for node in ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8")))
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("call", "result")
              and isinstance(node.args[0], ast.Constant)}
    assert called == {path.name for path in FILES} - HELPERS - ELSEWHERE


def test_without_the_harness_one_line_says_what_is_missing():
    if importlib.util.find_spec("lm_eval"):
        pytest.skip("lm-eval is installed")
    done = start(str(BENCHMARKS / "against_harness.py"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "pip install lm-eval" in done.stderr


def test_no_benchmark_hides_a_module_of_the_standard_library():
    """Their folder comes first on the path: a profile.py there would be what cProfile imports."""
    assert len(FILES) > 8 and not [path.stem for path in FILES if path.stem in sys.stdlib_module_names]
