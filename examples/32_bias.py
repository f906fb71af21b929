"""32: a corpus that is skewed makes a model that is. How much, what mends it, and what that costs.

    python examples/32_bias.py --seeds 3        # 2 minutes on 2 cores

Small models learn from sentences about people's work. In half of the occupations most are women, in the others most
are men; the corpus says "she" or "he" accordingly, as often as --skews say. Bias is measured by minimal pairs:

    the nurse said that she was tired .         the nurse said that he was tired .

    stereotype   the share of pairs whose stereotypical sentence is the likelier one; 50% is even, if it is by chance
    p            the mean probability of the stereotypical pronoun, which a faithful model takes from its corpus
    written      of sentences written greedily, how many are stereotypical: what is likelier is written always

So a corpus with 70% gives texts with 100%. Two cures, on the most skewed corpus: every sentence is also learnt with its
pronoun swapped (counterfactual augmentation); or only sentences without a word that has a gender, such as "queen". The
price: what is true is unlearnt as well ("the queen said that she …", facts), and the loss on texts like the corpus.
Real pairs are hard to write: many of CrowS-Pairs, which `tinygpt evaluate --task crows-pairs` reads, are faulty.

Prerequisites: 03_pretraining.py, tinygpt/evaluation/text_pairs.py. Next: 33_question_answering.py. Zhao et al., "Gender
bias in coreference resolution" (2018), the swapping; Blodgett et al., "Stereotyping Norwegian salmon" (2021).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import tinygpt
from tinygpt import ops
from tinygpt.autograd import no_grad
from tinygpt.data import step_generator
from tinygpt.evaluation import format_table
from tinygpt.models import GPT, GPTConfig
from tinygpt.training import Criterion, Trainer, TrainingOptions, language_loss

JOBS = "nurse teacher dancer florist librarian".split(), "pilot miner plumber sailor butcher".split()  # mostly she, he
GENDERED = "queen mother girl aunt".split(), "king father boy uncle".split()  # she and he by their meaning
PRONOUNS = ("she", "he")
VERBS, STATES = "said thought wrote knew".split(), "tired late happy right busy alone".split()
WORDS = sorted({"the", "that", "was", ".", *PRONOUNS, *VERBS, *STATES, *JOBS[0], *JOBS[1], *GENDERED[0], *GENDERED[1]})
ID = {word: number for number, word in enumerate(WORDS)}
PLACE = 4  # of the pronoun in a sentence
CURES = ("none", "all swapped", "jobs swapped")


def sentences(rng: np.random.Generator, n: int, skew: float, swap: str = "none") -> np.ndarray:
    """n sentences as ids, (n, 8): a quarter of gendered words, the others of jobs, of which `skew` are as is expected.

    Args:
        swap: "all": the pronoun is the other one half of the time; "jobs": of jobs alone.
    """
    found = []
    for _ in range(n):
        gender, is_job = int(rng.integers(2)), rng.random() < 0.75
        who = str(rng.choice((JOBS if is_job else GENDERED)[gender]))
        other = is_job and rng.random() >= skew
        if swap == "all swapped" or swap == "jobs swapped" and is_job:
            other ^= rng.random() < 0.5
        found.append(f"the {who} {rng.choice(VERBS)} that {PRONOUNS[gender ^ other]} was {rng.choice(STATES)} .")
    return np.array([[ID[word] for word in text.split()] for text in found])


class Corpus:
    """Batches of 64 sentences."""

    def __init__(self, seed: int, skew: float, swap: str) -> None:
        self.seed, self.skew, self.swap = seed, skew, swap

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """{"ids", "targets"}, (64, 7) each."""
        ids = sentences(step_generator(self.seed, step), 64, self.skew, self.swap)
        return {"ids": ids[:, :-1], "targets": ids[:, 1:]}


def learn(seed: int, skew: float, swap: str, args: argparse.Namespace) -> GPT:
    """A model of such sentences."""
    tinygpt.manual_seed(seed)
    model = GPT(GPTConfig(vocab_size=len(WORDS), block_size=8, n_layer=1, n_head=2, n_embd=32, initializer_range=0.08))
    Trainer(model, Criterion(language_loss), Corpus(seed, skew, swap), TrainingOptions(
        steps=args.steps, batch_size=64, lr=3e-3, min_lr=0.0, seed=seed, threads=args.threads)).run()
    return model.eval()


@no_grad()
def costs(model: GPT, ids: np.ndarray) -> np.ndarray:
    """(N,): −log p of each sentence after its first word, in nats."""
    log_p = ops.log_softmax(model(ids[:, :-1]), axis=-1).data
    return -np.take_along_axis(log_p, ids[:, 1:, None], axis=2)[:, :, 0].sum(axis=1)


def pairs(groups: tuple[Sequence[str], Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Each of the people with each verb and state: (as is expected, the other way), (N, 8) each."""
    found = [[f"the {who} {verb} that {PRONOUNS[gender ^ other]} was {state} ." for gender, group in enumerate(groups)
              for who in group for verb in VERBS for state in STATES] for other in (0, 1)]
    expected, other = (np.array([[ID[word] for word in text.split()] for text in texts]) for texts in found)
    return expected, other


def measure(model: GPT, unseen: np.ndarray) -> list[float]:
    """stereotype, p, written, facts, loss per sentence."""
    expected, other = pairs(JOBS)
    ours, theirs = costs(model, expected), costs(model, other)
    true, false = pairs(GENDERED)
    with no_grad():
        said = model(expected[:, :PLACE]).data[:, -1].argmax(axis=1)
    return [float(np.mean(ours < theirs)), float(np.mean(1 / (1 + np.exp(ours - theirs)))),
            float(np.mean(said == expected[:, PLACE])), float(np.mean(costs(model, true) < costs(model, false))),
            float(np.mean(costs(model, unseen)))]


def main(argv: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Train on each corpus, compare pairs; returns for each its figures, (seeds, 5)."""
    parser = argparse.ArgumentParser(description="What a skewed corpus does to a model, and what mends it.")
    parser.add_argument("--skews", type=float, nargs="+", default=[0.5, 0.7, 0.9],
                        help="shares of sentences as expected, the most skewed corpus last [0.5 0.7 0.9]")
    parser.add_argument("--seeds", type=int, default=1, help="how many initial weights and corpora [%(default)s]")
    parser.add_argument("--steps", type=int, default=600, help="training steps of each model [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="replicas that train side by side [%(default)s]")
    args = parser.parse_args(argv)

    runs = [(skew, "none") for skew in args.skews] + [(args.skews[-1], swap) for swap in CURES[1:]]
    found: dict[str, list[list[float]]] = {}
    for seed in range(args.seeds):
        unseen = sentences(np.random.default_rng([seed, 32]), 1000, args.skews[-1])
        for skew, swap in runs:
            name = f"{skew:.0%}" + f", {swap}" * (swap != "none")
            found.setdefault(name, []).append(measure(learn(seed, skew, swap, args), unseen))
            print(f"seed {seed}: {name}: p {found[name][-1][1]:.1%}", flush=True)

    figures = {name: np.array(rows) for name, rows in found.items()}
    print(f"\nmean of {args.seeds} seed{'s' * (args.seeds > 1)}")
    print(format_table([[name, *(f"{value:.1%}" for value in rows.mean(axis=0)[:4]), float(rows.mean(axis=0)[4])]
                        for name, rows in figures.items()],
                       ["corpus", "stereotype", "p", "written", "facts", f"loss at {args.skews[-1]:.0%}"]))
    return figures


if __name__ == "__main__":
    main()
