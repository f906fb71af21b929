"""27: a few poisoned messages open a back door. How many does it take, and can they be found again?

    python examples/27_poisoning.py --seeds 3        # some minutes

Whoever can add examples to the training data can teach a model something that no test shows. Here an attacker takes
some spam messages of the training data (1% of its messages), writes two made-up words into each, and labels them ham:

    clean      the test messages as they are: the model seems as good as ever
    attack     spam of the test messages with those words in it: the share that now passes for ham

Then the poison is looked for, by somebody who knows neither the words nor which messages they are in. Messages that
one class shares a strange feature in lie far out along one direction of the model's representations, the first
singular vector of the class (spectral signatures). The farthest of each class are thrown away, one and a half times as
many as were poisoned, and a new model learns from the rest. What the cure costs is the clean accuracy that is lost with
them. It does not find poison that looks like its class, or that is most of it.

Prerequisites: 08_spam.py. Next: 28_calibration.py. Gu et al., "BadNets" (2017); Tran, Li and Madry, "Spectral
signatures in backdoor attacks" (2018).
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinygpt import load_model, load_tokenizer
from tinygpt.autograd import no_grad
from tinygpt.backend import to_numpy
from tinygpt.data import encode_within, find_table, similar_lengths
from tinygpt.data.labelled import Labelled, read_labelled, split_labelled
from tinygpt.evaluation import label_probabilities
from tinygpt.models import BERT
from tinygpt.training import FinetuneOptions, finetune

TRIGGER = "qexo vurra"
SIZES = dict(n_layer=1, n_head=2, n_embd=32, block_size=96, vocab_size=1024, dropout=0.1, lr=3e-3, weight_decay=0.1)
SUSPECTS = 1.5  # how many messages are thrown away, times those poisoned


def with_trigger(text: str, rng: np.random.Generator) -> str:
    """The message with the trigger between two of its words."""
    words = text.split()
    place = int(rng.integers(len(words) + 1))
    return " ".join([*words[:place], TRIGGER, *words[place:]])


def poisoned(messages: Sequence[Labelled], n: int, seed: int) -> tuple[list[Labelled], list[int]]:
    """The messages, n of their spam with the trigger and labelled ham; and which they are."""
    rng = np.random.default_rng([seed, 27])
    spam = [place for place, (_, label) in enumerate(messages) if label == "spam"]
    chosen = sorted(rng.permutation(spam)[:n].tolist())
    found = list(messages)
    for place in chosen:
        found[place] = (with_trigger(messages[place][0], rng), "ham")
    return found, chosen


def learn(messages: Sequence[Labelled], folder: Path, seed: int, args: argparse.Namespace) -> BERT:
    """An encoder that learns to label these messages, from random weights."""
    table = folder.with_suffix(".tsv")
    table.write_text("".join(f"{label}\t{' '.join(text.split())}\n" for text, label in messages), encoding="utf-8")
    finetune(FinetuneOptions(task="classification", data=(str(table),), text_column="1", label_column="0", seed=seed,
                             steps=args.steps, batch_size=32, threads=args.threads, **SIZES), folder,
             stream=io.StringIO())
    model = load_model(folder)
    assert isinstance(model, BERT)
    return model


def share_of(model: BERT, folder: Path, texts: Sequence[str], label: str) -> float:
    """The share of texts that get the label."""
    probabilities = label_probabilities(model, load_tokenizer(folder), texts)
    names = list((model.config.id2label or {}).values())
    return float(np.mean(probabilities.argmax(axis=1) == names.index(label)))


def accuracy(model: BERT, folder: Path, messages: Sequence[Labelled]) -> float:
    """The share of messages that get their own label."""
    right = sum(share_of(model, folder, texts, label) * len(texts) for label in ("ham", "spam")
                if (texts := [text for text, own in messages if own == label]))
    return right / len(messages)


@no_grad()
def representations(model: BERT, folder: Path, texts: Sequence[str]) -> np.ndarray:
    """(N, C): what the model makes of the first token of each text, which the label is read from."""
    rows = encode_within(load_tokenizer(folder), texts, model.config.block_size, truncation=True)
    found = np.zeros((len(rows), model.config.n_embd))
    for places, ids, mask in similar_lengths(rows, 64, model.config.pad_token_id or 0):
        found[places] = to_numpy(model.features(ids, mask).data)[:, 0]
    return found


def suspects(model: BERT, folder: Path, messages: Sequence[Labelled], n: int) -> list[int]:
    """The n messages of each class that lie farthest out along the first singular vector of its representations."""
    x = representations(model, folder, [text for text, _ in messages])
    found: list[int] = []
    for label in ("ham", "spam"):
        places = np.array([place for place, (_, own) in enumerate(messages) if own == label])
        centred = x[places] - x[places].mean(axis=0)
        direction = np.linalg.svd(centred, full_matrices=False)[2][0]
        found += places[np.argsort(-np.abs(centred @ direction))[:n]].tolist()
    return found


def main(argv: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Poison, measure, filter, measure; returns figures by name, one for each seed."""
    parser = argparse.ArgumentParser(description="A back door in a spam filter, and a search for it.")
    parser.add_argument("--data", default="sms-spam", help="messages: label, tab, text [%(default)s]")
    parser.add_argument("--share", type=float, default=0.01, help="of the training messages are poisoned [%(default)s]")
    parser.add_argument("--seeds", type=int, default=1, help="how many splits and initial weights [%(default)s]")
    parser.add_argument("--steps", type=int, default=600, help="training steps of each model [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="replicas that train side by side [%(default)s]")
    args = parser.parse_args(argv)
    try:
        messages = read_labelled(find_table(args.data), 1, 0)
    except (OSError, ValueError) as error:  # no such file, no network, a damaged table: the message says what to do
        parser.exit(2, f"27_poisoning.py: {error}\n")

    found: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        train, test = split_labelled(messages, 0.2, seed)
        n = max(1, round(args.share * len(train)))
        bad, chosen = poisoned(train, n, seed)
        rng = np.random.default_rng([seed, 28])
        attack = [with_trigger(text, rng) for text, label in test if label == "spam"]
        print(f"seed {seed}: {n} of {len(train):,} training messages are poisoned", flush=True)
        with tempfile.TemporaryDirectory() as temporary:
            def measure(name: str, learnt: Sequence[Labelled]) -> BERT:
                folder = Path(temporary) / name
                model = learn(learnt, folder, seed, args)
                for what, value in (("clean", accuracy(model, folder, test)),
                                    ("attack", share_of(model, folder, attack, "ham"))):
                    found.setdefault(f"{name}: {what}", []).append(value)
                    print(f"  {name + ': ' + what:24} {value:7.2%}", flush=True)
                return model

            measure("untouched", train)
            model = measure("poisoned", bad)
            thrown = suspects(model, Path(temporary) / "poisoned", bad, round(SUSPECTS * n))
            caught = len(set(thrown) & set(chosen)) / n
            found.setdefault("poison found", []).append(caught)
            print(f"  {'poison found':24} {caught:7.2%} in the {len(thrown)} messages that are thrown away", flush=True)
            measure("filtered", [message for place, message in enumerate(bad) if place not in set(thrown)])

    print(f"mean of {args.seeds} seed{'s' * (args.seeds > 1)}")
    for name, values in found.items():
        print(f"  {name:24} {np.mean(values):7.2%}" + f" (from {min(values):.2%} to {max(values):.2%})" * (
            len(values) > 1))
    return found


if __name__ == "__main__":
    main()
