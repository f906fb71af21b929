"""25: DPO makes answers polite, without a reward model and without sampling.

    python examples/25_dpo.py --out runs/polite

The model of 24_reward_model.py has learnt jobs on made-up words from people of all manners, and answers in all of them.
DPO shows it pairs of answers, and makes the better one of each more probable, compared with what the model itself
thought of both before training. What is counted: pairs that the model prefers rightly, how it answers held-out
questions before and after, how many of the answers hold the right word, and how far it has moved from where it began,
as KL in nats an answer. β is the price of moving: the run is made with a small and a large one.
Takes some minutes on 2 cores; fewer with --model runs/preferences/policy, which 24 leaves.

Prerequisites: 24_reward_model.py, tinygpt/training/objectives/dpo.py. Next: 26_grpo.py.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tinygpt import load_model, load_tokenizer
from tinygpt.data.synthetic import preferences
from tinygpt.data.synthetic.preferences import KIND, LONG, RUDE
from tinygpt.evaluation.preferences import best_answers
from tinygpt.training import AlignOptions, FinetuneOptions, align, finetune


def every_manner(path: Path, n: int) -> Path:
    """Writes instructions with answers in all manners; wrong ones alone are left out."""
    with open(path, "w", encoding="utf-8") as file:
        for record in preferences(n):
            for side in ("chosen", "rejected")[:1 if record["virtue"] == "correct" else 2]:
                file.write(json.dumps({"instruction": record["prompt"], "input": "", "output": record[side]}) + "\n")
    return path


def pairs(path: Path, n: int) -> Path:
    """Writes pairs of answers."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in preferences(n))
    return path


def said(answer: str) -> tuple[str, str]:
    """(the manner of an answer, what it says)."""
    for name, forms in (("polite", KIND), ("rude", RUDE), ("long", LONG)):
        for form in forms:
            before, after = form.split("{}")
            if answer.startswith(before) and answer.endswith(after) and len(answer) > len(before) + len(after):
                return name, answer[len(before):len(answer) - len(after)]
    return "plain", answer


def tell(name: str, folder: Path, n: int) -> float:
    """Prints how a model answers n held-out questions; returns the share of polite answers."""
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    asked = [record for record in preferences(4 * n, "test", seed=1) if record["virtue"] != "correct"][:n]
    answers = best_answers(model, tokenizer, [[{"role": "user", "content": record["prompt"]}] for record in asked],
                           max_new_tokens=80)
    found = [said(answer) for answer in answers]
    right = sum(word == said(record["chosen"])[1] for (_, word), record in zip(found, asked))
    shares = [sum(manner == wanted for manner, _ in found) / len(found)
              for wanted in ("polite", "plain", "rude", "long")]
    print(f"{name:20}" + "".join(f"{share:8.0%}" for share in shares) + f"{right / len(found):16.0%}")
    return shares[0]


def main(argv: Sequence[str] | None = None) -> float:
    """Teach, prefer, ask; returns the accuracy on held-out pairs with the smaller beta."""
    parser = argparse.ArgumentParser(description="Make a small model polite by direct preference optimization.")
    parser.add_argument("--model", default=None, metavar="DIR", help="what 24_reward_model.py left [train it]")
    parser.add_argument("--steps", type=int, default=800, help="training steps of that model [800]")
    parser.add_argument("--dpo-steps", type=int, default=200, help="training steps of DPO [200]")
    parser.add_argument("--betas", type=float, nargs="+", default=[0.1, 1.0], help="prices of moving [0.1 1.0]")
    parser.add_argument("--questions", type=int, default=100, help="held-out questions to answer [100]")
    parser.add_argument("--records", type=int, default=8000, help="pairs to learn from [8000]")
    parser.add_argument("--n-embd", type=int, default=64, help="channels [64]")
    parser.add_argument("--threads", type=int, default=None, help="replicas that train side by side [the cores]")
    parser.add_argument("--out", default=None, metavar="DIR", help="keep the models there [a temporary folder]")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        return run(args, Path(args.out or folder))


def run(args: argparse.Namespace, out: Path) -> float:
    """The same with a folder to write to."""
    out.mkdir(parents=True, exist_ok=True)
    base = Path(args.model or out / "policy")
    if args.model is None:
        finetune(FinetuneOptions(
            task="instruction", data=(str(every_manner(out / "manners.jsonl", args.records)),), tokenizer="char",
            architecture="llama", n_embd=args.n_embd, block_size=128, batch_size=64, steps=args.steps, lr=3e-3,
            threads=args.threads, validation=0.02), base)
    accuracies, lines, folders = [], [], []
    for beta in args.betas:
        folder = out / f"beta-{beta:g}"
        result = align(AlignOptions(
            method="dpo", model=str(base), data=(str(pairs(out / "pairs.jsonl", args.records)),), steps=args.dpo_steps,
            beta=beta, threads=args.threads, validation=0.02, max_new_tokens=80), folder)
        accuracies.append(result.validation["accuracy"])
        folders.append((f"DPO, beta {beta:g}", folder))
        lines.append(f"beta {beta:g}: held-out pairs preferred rightly {accuracies[-1]:.1%}, "
                     f"KL to the model before {result.validation['kl']:.2f} nats an answer")
    print("\n".join(lines))
    print("drawn answers         polite   plain    rude    long  the right word")
    tell("before", base, args.questions)
    for name, folder in folders:
        tell(name, folder, args.questions)
    print(f"\nlikeliest answers, before and after:\n{(folders[0][1] / 'sample.txt').read_text(encoding='utf-8')}")
    return accuracies[0]


if __name__ == "__main__":
    main()
