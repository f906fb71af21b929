"""10: a BERT learns to fill in hidden words, from both sides.

    python examples/10_masked_words.py                                   # 4 minutes on 2 cores

15% of the tokens of a text are hidden, and the model says what stood there. GPT sees only what comes before a word;
here both sides help, which is why such models are the better readers and cannot write. The text is the embedded corpus:
the documentation inside every Python. The same run on the command line, into a folder that transformers opens too
(AutoModelForMaskedLM):

    tinygpt pretrain --preset masked-words --out DIR

How good is a guess? A tenth of the text is held out; of its hidden tokens the example prints which share the model gets
right, and which share the best single answer would (whatever token was hidden most often). Then it fills in a few
sentences.

Prerequisites: 03_pretraining.py, tinygpt/data/masking.py. Next: 11_translation.py.
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
from tinygpt.training import PretrainOptions, preset, pretrain

SENTENCES = (
    "The function returns<mask> if the argument is an instance of the class.",
    "This method raises a ValueError if the<mask> is not found.",
    "Return a<mask> of all the keys in the dictionary.",
    "The value of the expression is<mask> to the name on the left.",
    "If the optional argument is given<mask> should be a string.",
)


@no_grad()
def fill(model: BERT, tokenizer: Tokenizer, text: str, n: int = 3) -> list[tuple[str, float]]:
    """The n likeliest tokens, with their probabilities, for the one `<mask>` in a text."""
    ids = np.array(tokenizer.encode(text, allowed_special=["<mask>"]))
    place, size = int(np.flatnonzero(ids == tokenizer.mask_token_id)[0]), model.config.block_size
    start = max(0, min(place - size // 2, len(ids) - size))  # of a text that is too long, what is around the mask
    logits = model(ids[None, start:start + size]).data[0, place - start].astype(np.float64)  # (V,)
    p = np.exp(logits - logits.max())
    p /= p.sum()
    return [(tokenizer.decode([i]), float(p[i])) for i in np.argsort(-p)[:n]]


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, measure, fill in; returns the figures on held-out text."""
    settings = preset("masked-words")
    parser = argparse.ArgumentParser(description="Train a small BERT to fill in hidden words.")
    parser.add_argument("--data", nargs="*", default=[], help="text to learn from [the embedded corpus]")
    parser.add_argument("--out", default=None, metavar="DIR", help="keep the model there")
    parser.add_argument("--vocab-size", type=int, default=1024, help="tokens of the vocabulary [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, windows and masks [%(default)s]")
    for name, what in (("steps", "training steps"), ("batch_size", "windows in a step"),
                       ("n_layer", "transformer blocks"), ("n_embd", "channels")):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=settings[name],
                            help=f"{what} [%(default)s]")
    args = parser.parse_args(argv)

    options = PretrainOptions(**settings | {name: value for name, value in vars(args).items() if name != "out"}
                              | {"data": tuple(args.data)})
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or temporary
        try:
            result = pretrain(options, out)
        except (OSError, ValueError) as error:  # no such file, too little text, …: the message says what to do
            parser.exit(2, f"10_masked_words.py: {error}\n")
        if result.interrupted:
            parser.exit(1, f"10_masked_words.py: stopped by {result.interrupted} at step {result.step}\n")
        model, tokenizer = load_model(out), load_tokenizer(out)
    assert isinstance(model, BERT)
    figures = result.validation

    print(f"hidden tokens of held-out text guessed right:  {figures['masked_accuracy']:.1%}")
    print(f"by answering the most frequent one every time: {figures['most_frequent_token']:.1%}")
    for sentence in SENTENCES:
        guesses = ", ".join(f"{token!r} {p:.0%}" for token, p in fill(model, tokenizer, sentence))
        print(f"{sentence}\n   {guesses}")
    return figures


if __name__ == "__main__":
    main()
