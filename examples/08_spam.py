"""08: spam or not: what a small encoder learns from 1,200 text messages, from 100, and from none.

    python examples/08_spam.py                     # downloads the messages, or finds them in TINYGPT_DATA; a minute
    python examples/08_spam.py --seeds 5           # means with their standard errors

As many ham as spam messages are drawn, a fifth of them to test; equal messages stay on one side. Three questions:

 1. From random weights, how good does an encoder become? Better than counting words (naive Bayes)?
 2. If only 100 messages are labelled, does it help to have read all the others first, with words hidden?
 3. From that pretrained start, do adapters (LoRA), a few percent of the numbers, do as well as all of the weights?

The first of them on the command line, for a file of your own with the label in its first column:

    tinygpt finetune --task classification --data sms-spam --text-column 1 --label-column 0 --out runs/spam

Prerequisites: 10_masked_words.py, tinygpt/training/objectives/classification.py. Next: 12_sentiment.py.
"""

from __future__ import annotations

import argparse
import io
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinygpt import load_model, load_tokenizer
from tinygpt.data import find_table
from tinygpt.data.labelled import Labelled, label_names, read_labelled, split_labelled
from tinygpt.evaluation import NaiveBayes, label_probabilities
from tinygpt.models import BERT, load_adapted
from tinygpt.training import FinetuneOptions, PretrainOptions, finetune, pretrain

SIZES = dict(n_layer=1, n_head=2, n_embd=32, block_size=96, vocab_size=1024, dropout=0.3)
# Chosen on a quarter of the training messages. Decay keeps a new model simple. Adapters of rank 1 are enough, since the
# token table has one too: they reach 96% there; on attention alone, adapters of rank 4 reach 85%.
NEW = SIZES | dict(lr=3e-3, weight_decay=1.0)
ADAPTERS = dict(lora=1)


def balanced(messages: Sequence[Labelled], seed: int) -> list[Labelled]:
    """As many messages of each class as the smallest has, drawn at random."""
    rng = np.random.default_rng([seed, 8])
    names = label_names(messages)
    n = min(sum(label == name for _, label in messages) for name in names)
    chosen = [rng.permutation([i for i, (_, label) in enumerate(messages) if label == name])[:n] for name in names]
    return [messages[i] for i in sorted(np.concatenate(chosen).tolist())]


def write(path: Path, messages: Sequence[Labelled]) -> str:
    """A table without header line: label, text."""
    path.write_text("".join(f"{label}\t{' '.join(text.split())}\n" for text, label in messages), encoding="utf-8")
    return str(path)


def accuracy(folder: Path, messages: Sequence[Labelled]) -> float:
    """The share of messages that the model in a folder labels right."""
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    assert isinstance(model, BERT) and model.config.id2label is not None
    found = label_probabilities(model, tokenizer, [text for text, _ in messages]).argmax(axis=1)
    return float(np.mean([model.config.id2label[int(number)] == label for number, (_, label) in zip(found, messages)]))


def trained_share(folder: Path) -> float:
    """How much of the numbers of the model in an adapter's folder was trained."""
    model = load_adapted(folder, merge=False)
    return sum(parameter.size for parameter in model.parameters() if parameter.requires_grad) / model.n_parameters


class Bench:
    """One seed's messages, and a folder for what is trained on them."""

    def __init__(self, messages: Sequence[Labelled], folder: Path, seed: int, args: argparse.Namespace) -> None:
        self.folder, self.seed, self.args = folder, seed, args
        self.train, self.test = split_labelled(balanced(messages, seed), 0.2, seed)
        tested = {text for text, _ in self.test}
        unlabelled = [text for text, _ in messages if text not in tested]  # reading the test would be cheating
        self.unlabelled = folder / "unlabelled.txt"
        self.unlabelled.write_text("\n".join(unlabelled), encoding="utf-8")
        few = np.random.default_rng([seed, 100]).permutation(len(self.train))[:args.labels]
        self.few = [self.train[i] for i in sorted(few.tolist())]

    def tune(self, name: str, messages: Sequence[Labelled], **options) -> float:
        """Fine-tune on some messages; the accuracy on the test messages."""
        a = self.args
        given: dict = {} if "model" in options else NEW
        steps = a.steps or (None if "model" in options else 300)
        finetune(FinetuneOptions(
            task="classification", data=(write(self.folder / f"{name}.tsv", messages),), text_column="1",
            label_column="0", seed=self.seed, threads=a.threads, steps=steps, **given | options), self.folder / name,
            stream=io.StringIO())
        return accuracy(self.folder / name, self.test)

    def count_words(self, messages: Sequence[Labelled]) -> float:
        """Naive Bayes from the same messages; its accuracy on the test messages."""
        found = NaiveBayes([text for text, _ in messages], [label for _, label in messages]).predict(
            [text for text, _ in self.test])
        return float(np.mean([label == truth for label, (_, truth) in zip(found, self.test)]))

    def read(self) -> str:
        """Pretrain on all messages that are not tested, without their labels: guess hidden words."""
        out = self.folder / "pretrained"
        pretrain(PretrainOptions(
            objective="masked", data=(str(self.unlabelled),), steps=self.args.steps or 1500, batch_size=32,
            seed=self.seed, threads=self.args.threads, validation=0.05, **SIZES), out, stream=io.StringIO())
        return str(out)


def mean(values: Sequence[float]) -> str:
    """A mean with its standard error, in percent."""
    error = f" ± {100 * np.std(values, ddof=1) / math.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):6.2f}%{error}"


def main(argv: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Train and compare; returns accuracies by name, one for each seed."""
    parser = argparse.ArgumentParser(description="Learn to tell spam from ham.")
    parser.add_argument("--data", default="sms-spam", help="messages: label, tab, text [%(default)s]")
    parser.add_argument("--seeds", type=int, default=1, help="how many splits and initial weights [%(default)s]")
    parser.add_argument("--labels", type=int, default=100, help="labelled messages where few are [%(default)s]")
    parser.add_argument("--questions", type=int, default=3, choices=(1, 2, 3),
                        help="answer only the first so many [%(default)s]")
    parser.add_argument("--steps", type=int, default=None, help="training steps of every run [chosen for each]")
    parser.add_argument("--threads", type=int, default=1, help="replicas that train side by side; the figures in "
                        "docs/results.md are those of one [%(default)s]")
    args = parser.parse_args(argv)
    try:
        messages = read_labelled(find_table(args.data), 1, 0)
    except (OSError, ValueError) as error:  # no such file, no network, a damaged table: the message says what to do
        parser.exit(2, f"08_spam.py: {error}\n")

    found: dict[str, list[float]] = {}
    share = 0.0
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            bench, start = Bench(messages, Path(folder), seed, args), time.perf_counter()
            print(f"seed {seed}: {len(bench.train):,} messages to learn from, {len(bench.test)} to test", flush=True)

            def note(name: str, value: float) -> None:
                nonlocal start
                found.setdefault(name, []).append(value)
                print(f"  {name:44} {value:7.2%}  {time.perf_counter() - start:5.0f} s", flush=True)
                start = time.perf_counter()

            note("words counted (naive Bayes)", bench.count_words(bench.train))
            note("an encoder from random weights", bench.tune("scratch", bench.train))
            if args.questions == 1:
                continue
            note(f"{args.labels} labels: words counted", bench.count_words(bench.few))
            note(f"{args.labels} labels: from random weights", bench.tune("few", bench.few))
            pretrained = bench.read()
            note(f"{args.labels} labels: after reading the others", bench.tune("few-read", bench.few, model=pretrained))
            if args.questions == 2:
                continue
            note("all labels: after reading, all weights", bench.tune("full", bench.train, model=pretrained))
            note("all labels: after reading, adapters", bench.tune("lora", bench.train, model=pretrained, **ADAPTERS))
            share = trained_share(bench.folder / "lora")

    print(f"test accuracy, {args.seeds} seed{'s' * (args.seeds > 1)}" + " (mean ± standard error)" * (args.seeds > 1))
    for name, values in found.items():
        print(f"  {name:44} {mean(values)}")
    if args.questions == 1:
        return found
    gains = np.subtract(*(found[f"{args.labels} labels: {name}"] for name in (
        "after reading the others", "from random weights")))
    print(f"  {'the gain from reading':44} {mean(gains.tolist())}")
    if share:
        print(f"  {'the numbers that adapters train':44} {share:7.2%}")
    return found


if __name__ == "__main__":
    main()
