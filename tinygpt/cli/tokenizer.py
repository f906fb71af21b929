"""`tinygpt tokenizer train|encode|decode|inspect`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..tokenizers import ByteBPE, CharTokenizer, Tokenizer, load_tokenizer

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `tokenizer` subcommand."""
    parser = subparsers.add_parser("tokenizer", help="train a tokenizer; encode and decode text with it")
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    train = actions.add_parser("train", help="learn a vocabulary from text")
    train.add_argument("--data", nargs="+", required=True, metavar="FILE", help="text files in UTF-8")
    train.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    train.add_argument("--kind", choices=("bpe", "char"), default="bpe")
    train.add_argument("--vocab-size", type=int, default=1024)
    train.add_argument("--pattern", default="gpt2", help="gpt2, cl100k, o200k or a regular expression")
    train.add_argument("--special-token", action="append", default=[], metavar="NAME")

    for name, what in (("encode", "text"), ("decode", "ids")):
        action = actions.add_parser(name, help=f"{name} {what} given as arguments or on standard input")
        action.add_argument("--tokenizer", required=True, metavar="DIR")
        action.add_argument("input", nargs="*")


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    if args.action == "train":
        texts = [Path(name).read_text(encoding="utf-8") for name in args.data]
        tok: Tokenizer = (CharTokenizer.train(texts, args.special_token) if args.kind == "char"
                          else ByteBPE.train(texts, args.vocab_size, args.special_token, args.pattern))
        tok.save(args.out)
        print(f"{tok.n_vocab} tokens written to {args.out}")
    else:
        tok = load_tokenizer(args.tokenizer)
        given = " ".join(args.input) if args.input else sys.stdin.read()
        if args.action == "encode":
            print(*tok.encode(given))
        else:
            print(tok.decode([int(word) for word in given.split()]))
    return 0
