"""26: a half-trained model goes on learning its jobs by trying; and what a wrong reward does to it.

    python examples/26_grpo.py --out runs/grpo

A small model learns the jobs of 13_instructions.py (words backwards, sums, …) from examples, until it answers about
half of the held-out questions. From there it goes on in two ways, with as many steps each:

    GRPO         it answers each question several times; a right answer earns 1, and each answer the share of its
                 letters that are right; what earns more than the others to the same question becomes more probable.
                 Nobody shows it a right answer any more.
    supervised   it is shown right answers as before.

Then two runs that are meant to go wrong. A reward for length alone, which right answers do nothing for; and the same
without the KL term that holds the model near where it began. What to watch is exact match, length and entropy.
The curves are in DIR/curves.png. Takes some minutes on 2 cores.

Prerequisites: 25_dpo.py, tinygpt/training/objectives/grpo.py. Next: docs/alignment.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinygpt.data.synthetic.instructions import instructions
from tinygpt.training import AlignOptions, FinetuneOptions, align, finetune, read_metrics


def write(path: Path, part: Any, n: int, seed: int) -> Path:
    """Writes instructions as records of a prompt and its answer."""
    with open(path, "w", encoding="utf-8") as file:
        for record in instructions(n, part, seed):
            prompt = "\n".join(filter(None, (record["instruction"], record["input"])))
            file.write(json.dumps({"prompt": prompt, "completion": record["output"]}) + "\n")
    return path


def exact(folder: Path, data: Path) -> float:
    """The share of held-out instructions that a model answers exactly."""
    from tinygpt import load_model, load_tokenizer
    from tinygpt.data.chat_template import chat_template
    from tinygpt.data.conversations import read_conversations
    from tinygpt.evaluation.answers import answer_conversations, exact_match

    chats = read_conversations(data)
    return exact_match(answer_conversations(load_model(folder), chat_template(load_tokenizer(folder)), chats), chats)


def plot(picture: Path, runs: dict[str, Path]) -> None:
    """Reward, KL, entropy and length of each run over its steps, and their means over ten of them, where matplotlib is
    installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(11, 6), layout="constrained")
    for axes, name in zip(figure.subplots(2, 2).flat, ("reward", "kl", "entropy", "length")):
        for label, folder in runs.items():
            lines = [line for line in read_metrics(folder / "metrics.jsonl") if name in line]
            values = [line[name] for line in lines]
            means = [sum(some) / len(some) for some in (values[max(0, i - 9):i + 1] for i in range(len(values)))]
            raw, = axes.plot([line["step"] for line in lines], values, alpha=0.25)
            axes.plot([line["step"] for line in lines], means, label=label, color=raw.get_color())
        axes.set(title=name, xlabel="step")
        axes.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False)
    figure.savefig(picture, dpi=120)


def main(argv: Sequence[str] | None = None) -> float:
    """Teach by half, reward, compare; returns the share of held-out instructions that are right after GRPO."""
    parser = argparse.ArgumentParser(description="Group relative policy optimization of a half-trained model.")
    parser.add_argument("--half", type=int, default=500, help="supervised steps before [500]")
    parser.add_argument("--steps", type=int, default=200, help="steps of GRPO, and of going on supervised [200]")
    parser.add_argument("--hacks", type=int, default=20, help="steps of each run that goes wrong [20]")
    parser.add_argument("--questions", type=int, default=16, help="questions in a step [16]")
    parser.add_argument("--group", type=int, default=8, help="answers to each question [8]")
    parser.add_argument("--lr", type=float, default=5e-4, help="highest learning rate of GRPO [0.0005]")
    parser.add_argument("--tests", type=int, default=500, help="held-out instructions to ask [500]")
    parser.add_argument("--records", type=int, default=20_000, help="instructions to learn from [20,000]")
    parser.add_argument("--n-embd", type=int, default=64, help="channels [64]")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data [0]")
    parser.add_argument("--threads", type=int, default=None, help="replicas that train side by side [the cores]")
    parser.add_argument("--out", default=None, metavar="DIR", help="keep models and curves there [a temporary folder]")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        return run(args, Path(args.out or folder))


def run(args: argparse.Namespace, out: Path) -> float:
    """The same with a folder to write to."""
    out.mkdir(parents=True, exist_ok=True)
    train = write(out / "train.jsonl", "train", args.records, args.seed)
    test = write(out / "test.jsonl", "test", args.tests, args.seed)
    supervised: dict[str, Any] = dict(
        task="instruction", data=(str(train),), batch_size=64, threads=args.threads, seed=args.seed, validation=0.01,
        patience=0, dropout=0.0, optimizer="muon", lr=4e-3)
    half = out / "half"
    finetune(FinetuneOptions(**supervised, tokenizer="char", architecture="llama", n_embd=args.n_embd, block_size=128,
                             steps=args.half, min_lr=4e-3), half)  # stopped before its learning rate comes down
    finetune(FinetuneOptions(**supervised, model=str(half), steps=args.steps), out / "supervised")
    rewarded: dict[str, Any] = dict(
        method="grpo", model=str(half), data=(str(train),), batch_size=args.questions, group_size=args.group,
        threads=args.threads, seed=args.seed, validation=0.01, patience=0, max_new_tokens=24, lr=args.lr)
    align(AlignOptions(**rewarded, reward="exact,similar", steps=args.steps, beta=0.01, optimizer="muon",
                       supervision="process", entropy_bonus=0.05), out / "grpo")
    align(AlignOptions(**rewarded, reward="length", steps=args.hacks, beta=0.04), out / "length")
    align(AlignOptions(**rewarded, reward="length", steps=args.hacks, beta=0.0), out / "length-without-kl")

    print(f"exact match on {args.tests} held-out instructions:")
    found = {name: exact(out / name, test) for name in ("half", "supervised", "grpo", "length", "length-without-kl")}
    for name, share in found.items():
        print(f"  {name:18} {share:6.1%}")
    runs = {"right answers": out / "grpo", "length": out / "length", "length, no KL": out / "length-without-kl"}
    for label, folder in runs.items():
        lines = [line for line in read_metrics(folder / "metrics.jsonl") if "reward" in line]
        print(f"{label:16} " + ", ".join(f"{name} {lines[0][name]:.2f} -> {lines[-1][name]:.2f}"
                                         for name in ("reward", "entropy", "length", "kl") if name in lines[0]))
    plot(out / "curves.png", runs)
    return found["grpo"]


if __name__ == "__main__":
    main()
