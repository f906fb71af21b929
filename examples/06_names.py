"""06: a model that makes up names (makemore's task, and its transformer).

    python examples/06_names.py

32,033 first names, one a line, are the whole data; 1,000 of them, drawn at random, are kept to test on. Each name is an
example of its own: an end mark, its letters, an end mark. The model learns the next letter from the letters so far, and
to begin and to end. About 200,000 parameters: 4 layers, 4 heads, 64 channels, in Llama's layout, which learns this
faster than GPT-2's. So narrow a model starts from larger weights than GPT-2's 0.02. Takes 12
minutes on 2 busy cores (5 minutes of processor time) and ends near a test loss of 1.92 nats per character, the end
mark counted.

The names come from the folder that TINYGPT_DATA names, or are downloaded once (230 KB). Any file with one word a line
will do as well: street names, villages, dinosaurs.

    python examples/06_names.py --data villages.txt

The transformer's rival, a recurrent network of as many parameters, learns the same:

    python examples/06_names.py --architecture lstm

Prerequisites: 05_sorting.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import tinygpt
from tinygpt.data import IGNORE, Documents, SequenceSampler, all_sequences, step_generator
from tinygpt.models import GPT, CausalLM, GPTConfig, RecurrentConfig, RecurrentLM
from tinygpt.tokenizers import CharTokenizer
from tinygpt.training import Criterion, Progress, Trainer, TrainingOptions, language_loss

END = "<|endoftext|>"  # stands before and after every name


def split_names(names: list[str]) -> tuple[list[str], list[str]]:
    """(training names, test names), shuffled: a tenth to test on, at most 1,000. All runs share a split."""
    n_test = min(1000, len(names) // 10)
    shuffled = [names[i] for i in step_generator(0, 0).permutation(len(names))]
    return shuffled[:-n_test], shuffled[-n_test:]


@tinygpt.no_grad()
def loss_per_character(model: CausalLM, sequences: list[list[int]]) -> float:
    """Nats per character over whole names, ends included."""
    model.eval()
    nats, n_targets = 0.0, 0
    for batch in all_sequences(sequences, batch_size=500):
        nats += float(tinygpt.ops.cross_entropy(model(batch["ids"]), batch["targets"], reduction="sum"))
        n_targets += int((batch["targets"] != IGNORE).sum())
    model.train()
    return nats / n_targets


def sample_names(model: CausalLM, tokenizer: CharTokenizer, n: int, seed: int) -> list[str]:
    """n names: from the end mark on, letter by letter, until the model ends each of them."""
    model.eval()
    prompts = np.full((n, 1), tokenizer.eos_token_id)
    ids = model.generate(prompts, model.config.block_size, seed=seed)
    model.train()
    return [tokenizer.decode(row, skip_special_tokens=True) for row in ids.tolist()]


def new_model(architecture: str, **sizes: int) -> CausalLM:
    """About 200,000 random weights: of Llama's layout, or of a recurrent network."""
    if architecture == "llama":
        return GPT(GPTConfig(**sizes, n_layer=4, n_head=4, n_embd=64, n_inner=176, architecture="llama",
                             initializer_range=0.08, dropout=0.1))
    return RecurrentLM(RecurrentConfig(**sizes, n_layer=2, n_embd={"lstm": 112, "gru": 129}[architecture],
                                       architecture=architecture, initializer_range=0.08, dropout=0.2))


def main(argv: Sequence[str] | None = None) -> float:
    """Train, test, make up names; returns the test loss."""
    parser = argparse.ArgumentParser(description="Train a small GPT on names, and let it make up new ones.")
    parser.add_argument("--data", default="names", help="a file with one name a line [the corpus called names]")
    parser.add_argument("--steps", type=int, default=5000, help="training steps [5000]")
    parser.add_argument("--batch-size", type=int, default=128, help="names in a step [128]")
    parser.add_argument("--lr", type=float, default=3e-3, help="highest learning rate [0.003]")
    parser.add_argument("--architecture", choices=["llama", "lstm", "gru"], default="llama", help="what learns [llama]")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data order [0]")
    parser.add_argument("--out", default=None, metavar="DIR", help="save model and tokenizer there")
    args = parser.parse_args(argv)
    try:
        text = "".join(Documents(args.data))
    except (OSError, ValueError) as error:  # no such file, no network, …: the message says what to do
        parser.exit(2, f"06_names.py: {error}\n")

    names = [name for line in text.splitlines() if (name := line.strip())]
    if len(names) < 10:
        parser.exit(2, f"06_names.py: {args.data} has {len(names)} names, and 10 are needed to keep some to test on\n")
    tokenizer = CharTokenizer.train(names, special_tokens=[END])
    end = [tokenizer.token_id(END)]
    train_names, test_names = split_names(names)
    train, test = ([end + tokenizer.encode(name) + end for name in part] for part in (train_names, test_names))

    tinygpt.manual_seed(args.seed)
    model = new_model(args.architecture, vocab_size=len(tokenizer), block_size=max(map(len, train + test)) - 1,
                      bos_token_id=end[0], eos_token_id=end[0])
    print(f"{model.n_parameters:,} parameters, {len(train):,} names to learn from, {len(test):,} to test on")

    progress = Progress(args.steps)
    trainer = Trainer(
        model, Criterion(language_loss), SequenceSampler(train, args.batch_size, args.seed, pad_id=end[0]),
        TrainingOptions(steps=args.steps, batch_size=args.batch_size, lr=args.lr, min_lr=0.0, seed=args.seed),
        validate=lambda keep_going: {"test_loss": loss_per_character(model, test)},
        sample=lambda: ", ".join(sample_names(model, tokenizer, 8, args.seed)), progress=progress)
    trainer.run()
    progress.close()

    known, made = set(train_names), sample_names(model, tokenizer, 20, args.seed)
    print("\n".join(f"  {name}{'  (a training name)' if name in known else ''}" for name in made))
    print(f"{sum(name not in known for name in made)} of these 20 are not among the training names")
    test_loss = loss_per_character(model, test)
    print(f"test loss {test_loss:.4f} nats per character")
    if args.out is not None:
        model.save_pretrained(args.out, tokenizer)
    return test_loss


if __name__ == "__main__":
    main()
