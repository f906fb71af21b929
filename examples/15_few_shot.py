"""15: does it help to show examples in the prompt? Zero-, one- and few-shot, measured.

    python examples/15_few_shot.py

A model is trained on texts like this one, in which every line applies the same rule to another made-up word:

    molu -> ulom
    bes -> seb
    tadi -> idat

There are eight rules (copy, reverse, first letter, …), and no text says which is its own. To continue a text, a model
has to find the rule in the lines so far, so it learns to learn from a prompt. Then it answers single questions on words
that no training text holds, after 0, 1, 2, 4 and 6 examples. Without examples nobody can know the rule, and the best
guess is right about once in eight; with them the rule becomes known, or nearly: one example may fit two rules. Beside
each accuracy stands that of perfect reasoning, which weighs all rules that fit the examples.

This is what few-shot prompting rests on, in the small. A large model has met very many kinds of text in which one line
helps to guess another; this one knows its eight rules alone. So it is also asked about a ninth, the first two letters
swapped, after six examples. Takes 2 minutes on 2 cores.

Prerequisites: 06_names.py, tinygpt/data/few_shot.py. Brown et al., "Language models are few-shot learners" (2020).
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

import tinygpt
from tinygpt.data import IGNORE, pad, step_generator
from tinygpt.data.few_shot import FewShot
from tinygpt.generation import left_pad
from tinygpt.models import GPT, GPTConfig
from tinygpt.tokenizers import CharTokenizer
from tinygpt.training import Criterion, Progress, Trainer, TrainingOptions, language_loss

CONSONANTS, VOWELS = "bdklmnrst", "aeiou"
RULES = {
    "copy": lambda w: w, "reverse": lambda w: w[::-1], "first letter": lambda w: w[0], "last letter": lambda w: w[-1],
    "all but the first": lambda w: w[1:], "all but the last": lambda w: w[:-1],
    "ends swapped": lambda w: w[-1] + w[1:-1] + w[0], "sorted": lambda w: "".join(sorted(w)),
}
NINTH = "first two swapped"  # in no training text
SHOTS = (0, 1, 2, 4, 6)
LINES = max(SHOTS) + 1  # of a training text
PROMPT = FewShot("{input}>{output}\n")


def apply(rule: str, word: str) -> str:
    """The answer that a rule gives."""
    return word[1] + word[0] + word[2:] if rule == NINTH else RULES[rule](word)


def draw_word(rng: np.random.Generator, held_out: bool) -> str:
    """A word of three to five letters; a quarter of all words, chosen by a checksum, are held out."""
    while True:
        letters = [str(rng.choice(list((CONSONANTS, VOWELS)[place % 2]))) for place in range(rng.integers(3, 6))]
        word = "".join(letters)
        if (zlib.crc32(word.encode()) % 4 == 0) == held_out:
            return word


class Texts:
    """Batches of texts, each with a rule of its own; answers are the targets, for the words are random."""

    def __init__(self, tokenizer: CharTokenizer, batch_size: int, seed: int) -> None:
        self.tokenizer, self.batch_size, self.seed = tokenizer, batch_size, seed

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """What the trainer asks for: {"ids", "targets"}, (B, T) each."""
        rng = step_generator(self.seed, step)
        ids, targets = [], []
        for _ in range(self.batch_size):
            rule = RULES[list(RULES)[rng.integers(len(RULES))]]
            text, counts = "", []
            for _ in range(LINES):
                word = draw_word(rng, held_out=False)
                answer = rule(word) + "\n"
                text += f"{word}>{answer}"
                counts += [False] * (len(word) + 1) + [True] * len(answer)
            tokens = np.array(self.tokenizer.encode(text))
            ids.append(tokens[:-1])
            targets.append(np.where(counts, tokens, IGNORE)[1:])
        return {"ids": pad(ids, 0), "targets": pad(targets, IGNORE)}  # (B, T) each


Question = tuple[str, list[str]]  # a rule, and words; the last is asked about, those before it can be shown


def questions(n: int, seed: int, rules: Sequence[str] = tuple(RULES)) -> list[Question]:
    """n questions about words that training never shows."""
    rng = step_generator(seed, 0)
    return [(rules[number % len(rules)], [draw_word(rng, held_out=True) for _ in range(LINES)]) for number in range(n)]


def answers(model: GPT, tokenizer: CharTokenizer, prompts: list[str]) -> list[str]:
    """The most likely continuation of each prompt, up to the end of the line."""
    ids, mask = left_pad([tokenizer.encode(prompt) for prompt in prompts])
    model.eval()
    found = model.generate(ids, 6, temperature=0.0, attention_mask=mask)[:, ids.shape[1]:]
    model.train()
    return [tokenizer.decode(row).partition("\n")[0] for row in found.tolist()]


def perfect(shown: list[tuple[str, str]], word: str) -> str:
    """The likeliest answer, given that all rules are equally likely before the examples."""
    fitting = [rule for rule in RULES.values() if all(rule(given) == answer for given, answer in shown)]
    return Counter(rule(word) for rule in fitting).most_common(1)[0][0]


def main(argv: Sequence[str] | None = None) -> tuple[float, float]:
    """Train, ask, compare; returns the margin of few-shot over zero-shot and its standard error."""
    parser = argparse.ArgumentParser(description="Zero-, one- and few-shot prompting of a small model, measured.")
    parser.add_argument("--steps", type=int, default=1500, help="training steps [1500]")
    parser.add_argument("--batch-size", type=int, default=32, help="texts in a step [32]")
    parser.add_argument("--lr", type=float, default=3e-3, help="highest learning rate [0.003]")
    parser.add_argument("--questions", type=int, default=1000, help="questions to ask [1000]")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data [0]")
    parser.add_argument("--threads", type=int, default=None, help="replicas that train side by side [the cores]")
    args = parser.parse_args(argv)

    tokenizer = CharTokenizer.train(CONSONANTS + VOWELS + ">\n")
    tinygpt.manual_seed(args.seed)
    model = GPT(GPTConfig(vocab_size=len(tokenizer), block_size=LINES * 12, n_layer=4, n_head=4, n_embd=64,
                          n_inner=176, architecture="llama", initializer_range=0.08))
    print(f"{model.n_parameters:,} parameters learn {len(RULES)} rules from texts that never name them")

    asked = questions(args.questions, args.seed + 1)

    def right(n_shots: int, asked: list[Question] = asked) -> np.ndarray:
        prompts = [PROMPT.prompt([(word, apply(rule, word)) for word in words[:n_shots]], words[-1])
                   for rule, words in asked]
        return np.array([answer == apply(rule, words[-1])
                         for answer, (rule, words) in zip(answers(model, tokenizer, prompts), asked)])

    def ideal(n_shots: int) -> float:
        return float(np.mean([perfect([(word, apply(rule, word)) for word in words[:n_shots]], words[-1])
                              == apply(rule, words[-1]) for rule, words in asked]))

    progress = Progress(args.steps)
    trainer = Trainer(
        model, Criterion(language_loss), Texts(tokenizer, args.batch_size, args.seed),
        TrainingOptions(steps=args.steps, batch_size=args.batch_size, lr=args.lr, min_lr=0.0, seed=args.seed,
                        threads=args.threads),
        validate=lambda keep_going: {"accuracy_zero_shot": float(right(0)[:200].mean()),
                                     "accuracy_four_shots": float(right(4)[:200].mean())}, progress=progress)
    trainer.run()
    progress.close()

    print("\nexamples  right  perfect reasoning")
    results = {n_shots: right(n_shots) for n_shots in SHOTS}
    for n_shots, correct in results.items():
        print(f"{n_shots:8}  {correct.mean():5.1%}  {ideal(n_shots):5.1%}")
    print("\nby rule, zero-shot and with four examples:")
    for name in RULES:
        mine = np.array([rule == name for rule, _ in asked])
        print(f"  {name:18} {results[0][mine].mean():6.1%} {results[4][mine].mean():6.1%}")

    ninth = right(6, questions(args.questions, args.seed + 2, [NINTH])).mean()
    print(f"  {NINTH:18} {ninth:.1%} after six examples, a rule that no training text follows")

    rule, words = asked[1]
    shown = PROMPT.prompt([(word, apply(rule, word)) for word in words[:4]], words[-1])
    print(f"\na prompt with four examples:\n{shown}\nthe model: {answers(model, tokenizer, [shown])[0]}")
    gain = results[4].astype(float) - results[0]  # the same questions, so the differences are what counts
    margin, error = float(gain.mean()), float(gain.std(ddof=1) / math.sqrt(len(gain)))
    print(f"\nfour examples instead of none: {margin:+.1%} ± {error:.1%} (standard error, {len(gain):,} questions)")
    return margin, error


if __name__ == "__main__":
    main()
