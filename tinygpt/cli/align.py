"""`tinygpt align`: teach a model what people prefer, or what earns a reward.

Prerequisites: finetune.py, training/start.py. Next: generate.py.
"""

from __future__ import annotations

import argparse

from ..training import AlignOptions, align
from .arguments import add_options
from .finetune import train

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `align` subcommand."""
    parser = subparsers.add_parser(
        "align", help="teach a model what people prefer, or what earns a reward",
        description="Learn from preferences and rewards: a reward model from pairs of answers (reward), a policy from "
                    "the same pairs (dpo), or a policy from the rewards of answers that it writes itself (grpo). What "
                    "is saved is the best of all validations; of adapters (--lora), these alone.")
    parser.set_defaults(run=run, on_ranks=True)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--resume", action="store_true",
                        help="go on from the last checkpoint in --out, bit for bit; no other option is needed")
    add_options(parser, AlignOptions)


def run(args: argparse.Namespace) -> int:
    """Train; the last line on standard output is the best validation's accuracy of pairs, or its reward."""
    return train(args, AlignOptions, align, "method", ("accuracy", "held_out_reward"))
