"""28: how sure is it, and how often right? Over-confidence measured, and mended with one number.

    python examples/28_calibration.py --seeds 3        # some minutes

A small encoder learns to tell good from bad film reviews until it knows its training sentences by heart. Then it is
far too sure of itself on others: of the answers that it gives with 95% confidence, many more than one in twenty are
wrong. The sentences that it has not seen are halved. On one half a temperature is fitted; on the other all is measured:

    reliability       in each band of confidence, how often it is right
    calibration error the mean distance of the two
    selective         accuracy if the least sure answers are left to a person

Dividing the logits by a temperature changes no answer, so accuracy and selective answering stay the same: its whole
price is the labelled half that it is fitted on.

Prerequisites: 18_film_reviews.py, tinygpt/evaluation/calibration.py. Guo et al., "On calibration of modern neural
networks" (2017).
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinygpt import load_model, load_tokenizer
from tinygpt.data import find_table
from tinygpt.data.labelled import Labelled, read_labelled
from tinygpt.evaluation import format_table, label_numbers, label_probabilities
from tinygpt.evaluation.calibration import (calibration_error, fit_temperature, reliability, scaled,
                                            selective_accuracy)
from tinygpt.models import BERT
from tinygpt.training import FinetuneOptions, finetune

SIZES = dict(n_layer=1, n_head=1, n_embd=32, block_size=64, vocab_size=6000, dropout=0.0, lr=3e-3, weight_decay=0.0)
COVERAGES = (1.0, 0.8, 0.5)


def write(path: Path, texts: Sequence[Labelled]) -> str:
    """A table without header line: text, label."""
    path.write_text("".join(f"{' '.join(text.split())}\t{label}\n" for text, label in texts), encoding="utf-8")
    return str(path)


def probabilities(train: Sequence[Labelled], unseen: Sequence[Labelled], seed: int,
                  args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """What an encoder that learnt `train` by heart gives each label of the others, (N, K), and their labels, (N,)."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model"
        finetune(FinetuneOptions(
            task="classification", data=(write(Path(folder) / "train.tsv", train),), text_column="0", label_column="1",
            seed=seed, steps=args.steps, batch_size=32, patience=0, threads=args.threads, **SIZES), out,
            stream=io.StringIO())
        model = load_model(out)
        assert isinstance(model, BERT)
        found = label_probabilities(model, load_tokenizer(out), [text for text, _ in unseen])
    names = list((model.config.id2label or {}).values())
    return found, np.array(label_numbers([label for _, label in unseen], names, ["--dev"] * len(unseen)))


def main(argv: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Learn, measure, scale, measure; returns figures by name, one for each seed."""
    parser = argparse.ArgumentParser(description="How sure a classifier is, and how often right.")
    parser.add_argument("--data", default="sst2", help="sentences to learn: text, tab, label [%(default)s]")
    parser.add_argument("--dev", default="sst2-dev", help="others to measure on [%(default)s]")
    parser.add_argument("--seeds", type=int, default=1, help="how many initial weights and halves [%(default)s]")
    parser.add_argument("--steps", type=int, default=1000, help="training steps [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="replicas that train side by side [%(default)s]")
    args = parser.parse_args(argv)
    try:
        train, unseen = (read_labelled(find_table(name), 0, 1) for name in (args.data, args.dev))
    except (OSError, ValueError) as error:  # no such file, no network, a damaged table: the message says what to do
        parser.exit(2, f"28_calibration.py: {error}\n")

    found: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        p, labels = probabilities(train, unseen, seed, args)
        order = np.random.default_rng([seed, 28]).permutation(len(labels))
        fit, test = order[:len(order) // 2], order[len(order) // 2:]
        t = fit_temperature(p[fit], labels[fit])
        mended = scaled(p, t)
        print(f"seed {seed}: temperature {t:.2f}, fitted on {len(fit)} sentences, measured on {len(test)}")
        print(format_table([["as it is", *row] for row in bands(p[test], labels[test])]
                           + [["scaled", *row] for row in bands(mended[test], labels[test])],
                           ["", "answers", "confidence", "right"]), flush=True)
        figures = {"accuracy": selective_accuracy(p[test], labels[test], 1.0), "temperature": t,
                   "calibration error": calibration_error(p[test], labels[test]),
                   "calibration error, scaled": calibration_error(mended[test], labels[test]),
                   **{f"accuracy on the surest {share:.0%}": selective_accuracy(mended[test], labels[test], share)
                      for share in COVERAGES}}
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    print(f"mean of {args.seeds} seed{'s' * (args.seeds > 1)}")
    for name, values in found.items():
        print(f"  {name:32} {np.mean(values):.4f}" + f"  ({min(values):.4f} to {max(values):.4f})" * (len(values) > 1))
    return found


def bands(p: np.ndarray, labels: np.ndarray) -> list[tuple[int, float, float]]:
    """For each band of confidence how many answers it has, how sure they are, and the share of right ones."""
    return [(band.n, band.confidence, band.accuracy) for band in reliability(p, labels)]


if __name__ == "__main__":
    main()
