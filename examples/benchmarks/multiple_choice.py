"""Multiple choice: tinygpt, which reads what the choices share once, beside the same scoring with transformers.

    python examples/benchmarks/multiple_choice.py --model DIR --data hellaswag --limit 100

Both score the same questions with the same weights; transformers as lm-evaluation-harness does, each choice with its
whole context, sorted by length, in batches. The two take turns, a part of the questions each, so that whatever else the
machine does hits both alike. Prints the ratio of times, above 1 where tinygpt is faster, how many choices were the
same, and the accuracy of both by the likelihood of a token. `--apart` has tinygpt read the context with each choice, to
show what sharing gains.

Prerequisites: measuring.py, tinygpt/evaluation/likelihood.py.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from tinygpt import load_model, load_tokenizer
from tinygpt.data import find_table
from tinygpt.evaluation import read_questions, score_continuations
from tinygpt.evaluation.text_pairs import encode_pair


def transformers_side(folder: str, batch_size: int):
    """pairs of ids -> the nats of each continuation."""
    import torch
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.no_grad()
    def score(pairs: list[tuple[list[int], list[int]]]) -> np.ndarray:
        found = np.zeros(len(pairs))
        order = sorted(range(len(pairs)), key=lambda place: -sum(map(len, pairs[place])))
        for start in range(0, len(order), batch_size):
            batch = order[start:start + batch_size]
            rows = [[*pairs[place][0], *pairs[place][1]] for place in batch]
            ids = torch.zeros((len(rows), max(map(len, rows)) - 1), dtype=torch.long)
            for number, row in enumerate(rows):
                ids[number, :len(row) - 1] = torch.tensor(row[:-1])
            logits = model(ids).logits
            for number, (place, row) in enumerate(zip(batch, rows)):
                n = len(pairs[place][1])
                own = torch.log_softmax(logits[number, len(row) - 1 - n:len(row) - 1], dim=-1)
                found[place] = -float(own.gather(1, torch.tensor(row[-n:])[:, None]).sum())
        return found

    return score


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Multiple choice beside transformers.")
    parser.add_argument("--model", required=True, help="a folder in Hugging Face's format")
    parser.add_argument("--data", default="hellaswag", help="questions [%(default)s]")
    parser.add_argument("--limit", type=int, default=100, help="how many questions [%(default)s]")
    parser.add_argument("--part", type=int, default=16, help="questions a turn [%(default)s]")
    parser.add_argument("--batch-size", type=int, default=16, help="of transformers [%(default)s]")
    parser.add_argument("--apart", action="store_true", help="tinygpt shares nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    model, tokenizer = load_model(args.model), load_tokenizer(args.model)
    _, questions = read_questions(find_table(args.data), limit=args.limit)
    theirs = transformers_side(args.model, args.batch_size)
    seconds, right, same, n_tokens = [0.0, 0.0], [0, 0], 0, 0
    for start in range(0, len(questions), args.part):
        part = questions[start:start + args.part]
        pairs = [(before or [tokenizer.eos_token_id or 0], after) for before, after in (
            encode_pair(tokenizer, *pair) for question in part for pair in question.pairs)]
        sizes = [len(question.choices) for question in part]
        n_tokens += sum(len(before) + len(after) for before, after in pairs)
        costs = []
        for side, score in enumerate((lambda: score_continuations(model, pairs, None if args.apart else sizes)[0],
                                      lambda: theirs(pairs))):
            begin = time.perf_counter()
            costs.append(score())
            seconds[side] += time.perf_counter() - begin
        ends = np.cumsum([0, *sizes])
        same += sum(costs[0][a:b].argmin() == costs[1][a:b].argmin() for a, b in zip(ends, ends[1:]))
        lengths = np.array([len(after) for _, after in pairs])
        for side in (0, 1):
            right[side] += sum(int((costs[side] / lengths)[a:b].argmin()) == question.answer
                               for question, a, b in zip(part, ends, ends[1:]))
    figures = {"ratio": seconds[1] / seconds[0], "questions": len(questions), "same_choice": int(same),
               "accuracy_per_token": right[0] / len(questions), "transformers_per_token": right[1] / len(questions),
               "tokens": n_tokens, "tinygpt_s": seconds[0], "transformers_s": seconds[1]}
    print(json.dumps(figures) if args.json else "\n".join(f"{name:24} {value:,.3f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
