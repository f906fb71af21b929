"""Two checkouts of tinygpt measured in pairs: what a change gained or cost.

    python examples/benchmarks/pairs.py --before ../old --after . --what training --shape char       a minute
    python examples/benchmarks/pairs.py --before ../old --after . --what decoding --shape gpt2       5 minutes
    python examples/benchmarks/pairs.py --before ../old --after . --what overhead                    half a minute
    python examples/benchmarks/pairs.py --before ../old --after . --what import                      10 seconds

Each measurement is a fresh process that imports tinygpt from one of the two folders. The two take turns, so that
whatever else the machine does hits both alike. Each pair gives a ratio, before over after: above 1, the change made it
faster or smaller. The median of the ratios counts, and the quartiles say how sure it is. To see how large a ratio is
mere noise, give the same folder twice. Both sides must give the same answers; whether they do is printed, with the
largest difference.

    training    step_ms: forward, backward, clipping, AdamW and zeroing, in one process with --threads BLAS threads;
                run_ms: the same model trained by `tinygpt pretrain` with --threads replicas, as its metrics.jsonl says
    decoding    token_ms: a new token of greedy generation, with the cache, batch 1
    overhead    operation_us: an operation on a Tensor of one element, forward and backward
    import      import_ms: `import tinygpt` where NumPy and regex have been imported

Prerequisites: measuring.py, sides.py, overhead.py.
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

from measuring import SHAPES, batch, busy_seconds, resident_mb

WHAT = ("training", "decoding", "overhead", "import")
STEPS = {"tiny": 30, "char": 30, "baby": 5, "gpt2": 3}
WARMUP = 2  # steps before the clock counts
# The largest relative difference of answers: float32 added up in another order. Another token is 2e-5 at least.
AGREE = 1e-5
# As the Trainer asks of malloc by itself; here by the environment, since where that function lives may change.
KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_TOP_PAD_": "67108864"}

Figures = dict[str, Any]  # name -> a number in its unit; "answer": what both sides must agree on

# ---------------------------------------------------------------------------------------------------------------------
# The measurements, each in a process of its own. They use only calls that both checkouts have.


def training(options: argparse.Namespace) -> Figures:
    """A plain training step, and a run of the command."""
    import tinygpt as tg
    from tinygpt.optim import AdamW, clip_grad_norm

    from sides import ADAMW, CLIP, tinygpt_model
    shape, steps = SHAPES[options.shape], options.steps or STEPS[options.shape]
    model: Any = tinygpt_model(shape)
    optimizer = AdamW(model, **ADAMW)
    times, losses = [], []
    for number in range(WARMUP + steps):
        ids, targets = batch(shape, number).values()
        start = time.perf_counter()
        # Not an objective's loss, nor a model's: older checkouts have only the one, newer ones only the other.
        loss = tg.ops.linear_cross_entropy(model.features(ids), model.output_weight, None, targets)
        loss.backward()
        clip_grad_norm(model, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
        losses.append(float(loss))
    figures = {"step_ms": 1e3 * float(np.median(times[WARMUP:])), "peak_mb": resident_mb(peak=True), "answer": losses}
    del model, optimizer, loss
    return figures | run_of_the_command(shape, steps, options.threads)


def run_of_the_command(shape: dict[str, int], steps: int, threads: int) -> Figures:
    """`tinygpt pretrain` on random characters, as many as the shape's vocabulary: milliseconds a step of training."""
    rng = np.random.default_rng(0)
    numbers = np.concatenate([np.arange(1, shape["V"]), rng.integers(1, shape["V"], 20 * shape["T"] * shape["B"])])
    # Line feeds, for the text is divided at them, and rare characters, of which there are enough for any vocabulary.
    lines = ["".join(chr(0x20000 + int(number)) for number in line) for line in np.array_split(numbers, 100)]
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text("\n".join(lines) + "\n", encoding="utf-8")
        sizes = {"n-layer": shape["L"], "n-head": shape["H"], "n-embd": shape["C"], "block-size": shape["T"],
                 "batch-size": shape["B"], "steps": WARMUP + steps, "eval-every": WARMUP + steps, "threads": threads}
        command = [sys.executable, "-m", "tinygpt", "pretrain", "--data", str(text), "--tokenizer", "char", "--out",
                   f"{folder}/model", "--activation", "gelu_tanh", "--validation", "0.01"]
        command += [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8")
        if done.returncode:
            raise SystemExit(f"tinygpt pretrain ended with code {done.returncode}: {done.stderr}")
        entries = map(json.loads, (Path(folder) / "model" / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        seconds = [entry["seconds"] for entry in entries if "seconds" in entry]  # of training so far, a line a step
    return {"run_ms": 1e3 * (seconds[-1] - seconds[WARMUP - 1]) / steps}


def decoding(options: argparse.Namespace) -> Figures:
    """Greedy generation from a prompt of 16 random tokens; the first one warms up."""
    from sides import tinygpt_model
    shape, n = SHAPES[options.shape], options.new_tokens
    model = tinygpt_model(dict(shape, T=max(shape["T"], 16 + n))).eval()
    times, tokens = [], []
    for number in range(4):
        prompt = np.random.default_rng(number).integers(0, shape["V"], (1, 16))
        start = time.perf_counter()
        out = model.generate(prompt, max_new_tokens=n, temperature=0.0, eos_token_id=None)
        times.append(time.perf_counter() - start)
        tokens += out[0].tolist()
    return {"token_ms": 1e3 * float(np.median(times[1:])) / n, "peak_mb": resident_mb(peak=True), "answer": tokens}


def overhead(options: argparse.Namespace) -> Figures:
    """The chains of overhead.py; the mean of their medians."""
    from overhead import CHAINS, LENGTH, seconds, tinygpt_chain
    answer = [tinygpt_chain(name) for name in CHAINS]  # warms up
    medians = [np.median([seconds(lambda: tinygpt_chain(name)) for _ in range(options.steps or 15)]) for name in CHAINS]
    return {"operation_us": 1e6 * float(np.mean(medians)) / LENGTH, "answer": answer}


MEASUREMENTS = {"training": training, "decoding": decoding, "overhead": overhead}
IMPORT = ("import json, time, numpy, regex; start = time.perf_counter(); import tinygpt; "
          "ms = 1e3 * (time.perf_counter() - start); "
          "print(json.dumps({'from': tinygpt.__file__, 'import_ms': ms, 'answer': []}))")

# ---------------------------------------------------------------------------------------------------------------------
# The comparison


def measure(checkout: Path, options: argparse.Namespace) -> Figures:
    """One measurement of one checkout."""
    threads = {f"{library}_NUM_THREADS": str(options.threads) for library in ("OPENBLAS", "OMP", "MKL")}
    environment = os.environ | KEEP_FREED_MEMORY | threads | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, __file__, "--measure", "--what", options.what, "--shape", options.shape, "--threads",
               str(options.threads), "--new-tokens", str(options.new_tokens)]
    if options.steps:
        command += ["--steps", str(options.steps)]
    if options.what == "import":
        command = [sys.executable, "-c", IMPORT]
    with tempfile.TemporaryDirectory() as empty:  # where no other tinygpt lies
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"{checkout}: the measurement ended with code {done.returncode}:\n{done.stderr}")
    figures = json.loads(done.stdout.splitlines()[-1])
    imported = Path(figures.pop("from")).resolve()
    if checkout not in imported.parents:
        raise SystemExit(f"{checkout}: tinygpt was imported from {imported.parent} instead")
    return figures


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All pairs; for each figure the medians of both checkouts, the median ratio and its quartiles."""
    before, after = options.before.resolve(), options.after.resolve()
    for checkout in (before, after):
        if not (checkout / "tinygpt" / "__init__.py").exists():
            raise SystemExit(f"{checkout} holds no folder tinygpt/: give the root of a checkout")
    busy, started, own = busy_seconds(), time.perf_counter(), sum(os.times()[:4])
    pairs: list[tuple[Figures, Figures]] = []
    for number in range(options.pairs):
        if number % 2 == 0:
            pairs.append((measure(before, options), measure(after, options)))
        else:
            second = measure(after, options)
            pairs.append((measure(before, options), second))
        ratios = ", ".join(f"{name} {pairs[-1][0][name] / figure:.3f}" for name, figure in pairs[-1][1].items()
                           if name != "answer" and figure)
        print(f"pair {number + 1} of {options.pairs}: {ratios}", file=sys.stderr, flush=True)
    result: dict[str, Any] = {"what": options.what, "shape": options.shape, "threads": options.threads,
                              "pairs": options.pairs}
    if busy is not None:  # os.times() has the time of processes that have ended too
        others = (busy_seconds() or busy) - busy - (sum(os.times()[:4]) - own)
        result["cores_used_by_others"] = round(max(0.0, others) / (time.perf_counter() - started), 2)
    differences = [abs(a - b) / max(1.0, abs(a)) for one, other in pairs
                   for a, b in zip(one.pop("answer"), other.pop("answer"), strict=True)]
    for name in pairs[0][0]:
        one, other = (np.array([pair[side][name] for pair in pairs]) for side in (0, 1))
        if not one.all() or not other.all():  # memory, where the system does not tell
            continue
        low, ratio, high = np.percentile(one / other, [25, 50, 75])
        result[name] = {"before": round(float(np.median(one)), 3), "after": round(float(np.median(other)), 3),
                        "ratio": round(float(ratio), 3), "quartiles": [round(float(low), 3), round(float(high), 3)]}
    result["answers_differ_by"] = float(f"{max(differences, default=0.0):.1e}")
    result["answers_agree"] = result["answers_differ_by"] <= AGREE
    return result


def print_table(result: dict[str, Any]) -> None:
    """The result for people."""
    shape = f", {result['shape']}" if result["what"] in ("training", "decoding") else ""
    print(f"{result['what']}{shape}: {result['pairs']} pairs, {result['threads']} threads")
    print(f"{'':14}{'before':>11}{'after':>11}{'ratio':>9}{'quartiles':>18}")
    for name, row in result.items():
        if isinstance(row, dict):
            quartiles = "{:.3f} … {:.3f}".format(*row["quartiles"])
            print(f"{name:14}{row['before']:>11.2f}{row['after']:>11.2f}{row['ratio']:>9.3f}{quartiles:>18}")
    print(f"the answers {'agree' if result['answers_agree'] else 'DO NOT AGREE'}: the largest difference is "
          f"{result['answers_differ_by']:.0e}")
    if result.get("cores_used_by_others", 0.0) > 0.1:
        print(f"other processes used {result['cores_used_by_others']} cores meanwhile: small differences mean nothing")


def main() -> None:
    """Parse the options; measure, or compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, metavar="DIR", help="a checkout: the folder that holds tinygpt/")
    parser.add_argument("--after", type=Path, metavar="DIR", help="another checkout")
    parser.add_argument("--what", choices=WHAT, required=True, help="what to measure")
    parser.add_argument("--shape", choices=tuple(SHAPES), default="char")
    parser.add_argument("--pairs", type=int, default=5, help="how many pairs of measurements [%(default)s]")
    parser.add_argument("--steps", type=int, help="training steps of a measurement [30, 5 or 3], or runs of a chain "
                        "[15]")
    parser.add_argument("--new-tokens", type=int, default=64, help="tokens that decoding writes [%(default)s]")
    parser.add_argument("--threads", type=int, default=2, help="BLAS threads of the plain step, replicas of the "
                        "run [%(default)s]")
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line, last")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        figures = MEASUREMENTS[options.what](options)
        import tinygpt
        print(json.dumps({"from": tinygpt.__file__} | figures))
        return
    if options.before is None or options.after is None:
        parser.error("give two checkouts: --before DIR --after DIR")
    if options.pairs < 1:
        parser.error(f"--pairs is {options.pairs}, expected at least 1")
    result = compare(options)
    if options.json:
        print(json.dumps(result))
    else:
        print_table(result)


if __name__ == "__main__":
    main()
