"""12: opinions in Spanish and English, good or bad, from nothing to one line of Python.

    python examples/12_sentiment.py --out runs/sentiment                                 # half a minute on 2 cores

The opinions are synthetic: a seeded grammar makes them up (tinygpt/data/synthetic/sentiment.py), so this says that a
model learns, not that it knows the language. To count good and bad words is not enough there: four in ten are negated.
What is tested are combinations of words that no training sentence has, so naive Bayes, which only counts, stands beside
it. On the command line the same is

    tinygpt finetune --task classification --architecture roberta --data synthetic-sentiment --out runs/sentiment
    tinygpt evaluate --model runs/sentiment --data synthetic-sentiment-test

Prerequisites: 08_spam.py, tinygpt/data/synthetic/sentiment.py. Next: 13_instructions.py.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence

import numpy as np

from tinygpt import pipeline
from tinygpt.data.labelled import read_labelled
from tinygpt.evaluation import NaiveBayes
from tinygpt.training import FinetuneOptions, finetune

SENTENCES = (
    "El servicio al cliente fue excelente y rápido.",
    "La comida fue horrible y el camarero, lento.",
    "El hotel no fue nada aburrido.",
    "The staff was not helpful at all.",
    "The music was wonderful!",
)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, test, and ask; returns accuracies on the test sentences."""
    parser = argparse.ArgumentParser(description="Learn to tell good opinions from bad ones.")
    parser.add_argument("--out", default=None, metavar="DIR", help="keep the model there")
    parser.add_argument("--steps", type=int, default=None, help="training steps [ten passes over the sentences]")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and dropout [%(default)s]")
    parser.add_argument("--threads", type=int, default=None, help="replicas that train side by side [the cores]")
    args = parser.parse_args(argv)

    train, test = read_labelled("synthetic-sentiment"), read_labelled("synthetic-sentiment-test")
    texts, truth = zip(*test)
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or f"{temporary}/sentiment"
        options = FinetuneOptions(task="classification", architecture="roberta", data=("synthetic-sentiment",),
                                  steps=args.steps, seed=args.seed, threads=args.threads)
        try:
            result = finetune(options, out)
        except OSError as error:  # the folder is used already, say: the message says what to do
            parser.exit(2, f"12_sentiment.py: {error}\n")
        if result.interrupted:
            parser.exit(1, f"12_sentiment.py: stopped by {result.interrupted} at step {result.step}\n")
        classify = pipeline("sentiment-analysis", model=out)

    found = {
        "the model": float(np.mean([answer["label"] == label for answer, label in zip(classify(list(texts)), truth)])),
        "naive Bayes": float(np.mean(np.array(NaiveBayes(*zip(*train)).predict(texts)) == np.array(truth))),
    }
    for name, value in found.items():
        print(f"accuracy on {len(test)} sentences of other combinations, {name}: {value:.1%}")
    for sentence, answer in zip(SENTENCES, classify(list(SENTENCES))):
        print(f"{answer['label']:8} {answer['score']:.3f}  {sentence}")
    return found


if __name__ == "__main__":
    main()
