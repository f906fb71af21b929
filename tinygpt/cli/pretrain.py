"""`tinygpt pretrain`: train a model from random weights on text.

Prerequisites: arguments.py, training/start.py. Next: finetune.py.
"""

from __future__ import annotations

import argparse
import shlex
import sys

from ..data.mixture import find_mixture
from ..training import PretrainOptions, preset, pretrain, saved_options
from .arguments import add_options, check_vocabulary, given_options, require_agreement
from .streams import print_result

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `pretrain` subcommand."""
    parser = subparsers.add_parser(
        "pretrain", help="train a model from random weights on text",
        description="Train a model from random weights on text, into a folder that `tinygpt generate` and Hugging "
                    "Face's libraries open. Without --data it reads the documentation inside every Python.")
    parser.set_defaults(run=run, on_ranks=True)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--resume", action="store_true",
                        help="go on from the last checkpoint in --out, bit for bit; no other option is needed")
    parser.add_argument("--preset", default=None, metavar="NAME", help="settings to start from; options override them")
    add_options(parser, PretrainOptions)


def run(args: argparse.Namespace) -> int:
    """Train; the last line on standard output is the validation loss."""
    given = given_options(args, PretrainOptions)
    saved = saved_options(args.out, PretrainOptions) if args.resume else None
    settings = given if args.preset is None else preset(args.preset) | given
    if "tokenizer" in given and "vocab_size" not in given:  # the preset's is that of the preset's tokenizer
        settings.pop("vocab_size", None)
    if saved is not None:
        options = saved
        require_agreement(saved, settings)
    else:
        options = PretrainOptions(**{**settings, "data": tuple(settings.get("data", ()))})
        check_vocabulary(options, given)
        if {"vocab_size", "tokenizer"} & set(given) and given.get("tokenizer", "bpe") == "bpe" \
                and find_mixture(options.data) is not None:
            raise ValueError("the data are tokens already: leave --tokenizer and --vocab-size out, and the tokenizer "
                             "that they were made with is taken")
    result = pretrain(options, args.out, resume=args.resume)
    if result.interrupted:
        print(f"stopped by {result.interrupted} at step {result.step} of {result.steps}; "
              f"continue with: tinygpt pretrain --resume --out {shlex.quote(args.out)}", file=sys.stderr)
    if "validation_loss" in result.validation:
        print_result(f"validation loss {result.validation['validation_loss']:.4f}")
    return 0
