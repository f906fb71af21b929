"""20: what words keep company with: skip-gram vectors, and their neighbours beside those of a GPT's token table.

    python examples/20_word_vectors.py                              # tinyshakespeare; 3 minutes
    python examples/20_word_vectors.py --data my-text.txt --words king,love

Skip-gram learns one thing: whether two words stood near each other in the text, or one of them was drawn at random. A
word has a vector as itself and another as company, and the product of the two says how likely they meet. A small GPT
over the same words reads the same text for the same processor time, and has a table of vectors too, made for another
purpose: to predict the next word from all words before it.

Which table knows words better? A few groups that are alike by meaning or by use stand below. The figure is how often a
word is nearer to another of its group than to a word at random: 50% is chance.

Prerequisites: 19_rivals.py. Next: 21_vision_transformer.py. Mikolov et al., "Distributed representations of words and
phrases and their compositionality" (2013).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np

import tinygpt as tg
from tinygpt import nn, ops
from tinygpt.blas import blas_threads
from tinygpt.data import Documents, WindowSampler, step_generator, token_array
from tinygpt.models import GPT, GPTConfig
from tinygpt.optim import AdamW, cosine_schedule
from tinygpt.tokenizers.words import train_words

C, WINDOW, DRAWN, BATCH = 64, 4, 5, 2048  # channels, words to either side, words at random for each pair, pairs a step
OFTEN = 1e-3  # the part of a text from which on a word is left out often
GROUPS = """he she it they we i you | him her them us me | my your his their our thy | father mother brother sister son
daughter wife husband | king queen duke prince lord lady | day night morning hour year month week | eye eyes hand hands
head heart face tongue lips arm | come go went gone came | one two three four five six ten twenty | good bad better
worse best worst | love hate fear hope joy grief sorrow | is are was were be been am | will shall would should may might
can could must | and or but nor | in on at by from with under | men women man woman boy maid | sun moon stars heaven
earth sea | gentleman gentlemen sir madam | this that these those | who what where when why how"""


class SkipGram(nn.Module):
    """Two vectors a word: as itself, and as company of others."""

    def __init__(self, n_words: int) -> None:
        self.itself, self.company = nn.Embedding(n_words, C, std=0.1), nn.Embedding(n_words, C, std=0.1)

    def forward(self, words: np.ndarray, others: np.ndarray) -> tg.Tensor:
        """Words (B,) and others (B, N) -> the log odds that they meet, (B, N)."""
        return ops.sum(self.itself(words)[:, None] * self.company(others), axis=2)


def pairs(ids: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Words (B,), and of each a word near it and DRAWN words at random, (B, 1 + DRAWN).

    Frequent words are left out often, as in the paper, or most pairs would be "the" with something. Words are drawn at
    random with the power 3/4 of their frequency.
    """
    share = counts[ids] / counts.sum()
    kept = ids[rng.random(len(ids)) < np.sqrt(OFTEN / share)]
    at = rng.integers(WINDOW, len(kept) - WINDOW, size=BATCH)
    near = at + rng.choice([-1, 1], BATCH) * rng.integers(1, WINDOW + 1, BATCH)
    bounds = np.cumsum(counts ** 0.75)
    drawn = np.searchsorted(bounds, rng.random((BATCH, DRAWN)) * bounds[-1])
    return kept[at], np.concatenate([kept[near][:, None], drawn], axis=1)


def train(model: nn.Module, loss: Callable[[int], tg.Tensor], seconds: float, lr: float) -> int:
    """Train for so much processor time, on the loss of each step; returns the steps."""
    optimizer = AdamW(model, lr=lr, weight_decay=0.0)
    step, part, start = 0, 0.0, time.process_time()
    while part < 1:
        loss(step).backward()
        optimizer.step(lr=cosine_schedule(int(1000 * part), max_lr=lr, min_lr=lr / 10, warmup_steps=20,
                                          total_steps=1000))
        optimizer.zero_grad()
        step, part = step + 1, (time.process_time() - start) / seconds
    return step


def cosines(table: np.ndarray) -> np.ndarray:
    """How alike all words are, (V, V); the mean of the table is taken out, which all words have in common."""
    table = table - table.mean(axis=0)
    table = table / np.linalg.norm(table, axis=1, keepdims=True)
    return table @ table.T


def in_groups(alike: np.ndarray, groups: list[list[int]]) -> float:
    """How often a word is nearer to one of its own group than to a word at random."""
    right = [(alike[word] < alike[word, other]).mean() for group in groups for word in group for other in group
             if other != word]
    return float(np.mean(right)) if right else float("nan")


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train both, print neighbours; returns how often each table is right about the groups."""
    parser = argparse.ArgumentParser(description="Learn vectors of words from the company that they keep.")
    parser.add_argument("--data", default="tinyshakespeare", help="files, folders or named corpora [%(default)s]")
    parser.add_argument("--seconds", type=float, default=60, help="of processor time for each [%(default)s]")
    parser.add_argument("--words", default="king,father,night,blood,sword,he,good,three", help="whose neighbours to "
                        "print [%(default)s]")
    parser.add_argument("--least", type=int, default=10, help="times that a word must occur [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches [%(default)s]")
    args = parser.parse_args(argv)
    try:
        text = Documents([args.data])
        every = train_words(text)
        counts = np.bincount(token_array(text, every), minlength=len(every))
        tokenizer = train_words(text, max_words=int((counts >= args.least).sum()))
        ids = token_array(text, tokenizer).astype(np.int64)
        windows = WindowSampler(ids, 32, 32, args.seed)
    except (OSError, ValueError) as error:  # no such file, no network, too little text: the message says what to do
        parser.exit(2, f"20_word_vectors.py: {error}\n")
    v, counts = len(tokenizer), np.maximum(1, np.bincount(ids, minlength=len(tokenizer)))

    tg.manual_seed(args.seed)
    skip_gram, gpt = SkipGram(v), GPT(GPTConfig(vocab_size=v, block_size=32, n_layer=2, n_head=4, n_embd=C))
    meets = np.eye(1, 1 + DRAWN)  # of a row of others, the first is the one that was near

    def of_pairs(step: int) -> tg.Tensor:
        odds = skip_gram(*pairs(ids, counts, step_generator(args.seed, step)))
        return ops.mean(ops.logaddexp(0.0, odds * (1 - 2 * meets))) * (1 + DRAWN)

    def of_next_words(step: int) -> tg.Tensor:
        batch = windows.batch(step)
        return ops.cross_entropy(gpt(batch["ids"]), batch["targets"])

    with blas_threads(1):
        steps = train(skip_gram, of_pairs, args.seconds, 3e-3), train(gpt, of_next_words, args.seconds, 2e-3)
    print(f"{len(ids):,} words, {v:,} different ones; steps: skip-gram {steps[0]:,}, GPT {steps[1]:,}")
    tables = {"skip-gram": cosines(skip_gram.itself.weight.data), "GPT": cosines(gpt.token_embedding.weight.data)}
    known = {word: tokenizer.encode(word)[0] for word in {*args.words.split(","), *GROUPS.replace("|", " ").split()}}
    known = {word: number for word, number in known.items() if tokenizer.decode([number]) == word}
    for word in (word for word in args.words.split(",") if word in known):
        for name, alike in tables.items():
            near = [i for i in np.argsort(-alike[known[word]]) if i != known[word]][:8]
            print(f"{word:10}{name:10}{' '.join(tokenizer.decode([i]) for i in near)}")
    groups = [[known[word] for word in group.split() if word in known] for group in GROUPS.split("|")]
    found = {name: in_groups(alike, groups) for name, alike in tables.items()}
    print("nearer to a word of its group than to one at random: "
          + ", ".join(f"{name} {right:.1%}" for name, right in found.items()))
    return found


if __name__ == "__main__":
    main()
