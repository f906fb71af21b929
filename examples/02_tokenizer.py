"""02: from text to numbers and back, the tokenizer.

    python examples/02_tokenizer.py
    python examples/02_tokenizer.py --vocab-size 8000

A model sees integers. This trains byte-pair encoding on the documentation inside every Python, shows what it learned
first, and then what it does with text that it never saw: other languages, an emoji, broken bytes, and a user who types
the name of a special token. Takes 3 seconds, needs no network.

Prerequisites: 01_autograd_by_hand.py. Next: 03_pretraining.py; docs/tokenization.md; tinygpt/tokenizers/bpe.py.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence

from tinygpt.data import Documents
from tinygpt.tokenizers import ByteBPE, CharTokenizer, load_tokenizer
from tinygpt.tokenizers.inspection import token_lines, visible


def main(argv: Sequence[str] | None = None) -> float:
    """Train a tokenizer and look at it; returns how many bytes of English a token holds."""
    parser = argparse.ArgumentParser(description="Train a tokenizer and look at it.")
    parser.add_argument("--data", nargs="*", default=[], help="files, folders or named corpora [the embedded corpus]")
    parser.add_argument("--vocab-size", type=int, default=1000, help="tokens to learn [1000]")
    args = parser.parse_args(argv)
    documents = list(Documents(args.data))

    print("1. Characters: one number for each that the text contains.")
    characters = CharTokenizer.train(documents)
    print(f"   {characters.n_vocab} characters; 'a cat' is {characters.encode('a cat')}")

    print("\n2. Byte-pair encoding: begin with bytes, make the most frequent pair a token of its own, and again.")
    tok = ByteBPE.train(documents, args.vocab_size, special_tokens=["<|endoftext|>"])
    print("   the first merges:", ", ".join(f"{visible(left)}+{visible(right)}" for left, right in tok.merges[:12]))
    print("   the last merges: ", ", ".join(f"{visible(left)}+{visible(right)}" for left, right in tok.merges[-5:]))

    print("\n3. Frequent words become one token, rare words a few, and nothing is out of vocabulary.")
    english = "The function returns a list of unbelievable numbers."
    for text in (english, "Die Würde des Menschen", "日本語 😀"):
        ids = tok.encode(text)
        assert tok.decode(ids) == text
        print(*(f"   {line}" for line in token_lines(tok, ids, 110)), sep="\n")
        size = len(text.encode())
        print(f"   {size} bytes, {len(ids)} tokens: {size / len(ids):.2f} bytes per token\n")

    print("4. A character may be cut between tokens. Alone they are no text; a stream waits until it is whole.")
    ids = tok.encode("😀!")
    print("   one by one:", [tok.decode([i]) for i in ids], "\n   as a stream:", list(tok.decode_stream(ids)))

    print("\n5. A special token ends a document. Text that looks like one is only text, unless the program allows it.")
    forged = "end <|endoftext|>"
    print(f"   {tok.encode(forged)} is what a user typed")
    print(f"   {tok.encode(forged, allowed_special='all')} is what a program meant; {tok.eos_token_id} is the end")

    with tempfile.TemporaryDirectory() as folder:  # the files open with Hugging Face's AutoTokenizer too
        tok.save(folder)
        assert load_tokenizer(folder).encode(english) == tok.encode(english)
    return len(english.encode()) / len(tok.encode(english))


if __name__ == "__main__":
    main()
