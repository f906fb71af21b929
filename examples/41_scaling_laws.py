"""41: how good would a larger model be, with more text? A law fitted to small runs, and a larger run predicted by it.

    python examples/41_scaling_laws.py              # 14 minutes of one core, nearly all of them for the runs
    python examples/41_scaling_laws.py --no-runs    # a second: what needs no training

Three parts. First GPT-3 by hand: a model of N parameters that reads D tokens costs about 6·N·D operations, and from
that follow its days of graphics cards and its price; and how often it read each of its sources.

Then compute-optimal models: of 72 runs with nine budgets C (isoflops_curves.json, if it is at hand), each budget has a
best size. A parabola through the losses of a budget finds it, and a line through logarithms gives N = k·C^a.

Then a law of our own. Small GPTs of bytes learn from the documentation inside Python: sizes N by amounts of text D, cut
at random from its 1 MB, which the longest runs read two and three times. To their losses is fitted

    L(N, D) = E + A / N^α + B / D^β

with E the entropy that nobody can predict, A/N^α what a finite model lacks, and B/D^β what finite reading lacks. The
loss of a run larger than all of them in both is predicted *before* it is trained; the last line says how far that was
off.

Prerequisites: 03_pretraining.py. Kaplan et al., "Scaling laws for neural language models" (2020); Hoffmann et al.,
"Training compute-optimal large language models" (2022); Brown et al., "Language models are few-shot learners" (2020).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

import tinygpt
from tinygpt.data import Documents, WindowSampler
from tinygpt.evaluation import format_table, predict_text
from tinygpt.models import GPT, GPTConfig
from tinygpt.training import Criterion, Trainer, TrainingOptions, language_loss

GPT3 = 175e9, 300e9  # parameters, tokens read
SOURCES = (  # Brown et al., table 2.2: billions of tokens, the share of what was read, how often by their own count
    ("Common Crawl, filtered", 410, 0.60, 0.44), ("WebText2", 19, 0.22, 2.9), ("Books1", 12, 0.08, 1.9),
    ("Books2", 55, 0.08, 0.43), ("Wikipedia", 3, 0.03, 3.4))
V100, PRICE = 28e12, 1.5  # operations a second that a V100 keeps up, and dollars an hour: Lambda's estimate of 2020
SIZES = ((1, 16), (2, 24), (2, 40), (3, 56))  # layers, channels
TOKENS = (300_000, 600_000, 1_200_000, 2_400_000)
LARGEST = (4, 80), 3_000_000
BLOCK, BATCH = 64, 16
HELD_OUT = 60_000  # bytes to measure the loss on, times --scale

Run = tuple[float, float, float]  # N, D, loss


def gpt3() -> str:
    """What GPT-3 cost, and how often it read its sources."""
    n, d = GPT3
    flop = 6 * n * d
    years = flop / V100 / 3600 / 24 / 365
    rows = [[name, f"{size} billion", f"{share:.0%}", f"{share * d / 1e9 / size:.2f}", f"{paper}"]
            for name, size, share, paper in SOURCES]
    return (f"GPT-3: 6 x {n:.3g} x {d:.3g} = {flop:.3g} operations, {flop / 1e15 / 86400:,.0f} petaflop/s-days; "
            f"{years:,.0f} years of one V100, {years * 365 * 24 * PRICE / 1e6:.1f} million dollars\n"
            + format_table([*rows, ["together", f"{sum(s[1] for s in SOURCES)} billion", "", "", ""]],
                           ["source", "tokens", "share", "times read", "the paper says"]))


def compute_optimal(path: Path) -> str:
    """The best size for each budget, and the law through them."""
    runs = json.loads(path.read_text(encoding="utf-8"))
    budgets = sorted({run["compute_budget"] for run in runs})
    best = []
    for budget in budgets:
        mine = [(math.log(run["parameters"]), run["final_loss"]) for run in runs if run["compute_budget"] == budget]
        mine = sorted(mine, key=lambda point: point[1])[:5]  # a parabola is right near its lowest point alone
        a, b, _ = np.polyfit(*zip(*mine), 2)
        best.append(math.exp(-b / (2 * a)) if a > 0 else math.exp(mine[0][0]))
    slope, start = np.polyfit(np.log(budgets), np.log(best), 1)
    rows = [[f"{c:.0e}", f"{n:.3g}", f"{c / 6 / n:.3g}", f"{c / 6 / n / n:.1f}"] for c, n in
            [*zip(budgets, best), *((c, math.exp(start + slope * math.log(c))) for c in (1e23, 1e24))]]
    return (f"compute-optimal: N = {math.exp(start):.3g} x C^{slope:.3f}, so D grows with C^{1 - slope:.3f}; the last "
            "two rows by this law\n" + format_table(rows, ["operations", "parameters", "tokens", "tokens/parameter"]))


def fit(runs: Sequence[Run]) -> tuple[float, ...]:
    """(E, A, α, B, β), none negative, with the smallest sum of squared relative errors: for each α and β of a grid the
    rest is linear."""
    n, d, loss = np.array(runs).T
    best: tuple[float, tuple[float, ...]] = (math.inf, ())
    for alpha in np.arange(0.05, 1.5, 0.025):
        for beta in np.arange(0.05, 1.5, 0.025):
            x = np.stack([np.ones_like(n), n ** -alpha, d ** -beta], axis=1) / loss[:, None]
            (e, a, b), *_ = np.linalg.lstsq(x, np.ones_like(n), rcond=None)
            error = float(((x @ [e, a, b] - 1) ** 2).sum())
            if min(e, a, b) >= 0 and error < best[0]:
                best = error, (float(e), float(a), float(alpha), float(b), float(beta))
    return best[1]


def law(found: tuple[float, ...], n: float, d: float) -> float:
    """L(N, D)."""
    e, a, alpha, b, beta = found
    return e + a / n ** alpha + b / d ** beta


def train(size: tuple[int, int], n_tokens: int, text: np.ndarray, args: argparse.Namespace) -> Run:
    """(N, D, loss on held-out text in nats per byte) of one run."""
    (layers, channels), held_out = size, max(1000, int(HELD_OUT * args.scale))
    tinygpt.manual_seed(args.seed)
    model = GPT(GPTConfig(vocab_size=256, block_size=BLOCK, n_layer=layers, n_head=channels // 8, n_embd=channels,
                          architecture="llama", initializer_range=channels ** -0.5 / 2))
    steps = max(1, n_tokens // (BLOCK * BATCH))
    Trainer(model, Criterion(language_loss), WindowSampler(text[held_out:], BLOCK, BATCH, args.seed), TrainingOptions(
        steps=steps, batch_size=BATCH, lr=args.lr * channels ** -0.5, min_lr=0.0, seed=args.seed,
        threads=args.threads)).run()
    return model.n_parameters, steps * BLOCK * BATCH, predict_text(model, text[:held_out]).loss


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Calculate, fit, predict, train; returns what was predicted and what came of it."""
    parser = argparse.ArgumentParser(description="Scaling laws: GPT-3's by hand, published runs, and runs of our own.")
    parser.add_argument("--isoflops", default=os.path.join(os.environ.get("TINYGPT_DATA", "."), "isoflops_curves.json"),
                        help="from github.com/stanford-cs336/assignment3-scaling [%(default)s]")
    parser.add_argument("--no-runs", action="store_true", help="train nothing")
    parser.add_argument("--scale", type=float, default=1.0, help="of the amounts of text [%(default)s]")
    parser.add_argument("--lr", type=float, default=0.04, help="learning rate, times √channels [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data [%(default)s]")
    parser.add_argument("--threads", type=int, default=None, help="replicas that train side by side [the cores]")
    args = parser.parse_args(argv)
    print(gpt3() + "\n")
    try:
        print(compute_optimal(Path(args.isoflops)) + "\n")
    except FileNotFoundError:
        print(f"{args.isoflops} is not at hand, so no compute-optimal fit\n")
    except (ValueError, KeyError, TypeError) as error:
        parser.exit(2, f"41_scaling_laws.py: {args.isoflops} is no list of runs with parameters, compute_budget and "
                       f"final_loss: {error}\n")
    if args.no_runs:
        return {}

    start = time.perf_counter()
    tokens = [round(n * args.scale) for n in TOKENS]
    needed = HELD_OUT + 2 * round(LARGEST[1] * args.scale)
    text = np.frombuffer("\n".join(islice(Documents([]), 2000)).encode()[:needed], np.uint8)
    runs = []
    for size in SIZES:
        for n in tokens:
            runs.append(train(size, n, text, args))
            print(f"{runs[-1][0]:9,.0f} parameters, {runs[-1][1]:9,.0f} bytes: loss {runs[-1][2]:.4f}  "
                  f"({time.perf_counter() - start:.0f} s)", flush=True)
    found = fit(runs)
    errors = [abs(law(found, n, d) / loss - 1) for n, d, loss in runs]
    print("L(N, D) = {:.3f} + {:.3g} / N^{:.3f} + {:.3g} / D^{:.3f}".format(*found)
          + f"; off by {np.mean(errors):.1%} on average in its own runs, {max(errors):.1%} at most")
    size, n_tokens = LARGEST[0], round(LARGEST[1] * args.scale)
    n = GPT(GPTConfig(vocab_size=256, block_size=BLOCK, n_layer=size[0], n_head=size[1] // 8, n_embd=size[1],
                      architecture="llama")).n_parameters
    predicted = law(found, n, n_tokens // (BLOCK * BATCH) * BLOCK * BATCH)
    print(f"predicted for {n:,} parameters and {n_tokens:,} bytes: {predicted:.4f}", flush=True)
    n, _, loss = train(size, n_tokens, text, args)
    print(f"trained: {loss:.4f}; the prediction is off by {predicted / loss - 1:+.2%} "
          f"({time.perf_counter() - start:.0f} s in all)")
    return {"predicted": predicted, "trained": loss}


if __name__ == "__main__":
    main()
