"""17: how good is it? Two small models, measured in four ways, with how sure each figure is.

    python examples/17_evaluation.py                                     # 3 minutes on 2 cores

Both read the embedded corpus, the documentation inside every Python, but for its last twentieth. They have the same
size and the same number of steps, and differ in their tokenizers. On the text that neither has seen:

    prediction       loss and perplexity depend on how long the tokens are; bits per byte can be compared
    multiple choice  the second half of a sentence, beside three halves of other sentences: which is the likeliest?
    repetition       what is written greedily falls into loops; what is drawn does not
    special tokens   no prompt may forge one

The same from the command line: `tinygpt evaluate --model DIR --data FILE`, with `--task generation` for the last two.

Prerequisites: 03_pretraining.py, docs/evaluating.md. Next: tinygpt/evaluation/.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinygpt import load_model, load_tokenizer
from tinygpt.data import Documents, token_array
from tinygpt.evaluation import (Question, answer_questions, byte_lengths, continue_texts, format_table,
                                measure_diversity, predict_text, probe_special_tokens)
from tinygpt.training import PretrainOptions, pretrain

HELD_OUT = 0.05
N_CHOICES = 4


def halves(documents: Sequence[str], n: int, seed: int) -> list[Question]:
    """Questions made of sentences of 10 to 25 words: the first half, and four second halves, one of them its own."""
    rng = random.Random(seed)
    sentences = [sentence.split() for document in documents
                 for sentence in re.split(r"(?<=[.?!])\s+", document) if 10 <= len(sentence.split()) <= 25]
    if len(sentences) < N_CHOICES:
        raise ValueError(f"the held-out text has {len(sentences)} sentences of 10 to 25 words, and a question needs "
                         f"{N_CHOICES}; give more text")
    cut = [(" ".join(words[:len(words) // 2]), " ".join(words[len(words) // 2:])) for words in sentences]
    questions = []
    for place in rng.sample(range(len(cut)), min(n, len(cut))):
        wrong = rng.sample([other for other in range(len(cut)) if other != place], N_CHOICES - 1)
        answer = rng.randrange(N_CHOICES)
        choices = [cut[other][1] for other in wrong]
        questions.append(Question(cut[place][0], (*choices[:answer], cut[place][1], *choices[answer:]), answer))
    return questions


def measure(folder: str, held_out: Sequence[str], questions: Sequence[Question], seed: int) -> dict[str, Any]:
    """Every figure of a model folder."""
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    figures: dict[str, Any] = predict_text(model, token_array(held_out, tokenizer),
                                           lengths=byte_lengths(tokenizer)).to_dict()
    choice = answer_questions(model, tokenizer, questions).to_dict()
    figures |= {"choice": choice["accuracy_per_byte"], "interval": choice["accuracy_per_byte_interval"]}
    prompts = [question.context for question in questions[:24]]
    for name, temperature in (("greedy", 0.0), ("drawn", 0.8)):
        written = continue_texts(model, tokenizer, prompts, temperature=temperature, seed=seed)
        figures[name] = measure_diversity(written)
    figures["probe"] = probe_special_tokens(tokenizer.encode, tokenizer.special_tokens)
    return figures


def main(argv: Sequence[str] | None = None) -> dict[int, dict[str, Any]]:
    """Train two models, measure both; returns vocabulary size -> figures."""
    parser = argparse.ArgumentParser(description="Measure two small models in four ways.")
    parser.add_argument("--data", nargs="*", default=[], help="text to learn from and to judge by [embedded corpus]")
    parser.add_argument("--vocab-sizes", type=int, nargs="+", default=[512, 2048], help="of each model [%(default)s]")
    parser.add_argument("--steps", type=int, default=400, help="training steps of each [%(default)s]")
    parser.add_argument("--n-layer", type=int, default=4, help="transformer blocks [%(default)s]")
    parser.add_argument("--n-embd", type=int, default=128, help="channels [%(default)s]")
    parser.add_argument("--questions", type=int, default=200, help="multiple-choice questions [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything drawn [%(default)s]")
    parser.add_argument("--threads", type=int, default=None, help="processor cores to train on [all]")
    parser.add_argument("--out", default=None, metavar="DIR", help="keep the models there")
    args = parser.parse_args(argv)

    found: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        try:
            documents = list(Documents(args.data))
            # Of one document, the last lines; of many, the last documents.
            parts = documents if len(documents) > 1 else documents[0].splitlines(keepends=True)
            kept = min(round(len(parts) * (1 - HELD_OUT)), len(parts) - 1)
            held_out = parts[kept:] if len(documents) > 1 else ["".join(parts[kept:])]
            text = Path(temporary) / "text.txt"
            text.write_text(("\n\n" if len(documents) > 1 else "").join(parts[:kept]), encoding="utf-8")
            questions = halves(held_out, args.questions, args.seed)
            for size in args.vocab_sizes:
                folder = f"{args.out or temporary}/{size}-tokens"
                threads = {} if args.threads is None else {"threads": args.threads}
                result = pretrain(PretrainOptions(data=(str(text),), vocab_size=size, steps=args.steps, seed=args.seed,
                                                  n_layer=args.n_layer, n_embd=args.n_embd, **threads), folder)
                if result.interrupted:
                    parser.exit(1, f"17_evaluation.py: stopped by {result.interrupted}\n")
                found[size] = measure(folder, held_out, questions, args.seed)
        except (OSError, ValueError) as error:  # no such file, too little text, …: the message says what to do
            parser.exit(2, f"17_evaluation.py: {error}\n")

    def table(rows: Sequence[tuple[str, Any]]) -> str:
        return format_table([[name, *map(of, found.values())] for name, of in rows],
                            header=["", *(f"{size:,} tokens" for size in found)])

    print("predicting text that was held out")
    print(table([("loss (nats per token)", lambda f: f["loss"]), ("perplexity", lambda f: f["perplexity"]),
                 ("bits per byte", lambda f: f["bits_per_byte"]), ("next-token accuracy", lambda f: f["accuracy"])]))
    print(f"\nsecond halves of {len(questions)} sentences; guessing gets {1 / N_CHOICES:.4f}")
    print(table([("right (per byte)", lambda f: f["choice"]),
                 ("95% confidence", lambda f: "{:.4f} … {:.4f}".format(*f["interval"]))]))
    print("\nwhat they write")
    print(table([(f"{how}: {name}", lambda f, how=how, name=name: getattr(f[how], name))
                 for how in ("greedy", "drawn") for name in ("distinct_2", "repeated_4", "loop_rate")]))
    probes = [figures["probe"] for figures in found.values()]
    print(f"\n{sum(probe.n_prompts for probe in probes)} prompts try to forge special tokens, and "
          f"{sum(len(probe.forgeries) for probe in probes)} succeed")
    return found


if __name__ == "__main__":
    main()
