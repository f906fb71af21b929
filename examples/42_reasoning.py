"""42: many answers to one question: how often one of k is right, and how often the one that is chosen.

    python examples/42_reasoning.py                                                 # 2 minutes of one core, each
    python examples/42_reasoning.py --model smollm2 --digits 2 --questions 50 --samples 8 --tokens 24

A small model learns to add two numbers digit by digit, "5 + 8 = 13; 40 + 70 = 110; 123", and is stopped early. With
--model a public model is asked instead, and shown two sums with their results. Each question is answered n times at a
temperature; the last number of an answer counts, and one that does not come to an end has none. For each k:

    pass@k      one of k answers is right at least: what the model can find, not what it gives. To pick it out takes
                somebody who knows the right answer, or a check.
    majority    what most of k come to (self-consistency): does not tell whether the way there is right; and a mistake
                that is always the same wins the vote. Of two that differ the first is taken, so 2 gain little.
    best of k   the answer whose tokens the model finds the likeliest on average: tells whether it knows when it is
                right, not what another judge would say (24_reward_model.py).
    greedy      the likeliest token each time, once: what the others have to beat, at 1/k of their cost.

Intervals hold 95% of means over questions drawn anew (bootstrap; Wilson's for greedy). All columns are about the same
questions, so a difference of two is surer than their intervals look.

Prerequisites: 13_instructions.py, tinygpt/evaluation/reasoning.py. Chen et al., "Evaluating large language models
trained on code" (2021); Wang et al., "Self-consistency improves chain of thought reasoning in language models" (2022).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path

import numpy as np

from tinygpt import load_model, load_tokenizer
from tinygpt.data.chat_template import ChatTemplate, chat_template
from tinygpt.data.synthetic.draw import Part, in_part_by_name
from tinygpt.evaluation import format_table, wilson_interval
from tinygpt.evaluation.free_answers import last_number
from tinygpt.evaluation.likelihood import score_continuations
from tinygpt.evaluation.reasoning import best_of, pass_at_k, vote_at_k
from tinygpt.generation import absent, left_pad
from tinygpt.models import CausalLM
from tinygpt.training import FinetuneOptions, finetune

RECORDS, SHOWN, BATCH, RESAMPLES = 64, 2, 64, 2000  # sums to learn for each step, to be shown; answers at once


def sums(n: int, digits: int, part: Part, seed: int) -> list[tuple[int, int]]:
    """n pairs of numbers of so many digits; no pair of "test" is in "train"."""
    rng, least = np.random.default_rng([seed, part == "test"]), 10 ** (digits - 1)
    drawn = ((int(rng.integers(least, 10 * least)), int(rng.integers(least, 10 * least))) for _ in count())
    return list(islice((pair for pair in drawn if in_part_by_name(part, f"{min(pair)} {max(pair)}")), n))


def turns(a: int, b: int, answer: str) -> list[dict[str, str]]:
    """A sum that is asked for, and its answer."""
    return [{"role": "user", "content": f"What is {a} plus {b}?"}, {"role": "assistant", "content": answer}]


def worked(a: int, b: int) -> str:
    """The answer that is taught: digit by digit, then the result."""
    parts = [(a // 10 ** i % 10 * 10 ** i, b // 10 ** i % 10 * 10 ** i) for i in range(len(str(a)))]
    return "; ".join([*(f"{x} + {y} = {x + y}" for x, y in parts), str(a + b)])


def learn(folder: Path, args: argparse.Namespace) -> Path:
    """Teaches a small model such sums; returns its folder."""
    data, pairs = folder / "sums.jsonl", sums(RECORDS * args.steps, args.digits, "train", args.seed)
    data.write_text("".join(json.dumps({"messages": turns(*pair, worked(*pair))}) + "\n" for pair in pairs), "utf-8")
    finetune(FinetuneOptions(
        task="instruction", data=(str(data),), tokenizer="char", architecture="llama", n_layer=3, n_embd=64,
        block_size=128, batch_size=32, steps=args.steps, optimizer="muon", lr=4e-3, min_lr=4e-3, dropout=0.0,
        validation=0.02, patience=0, seed=args.seed, threads=1), folder / "model")
    return folder / "model"


def answers(model: CausalLM, template: ChatTemplate, prompts: list[list[int]], n: int, args: argparse.Namespace,
            temperature: float) -> list[list[int]]:
    """n answers to each prompt as ids, those of a prompt together; one that ended has its last id in `stop_ids`."""
    found, step = [], max(1, BATCH // n)
    for start in range(0, len(prompts), step):
        ids, mask = left_pad(prompts[start:start + step])
        rows = model.generate(ids, args.tokens, attention_mask=mask, num_return_sequences=n, temperature=temperature,
                              seed=args.seed * len(prompts) + start, eos_token_id=template.stop_ids,
                              suppress_tokens=absent(template.tokenizer.ids, model.config.vocab_size))
        for row in rows[:, ids.shape[1]:].tolist():
            end = next((place + 1 for place, token in enumerate(row) if token in template.stop_ids), len(row))
            found.append(row[:end])
    return found


def interval(values: np.ndarray, rng: np.random.Generator) -> str:
    """The mean of a figure over questions, (N,), and where 95% of the means of N drawn anew lie."""
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    return "{:.1%} ({:.1%} to {:.1%})".format(values.mean(), *np.percentile(means, [2.5, 97.5]))


def main(argv: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Learn or load, ask, count; returns for each figure its mean for each k."""
    parser = argparse.ArgumentParser(description="Answer sums many times, and count in four ways.")
    parser.add_argument("--model", default=None, help="a model that chats, such as smollm2 [a small one is trained]")
    parser.add_argument("--digits", type=int, default=3, help="of each number [%(default)s]")
    parser.add_argument("--questions", type=int, default=100, help="sums to ask [%(default)s]")
    parser.add_argument("--samples", type=int, default=16, help="answers to each [%(default)s]")
    parser.add_argument("--temperature", type=float, default=0.7, help="at which they are drawn [%(default)s]")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer, at most [%(default)s]")
    parser.add_argument("--steps", type=int, default=300, help="training steps of the small model [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="seed of questions, weights and answers [%(default)s]")
    args = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            name = args.model or learn(Path(folder), args)
            model, template = load_model(name), chat_template(load_tokenizer(name))
        if not isinstance(model, CausalLM):
            raise ValueError(f"{name} writes no text: expected a decoder that chats, got {type(model).__name__}")
    except (OSError, ValueError) as error:  # the model is not installed, say: the message says what to do
        parser.exit(2, f"42_reasoning.py: {error}\n")

    n, asked = args.samples, sums(args.questions, args.digits, "test", args.seed)
    shown = sums(SHOWN if args.model else 0, args.digits, "train", args.seed)
    before = [turn for a, b in shown for turn in turns(a, b, f"{a} + {b} = {a + b}")]
    prompts = [template.prompt([*before, *turns(*pair, "")[:1]]) for pair in asked]
    greedy = answers(model, template, prompts, 1, args, 0.0)
    drawn = answers(model, template, prompts, n, args, args.temperature)
    pairs = [(prompts[place // n], row) for place, row in enumerate(drawn)]
    nats, _ = score_continuations(model, pairs, [n] * len(prompts))
    scores = (-nats / [len(row) for row in drawn]).reshape(-1, n).tolist()
    decode = template.tokenizer.decode
    results = [last_number(decode(row[:-1])) if row[-1] in template.stop_ids else None for row in greedy + drawn]
    found = [results[start:start + n] for start in range(len(asked), len(results), n)]
    right = [[number == a + b for number in numbers] for numbers, (a, b) in zip(found, asked)]
    ks, rows = [2 ** power for power in range(n.bit_length())], range(len(asked))
    values = {"pass@k": np.array([[pass_at_k(n, sum(right[row]), k) for row in rows] for k in ks]),  # (ks, questions)
              "majority": np.array([[vote_at_k(found[row], sum(asked[row]), k) for row in rows] for k in ks]),
              "best of k": np.array([[best_of(scores[row], right[row], k) for row in rows] for k in ks])}
    n_right = sum(number == a + b for number, (a, b) in zip(results, asked))
    print(f"{asked[0][0]} + {asked[0][1]}: {decode(drawn[0], skip_special_tokens=True)}")
    print(f"{len(asked)} sums of {args.digits} digits, {n} answers each")
    rng = np.random.default_rng(args.seed)
    print(format_table([[k, *(interval(value[place], rng) for value in values.values())]
                        for place, k in enumerate(ks)], ["k", *values]))
    print("greedy: {:.1%} ({:.1%} to {:.1%})".format(n_right / len(asked), *wilson_interval(n_right, len(asked))))
    return {name: value.mean(axis=1) for name, value in values.items()}


if __name__ == "__main__":
    main()
