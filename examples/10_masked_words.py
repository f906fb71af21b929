"""10: a BERT learns to fill in hidden words, from both sides.

    python examples/10_masked_words.py                                   # TIME on 2 cores

15% of the tokens of a text are hidden, and the model says what stood there. GPT sees only what comes before a word;
here both sides help, which is why such models are the better readers and cannot write. The text is the embedded corpus:
the documentation inside every Python. The same run on the command line, into a folder that transformers opens too
(AutoModelForMaskedLM):

    tinygpt pretrain --objective masked --out DIR

How good is a guess? A tenth of the text is held out; of its hidden tokens the example prints which share the model gets
right, and which share the best single answer would (whatever token was hidden most often). Then it fills in a few
sentences.

Read before: 03_pretraining.py, tinygpt/data/masking.py. Read next: 11_translation.py.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence

import numpy as np

from tinygpt import load_model, load_tokenizer
from tinygpt.autograd import no_grad
from tinygpt.models import BERT
from tinygpt.tokenizers.base import Tokenizer
from tinygpt.training import PretrainOptions, pretrain

SENTENCES = (
    "The function returns<mask> if the argument is an instance of the class.",
    "This method raises a ValueError if the<mask> is not found.",
    "Return a<mask> of all the keys in the dictionary.",
    "The value of the expression is<mask> to the name on the left.",
    "If the optional argument is given<mask> should be a string.",
)


@no_grad()
def fill(model: BERT, tokenizer: Tokenizer, text: str, n: int = 3) -> list[list[tuple[str, float]]]:
    """For each `<mask>` in a text, the n likeliest tokens and their probabilities."""
    ids = np.array(tokenizer.encode(text, allowed_special=["<mask>"]))
    logits = model(ids[None]).data[0, ids == tokenizer.mask_token_id].astype(np.float64)  # (masks, V)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return [[(tokenizer.decode([i]), float(row[i])) for i in np.argsort(-row)[:n]] for row in p]


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, measure, fill in; returns the figures on held-out text."""
    parser = argparse.ArgumentParser(description="Train a small BERT to fill in hidden words.")
    parser.add_argument("--data", nargs="*", default=[], help="text to learn from [the embedded corpus]")
    parser.add_argument("--out", default=None, metavar="DIR", help="keep the model there")
    parser.add_argument("--steps", type=int, default=3000, help="training steps [3000]")
    parser.add_argument("--vocab-size", type=int, default=1024, help="tokens of the vocabulary [1024]")
    parser.add_argument("--n-layer", type=int, default=4, help="transformer blocks [4]")
    parser.add_argument("--n-embd", type=int, default=128, help="channels [128]")
    parser.add_argument("--batch-size", type=int, default=32, help="windows of 64 tokens in a step [32]")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, windows and masks [0]")
    args = parser.parse_args(argv)

    options = PretrainOptions(
        objective="masked", data=tuple(args.data), vocab_size=args.vocab_size, n_layer=args.n_layer, n_head=4,
        n_embd=args.n_embd, block_size=64, batch_size=args.batch_size, steps=args.steps, lr=1e-3, seed=args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or temporary
        try:
            figures = pretrain(options, out).validation
        except (OSError, ValueError) as error:  # no such file, too little text, …: the message says what to do
            parser.exit(2, f"10_masked_words.py: {error}\n")
        model, tokenizer = load_model(out), load_tokenizer(out)
    assert isinstance(model, BERT)

    print(f"hidden tokens of held-out text guessed right:  {figures['masked_accuracy']:.1%}")
    print(f"by answering the most frequent one every time: {figures['most_frequent_token']:.1%}")
    for sentence in SENTENCES:
        for guesses in fill(model, tokenizer, sentence):
            print(f"{sentence}\n   {', '.join(f'{token!r} {p:.0%}' for token, p in guesses)}")
    return figures


if __name__ == "__main__":
    main()
