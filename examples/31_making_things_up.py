"""31: questions that the text does not answer. Why a model answers all the same, and how it learns to say so.

    python examples/31_making_things_up.py --seeds 3        # some minutes

A small GPT reads a few sentences about somebody and answers a question:

    home is rome . food is not tea . pet is dog . home ?  ->  rome

In its training every question has an answer in its text, as in most collections of questions. So it has never had a
reason to say anything else, and asked for what the text does not say, it names something. Two kinds of such questions:

    absent      the text says nothing of it: "job ?"
    denied      the text says only what it is not: "food ?"

Three models: taught nothing of this; taught to say "unknown" where nothing is said; taught both kinds. Printed is how
often each answers what nobody can know, and the price: questions with an answer that are answered right, and those that
it now calls unknown. A cure that asks for no training stands beside: the first model's answers below a confidence are
taken for "unknown", with the bound that costs a twentieth of the right answers.

Prerequisites: 15_few_shot.py, 28_calibration.py. Next: 32_bias.py. Rajpurkar, Jia and Liang, "Know what you don't know:
unanswerable questions for SQuAD" (2018).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence

import numpy as np

import tinygpt
from tinygpt import ops
from tinygpt.autograd import no_grad
from tinygpt.data import IGNORE, pad
from tinygpt.evaluation import format_table
from tinygpt.models import GPT, GPTConfig
from tinygpt.training import Criterion, Trainer, TrainingOptions, language_loss

SAID = {"home": "rome paris london berlin oslo cairo lima delhi".split(),
        "food": "tea bread soup rice honey plums cheese nuts".split(),
        "pet": "dog cat horse parrot snake mouse goat duck".split(),
        "job": "nurse pilot baker miner judge clerk tailor guard".split(),
        "colour": "red blue green black white yellow brown pink".split()}
UNKNOWN = "unknown"
WORDS = ["<pad>", ".", "?", "is", "not", UNKNOWN, *SAID, *(word for words in SAID.values() for word in words)]
ID = {word: number for number, word in enumerate(WORDS)}
BATCH = 32
KINDS = ("answered", "absent", "denied")


def draw(rng: random.Random, kinds: Sequence[str]) -> tuple[list[int], list[int]]:
    """(ids, targets) of a text and a question of each kind, with its answer; −100 where nothing is to be answered."""
    topics = rng.sample(list(SAID), len(SAID))  # three are said, one or two of them denied, and two are not mentioned
    n = rng.randint(1, 2)
    of_kind = {"answered": topics[n:3], "absent": topics[3:], "denied": topics[:n]}
    said = {topic: rng.choice(SAID[topic]) for topic in topics[:3]}
    words = " ".join(f"{topic} is {'not ' * (topic in of_kind['denied'])}{said[topic]} ."
                     for topic in rng.sample(topics[:3], 3)).split()
    targets = [IGNORE] * len(words)
    for kind in kinds:
        topic = rng.choice(of_kind[kind])
        answer = said[topic] if kind == "answered" else UNKNOWN
        words += [topic, "?", answer]
        targets += [IGNORE, ID[answer], IGNORE]
    return [ID[word] for word in words[:-1]], targets[:-1]


class Questions:
    """Batches of texts with four questions each; a quarter of these, if any kind is taught, have no answer."""

    def __init__(self, seed: int, taught: Sequence[str]) -> None:
        self.seed, self.taught = seed, taught

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """{"ids", "targets"}, (BATCH, T) each; only the answers count."""
        rng = random.Random(f"{self.seed}, {step}")
        kinds = [[rng.choice(self.taught) if self.taught and rng.random() < 0.25 else "answered" for _ in range(4)]
                 for _ in range(BATCH)]
        ids, targets = zip(*(draw(rng, row) for row in kinds))
        return {"ids": pad(ids, ID["<pad>"]), "targets": pad(targets, IGNORE)}


def learn(seed: int, taught: Sequence[str], args: argparse.Namespace) -> GPT:
    """A model that has learnt to answer, and where to say that it does not know."""
    tinygpt.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=len(WORDS), block_size=64, n_layer=2, n_head=4, n_embd=64, architecture="llama",
                          initializer_range=0.08))
    Trainer(model, Criterion(language_loss), Questions(seed, taught), TrainingOptions(
        steps=args.steps, batch_size=BATCH, lr=3e-3, min_lr=0.0, seed=seed, threads=args.threads)).run()
    return model.eval()


@no_grad()
def answers(model: GPT, questions: Sequence[tuple[list[int], list[int]]]) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest answer to each question and its probability, (N,) each."""
    rows = [ids for ids, _ in questions]
    logits = model(pad(rows, ID["<pad>"])).data[np.arange(len(rows)), [len(row) - 1 for row in rows]]  # (N, V)
    p = ops.softmax(logits.astype(np.float64), axis=-1).data
    return p.argmax(axis=1), p.max(axis=1)


def main(argv: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Train, ask, count; returns for each model its shares, (seeds, 4)."""
    parser = argparse.ArgumentParser(description="Questions without an answer, before and after teaching to say so.")
    parser.add_argument("--seeds", type=int, default=1, help="how many initial weights and questions [%(default)s]")
    parser.add_argument("--steps", type=int, default=500, help="training steps of each model [%(default)s]")
    parser.add_argument("--tests", type=int, default=500, help="questions of each kind [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="replicas that train side by side; the figures in "
                        "docs/results.md are those of one [%(default)s]")
    args = parser.parse_args(argv)

    found: dict[str, list[list[float]]] = {}
    for seed in range(args.seeds):
        rng = random.Random(f"tests {seed}")
        asked = {kind: [draw(rng, [kind]) for _ in range(args.tests)] for kind in KINDS}
        fitted = [draw(rng, ["answered"]) for _ in range(args.tests)]  # the bound on confidence is chosen on these
        truth = np.array([targets[-1] for _, targets in asked["answered"]])

        def note(name: str, model: GPT, bound: float = 0.0) -> None:
            said, invented = {}, {}
            for kind, questions in asked.items():
                answer, p = answers(model, questions)
                said[kind] = np.where(p < bound, ID[UNKNOWN], answer)
                invented[kind] = float(np.mean(said[kind] != ID[UNKNOWN]))
            right = float(np.mean(said["answered"] == truth))
            found.setdefault(name, []).append([invented["absent"], invented["denied"], right, 1 - invented["answered"]])
            print(f"seed {seed}: {name}: answers {invented['absent']:.1%} of absent, {invented['denied']:.1%} of "
                  f"denied, {right:.1%} right", flush=True)

        plain = learn(seed, (), args)
        note("taught nothing", plain)
        note("the same, if it is sure", plain, float(np.quantile(answers(plain, fitted)[1], 0.05)))
        note("taught absent", learn(seed, ("absent",), args))
        note("taught both", learn(seed, ("absent", "denied"), args))

    shares = {name: np.array(rows) for name, rows in found.items()}
    print(f"\nmean of {args.seeds} seed{'s' * (args.seeds > 1)}, {args.tests} questions of each kind")
    print(format_table([[name, *(f"{value:.1%}" for value in rows.mean(axis=0))] for name, rows in shares.items()],
                       ["", "absent: answers", "denied: answers", "known: right", "known: unknown"]))
    return shares


if __name__ == "__main__":
    main()
