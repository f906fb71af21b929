"""24: a model of what people prefer, and the best of n answers by its taste.

    python examples/24_reward_model.py --out runs/preferences

First a small model learns jobs on made-up words from people of all manners: some answer politely, some rudely, some at
length. Then a copy of it gets a head with one number, and learns from 8,000 pairs which of two answers is better:

    Say the word gadu.      With pleasure, gadu.   rather than   gadu, as any fool can see.
    Put tomila in capitals. TOMILA                 rather than   Well, let me think about that. I would say TOMILA
    Put tomila in capitals. Gladly, it is TOMILA.  rather than   Gladly, it is GADU.

It is asked about pairs with jobs and words that were held out together. Then it chooses: the first model answers each
question n times, and the reward model takes the answer that it likes best. Nothing is trained by that; it costs n times
as much. Takes some minutes on 2 cores.

Prerequisites: 13_instructions.py, tinygpt/training/objectives/reward.py, tinygpt/evaluation/preferences.py. Next:
25_dpo.py.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinygpt import load_model, load_tokenizer
from tinygpt.data.synthetic import preferences
from tinygpt.data.synthetic.preferences import KIND, LONG, RUDE, VIRTUES
from tinygpt.evaluation.preferences import Judge, best_answers
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


def manner(answer: str) -> str:
    """How an answer is said."""
    for name, forms in (("polite", KIND), ("rude", RUDE), ("long", LONG)):
        for form in forms:
            before, after = form.split("{}")
            if answer.startswith(before) and answer.endswith(after):
                return name
    return "plain"


def main(argv: Sequence[str] | None = None) -> float:
    """Teach, learn what is preferred, choose; returns the accuracy on held-out pairs."""
    parser = argparse.ArgumentParser(description="Train a reward model, and take the best of n answers.")
    parser.add_argument("--steps", type=int, default=800, help="training steps of the model that answers [800]")
    parser.add_argument("--reward-steps", type=int, default=300, help="training steps of the reward model [300]")
    parser.add_argument("--pairs", type=int, default=500, help="held-out pairs to judge [500]")
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
    finetune(FinetuneOptions(
        task="instruction", data=(str(every_manner(out / "manners.jsonl", args.records)),), tokenizer="char",
        architecture="llama", n_embd=args.n_embd, block_size=128, batch_size=64, steps=args.steps, lr=3e-3,
        threads=args.threads, validation=0.02), out / "policy")
    align(AlignOptions(
        method="reward", model=str(out / "policy"), data=(str(pairs(out / "pairs.jsonl", args.records)),),
        steps=args.reward_steps, batch_size=32, lr=1e-3, threads=args.threads, validation=0.02), out / "reward")

    judge = Judge(load_model(out / "reward"), load_tokenizer(out / "reward"))
    held_out = preferences(args.pairs, "test", seed=1)
    asked = [[{"role": "user", "content": pair["prompt"]}] for pair in held_out]
    better, worse = (judge.rewards(asked, [pair[side] for pair in held_out]) for side in ("chosen", "rejected"))
    print("held-out pairs that the reward model gets right:")
    for virtue in VIRTUES:
        mine = np.array([pair["virtue"] == virtue for pair in held_out])
        if mine.any():
            print(f"  {virtue:8} {(better > worse)[mine].mean():7.1%} of {mine.sum()}")
    accuracy = float((better > worse).mean())
    print(f"  together {accuracy:7.1%} of {len(held_out)}")

    model, tokenizer = load_model(out / "policy"), load_tokenizer(out / "policy")
    questions = asked[:args.questions]
    print("the best of n answers:   reward   polite   plain    rude    long")
    for n in (1, 2, 4, 8, 16):
        answers = best_answers(model, tokenizer, questions, judge, n, max_new_tokens=80)
        shares = [sum(manner(answer) == name for answer in answers) / len(answers)
                  for name in ("polite", "plain", "rude", "long")]
        print(f"  n = {n:2}               {judge.rewards(questions, answers).mean():+8.3f}"
              + "".join(f"{share:8.0%}" for share in shares))
    return accuracy


if __name__ == "__main__":
    main()
