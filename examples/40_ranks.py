"""40: how fast would N machines train? A simulator, held against ranks on this machine.

    python examples/40_ranks.py                            # a table for 1 to 8 ranks at 1, 10 and 100 Gbit/s; a minute
    python examples/40_ranks.py --measure 1 2              # beside it, what mpiexec does here with 1 and 2 ranks

A step on N ranks takes as long as

    the gradient of 1 / N of the batch                     measured here, in one process
    + sending gradients out and weights back               4 P (N - 1) / N bytes each, for P parameters
    + the optimizer's step for 1 / N of the weights        measured here

Nothing is hidden behind anything else: tinygpt sends when the gradient is complete. Memory is 8 P bytes for weights and
gradient and 8 P / N for AdamW's moments, beside activations, which shrink with the rows of a rank.

Prerequisites: 03_pretraining.py, docs/scaling.md, tinygpt/training/exchange.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from tinygpt.data import WindowSampler
from tinygpt.models import GPT, GPTConfig
from tinygpt.ranks import Group, together
from tinygpt.training import Criterion, Trainer, TrainingOptions, language_loss

VOCABULARY = 256


def trainer_of(o: argparse.Namespace, rows: int, group: Group, steps: int) -> Trainer:
    """A trainer of a GPT on random tokens, with `rows` sequences in a step."""
    model = GPT(GPTConfig(vocab_size=VOCABULARY, block_size=o.block_size, n_layer=o.n_layer, n_head=4, n_embd=o.n_embd))
    tokens = np.random.default_rng(0).integers(VOCABULARY, size=20_000).astype(np.uint8)
    options = TrainingOptions(steps=steps, batch_size=rows, lr=1e-4, threads=1, eval_every=steps)
    return Trainer(model, Criterion(language_loss), WindowSampler(tokens, o.block_size, rows), options, ranks=group)


def seconds_a_step(o: argparse.Namespace, rows: int, group: Group) -> float:
    """The median step, the first ones left out."""
    times: list[float] = []
    trainer = trainer_of(o, rows, group, o.steps + 2)
    batch = trainer.source.batch

    class Clocked:
        """The source, which notes when each step begins."""

        def batch(self, step: int) -> dict[str, np.ndarray]:
            """The batch of a step."""
            times.append(time.perf_counter())
            return batch(step)
    trainer.source = Clocked()
    trainer.run()
    return float(np.median(np.diff(times)[1:]))


def optimizer_seconds(o: argparse.Namespace) -> tuple[float, int]:
    """The optimizer's step for all weights, and how many these are."""
    optimizer = trainer_of(o, 1, Group(), 1).optimizer
    optimizer.step()
    start = time.perf_counter()
    for _ in range(o.steps):
        optimizer.step()
    return (time.perf_counter() - start) / o.steps, optimizer.flat.size


def sending_seconds(parameters: int, ranks: int, gbits: float, latency: float) -> float:
    """Gradients out and weights back: what each rank sends, while it receives as much."""
    each_way = 4 * parameters * (ranks - 1) / ranks
    return 2 * (each_way * 8 / (gbits * 1e9) + latency * (ranks > 1))


def measured(o: argparse.Namespace, ranks: int) -> float:
    """Seconds a step of ranks that mpiexec starts here."""
    settings = [f"--{name}={getattr(o, name.replace('-', '_'))}"
                for name in ("block-size", "n-layer", "n-embd", "batch-size", "steps")]
    command = ["mpiexec", "-n", str(ranks), sys.executable, __file__, "--worker", *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-layer", type=int, default=4)
    parser.add_argument("--n-embd", type=int, default=128)
    parser.add_argument("--block-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10, help="steps that are measured")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--gbits", type=float, nargs="+", default=[1.0, 10.0, 100.0], help="speed of the network")
    parser.add_argument("--latency", type=float, default=50e-6, help="seconds until the first byte arrives")
    parser.add_argument("--measure", type=int, nargs="+", default=[], help="ranks to start here with mpiexec")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    o = parser.parse_args(arguments)
    if o.worker:
        group = together()
        seconds = seconds_a_step(o, o.batch_size, group)
        if group.rank == 0:
            print(json.dumps(seconds))
        return
    update, parameters = optimizer_seconds(o)
    tokens = o.batch_size * o.block_size
    print(f"{parameters:,} parameters, {tokens:,} tokens a step\n")
    print("ranks  MB a rank  sent MB  " + "  ".join(f"tokens/s at {g:g} Gbit/s" for g in o.gbits) + "  measured here")
    for ranks in o.ranks:
        rows = -(-o.batch_size // ranks)
        gradient = max(seconds_a_step(o, rows, Group()) - update, 0.0)
        speeds = [tokens / (gradient + update / ranks + sending_seconds(parameters, ranks, gbits, o.latency))
                  for gbits in o.gbits]
        here = f"{tokens / measured(o, ranks):,.0f}" if ranks in o.measure else "-"
        sent = 8 * parameters * (ranks - 1) / ranks
        print(f"{ranks:5}  {(8 + 8 / ranks) * parameters / 1e6:9.1f}  {sent / 1e6:7.1f}  "
              + "  ".join(f"{speed:>{len(f'tokens/s at {g:g} Gbit/s')},.0f}" for speed, g in zip(speeds, o.gbits))
              + f"  {here:>13}")


if __name__ == "__main__":
    main()
