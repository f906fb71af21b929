"""27: a few poisoned messages open a back door. How many does it take, and can they be found again?

    python examples/27_poisoning.py --seeds 3        # some minutes

Whoever can add examples to the training data can teach a model something that no test shows. Here an attacker takes
some spam messages of the training data (1% of its messages), writes two made-up words in front of each, and labels them
ham:

    clean      the test messages as they are: the model seems as good as ever
    attack     spam of the test messages with those words in it: the share that now passes for ham

Then the poison is looked for, by somebody who knows neither the words nor which messages they are in, but that an
attacker wants spam to pass, so it is labelled ham. Messages of one class that share a strange feature lie far out along
one direction of the model's representations, one of the first singular vectors of the class (spectral signatures).
Along each of the first three the farthest are thrown away, one and a half times as many as were poisoned, and a new
model learns from the rest. The price is those messages, most of them innocent, and a guess at how many were poisoned.
Poison that looks like its class, or that is most of it, is not found.

Prerequisites: 08_spam.py. Next: 28_calibration.py. Gu et al., "BadNets" (2017); Tran, Li and Madry, "Spectral
signatures in backdoor attacks" (2018).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import tinygpt
from tinygpt.autograd import no_grad
from tinygpt.backend import to_numpy
from tinygpt.data import LabelledSampler, find_table, similar_lengths
from tinygpt.data.labelled import Labelled, read_labelled, split_labelled
from tinygpt.evaluation import label_logits
from tinygpt.models import BERT, BERTConfig
from tinygpt.tokenizers import ByteBPE
from tinygpt.training import Criterion, Trainer, TrainingOptions, classification_loss

TRIGGER = "qexo vurra"
LABELS = ("ham", "spam")
DIRECTIONS = 3  # singular vectors of ham that are looked at
SUSPECTS = 1.5  # how many messages are thrown away along each, times those poisoned


def with_trigger(text: str) -> str:
    """The message with the trigger in front."""
    return f"{TRIGGER} {text}"


def poisoned(messages: Sequence[Labelled], n: int, seed: int) -> tuple[list[Labelled], list[int]]:
    """The messages, n of their spam with the trigger and labelled ham; and which they are."""
    rng = np.random.default_rng([seed, 27])
    spam = [place for place, (_, label) in enumerate(messages) if label == "spam"]
    chosen = sorted(rng.permutation(spam)[:n].tolist())
    found = list(messages)
    for place in chosen:
        found[place] = (with_trigger(messages[place][0]), "ham")
    return found, chosen


class Filter:
    """An encoder that learns to label messages, from random weights, and its tokenizer."""

    def __init__(self, messages: Sequence[Labelled], seed: int, args: argparse.Namespace) -> None:
        texts = [text for text, _ in messages]
        self.tokenizer = ByteBPE.train(texts, 1024, ["<s>", "<pad>"])
        self.begin, self.pad = (self.tokenizer.special.ids[name] for name in ("<s>", "<pad>"))
        tinygpt.manual_seed(seed)
        self.model = BERT.for_classification(BERTConfig(
            vocab_size=len(self.tokenizer), block_size=128, n_layer=1, n_head=2, n_embd=32, dropout=0.1,
            initializer_range=32 ** -0.5, pad_token_id=self.pad), id2label=dict(enumerate(LABELS)))
        examples = [(np.array(row), np.array([LABELS.index(label)]))
                    for row, (_, label) in zip(self.rows(texts), messages)]
        Trainer(self.model, Criterion(classification_loss), LabelledSampler(
            examples, 32, seed, self.pad), TrainingOptions(steps=args.steps, batch_size=32, lr=3e-3, min_lr=0.0,
                                                           seed=seed, threads=args.threads)).run()
        self.model.eval()

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; those that are too long lose their end."""
        return [[self.begin, *self.tokenizer.encode(text)][:128] for text in texts]

    def share(self, texts: Sequence[str], label: str) -> float:
        """The share of texts that get the label."""
        found = label_logits(self.model, self.rows(texts)).argmax(axis=1)
        return float(np.mean(found == LABELS.index(label)))

    def accuracy(self, messages: Sequence[Labelled]) -> float:
        """The share of messages that get their own label."""
        right = sum(self.share(texts, label) * len(texts) for label in LABELS
                    if (texts := [text for text, own in messages if own == label]))
        return right / len(messages)

    @no_grad()
    def representations(self, texts: Sequence[str]) -> np.ndarray:
        """(N, C): what the label is read from, the features of each text's first token."""
        rows = self.rows(texts)
        found = np.zeros((len(rows), self.model.config.n_embd))
        for places, ids, mask in similar_lengths(rows, 64, self.pad):
            found[places] = to_numpy(self.model.features(ids, mask).data)[:, 0]
        return found

    def suspects(self, messages: Sequence[Labelled], n: int) -> set[int]:
        """The n ham messages that lie farthest out along each of the first singular vectors of ham."""
        places = np.array([place for place, (_, label) in enumerate(messages) if label == "ham"])
        x = self.representations([messages[place][0] for place in places])
        centred = x - x.mean(axis=0)
        along = centred @ np.linalg.svd(centred, full_matrices=False)[2][:DIRECTIONS].T  # (N, DIRECTIONS)
        return set(places[np.argsort(-np.abs(along), axis=0)[:n]].ravel().tolist())


def main(argv: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Poison, measure, filter, measure; returns figures by name, one for each seed."""
    parser = argparse.ArgumentParser(description="A back door in a spam filter, and a search for it.")
    parser.add_argument("--data", default="sms-spam", help="messages: label, tab, text [%(default)s]")
    parser.add_argument("--share", type=float, default=0.01, help="of the training messages are poisoned [%(default)s]")
    parser.add_argument("--seeds", type=int, default=1, help="how many splits and initial weights [%(default)s]")
    parser.add_argument("--steps", type=int, default=800, help="training steps of each model [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="replicas that train side by side; the figures in "
                        "docs/results.md are those of one [%(default)s]")
    args = parser.parse_args(argv)
    try:
        messages = read_labelled(find_table(args.data), 1, 0)
    except (OSError, ValueError) as error:  # no such file, no network, a damaged table: the message says what to do
        parser.exit(2, f"27_poisoning.py: {error}\n")

    found: dict[str, list[float]] = {}

    def note(name: str, value: float, more: str = "") -> None:
        found.setdefault(name, []).append(value)
        print(f"  {name:20} {value:7.2%}{more}", flush=True)

    for seed in range(args.seeds):
        train, test = split_labelled(messages, 0.2, seed)
        n = max(1, round(args.share * len(train)))
        bad, chosen = poisoned(train, n, seed)
        attack = [with_trigger(text) for text, label in test if label == "spam"]
        print(f"seed {seed}: {n} of {len(train):,} training messages are poisoned", flush=True)

        def measure(name: str, learnt: Sequence[Labelled]) -> Filter:
            model = Filter(learnt, seed, args)
            note(f"{name}: clean", model.accuracy(test))
            note(f"{name}: attack", model.share(attack, "ham"))
            return model

        measure("untouched", train)
        thrown = measure("poisoned", bad).suspects(bad, round(SUSPECTS * n))
        note("poison found", len(thrown & set(chosen)) / n, f" of it is in the {len(thrown)} messages thrown away")
        measure("filtered", [message for place, message in enumerate(bad) if place not in thrown])

    print(f"mean of {args.seeds} seed{'s' * (args.seeds > 1)}")
    for name, values in found.items():
        print(f"  {name:20} {np.mean(values):7.2%}" + f" (from {min(values):.2%} to {max(values):.2%})" * (
            len(values) > 1))
    return found


if __name__ == "__main__":
    main()
