"""`tinygpt finetune`: teach a model a task from examples.

Prerequisites: arguments.py, pretrain.py, training/start.py. Next: align.py.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..training import FinetuneOptions, RunOptions, RunResult, finetune, saved_options
from ..training.objectives import kinds_of
from .arguments import add_options, check_vocabulary, given_options, require_agreement
from .streams import print_result

__all__ = ["add_parser", "run", "train"]

Options = TypeVar("Options", bound=RunOptions)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `finetune` subcommand."""
    parser = subparsers.add_parser(
        "finetune", help="teach a model a task from examples",
        description="Teach a task from examples: to the model in --model, or to a small new one. What is saved is the "
                    "best of all validations, in a folder that the other commands and Hugging Face's libraries open; "
                    "of adapters (--lora), these alone.")
    parser.set_defaults(run=run, on_ranks=True)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--resume", action="store_true",
                        help="go on from the last checkpoint in --out, bit for bit; no other option is needed")
    add_options(parser, FinetuneOptions)


def run(args: argparse.Namespace) -> int:
    """Train; the last line on standard output is the best validation's figure."""
    return train(args, FinetuneOptions, finetune, "task", ("accuracy", "validation_loss"))


def train(args: argparse.Namespace, kind: type[Options], start: Callable[..., RunResult], what: str,
          figures: Sequence[str]) -> int:
    """Start or resume a run, and print the first of some figures that its best validation has.

    Args:
        kind: the options' class. start: trains with them. what: the option that must be given.
    """
    given = given_options(args, kind)
    options = saved_options(args.out, kind) if args.resume else None
    if options is not None:
        require_agreement(options, given)
    else:
        if what not in given:
            raise ValueError(f"--{what} is missing: {', '.join(kinds_of(kind.command))}")
        options = kind(**given)
        check_vocabulary(options, given)
    result = start(options, args.out, resume=args.resume)
    if result.interrupted:
        print(f"stopped by {result.interrupted} at step {result.step} of {result.steps}; "
              f"continue with: tinygpt {kind.command} --resume --out {shlex.quote(args.out)}", file=sys.stderr)
    elif result.before:
        print(_change(result.before, result.validation, result.best_step), file=sys.stderr)
    for name in figures:
        if name in result.validation:
            said = name.removeprefix("validation_").removeprefix("held_out_")
            print_result(f"validation {said.replace('_', ' ')} {result.validation[name]:.4f}")
            break
    return 0


def _change(before: dict[str, float], after: dict[str, float], step: int) -> str:
    """Every figure before and after."""
    return f"from the start to step {step}, the best: " + ", ".join(
        f"{name.replace('_', ' ')} {before[name]:.4f} -> {after[name]:.4f}" for name in after if name in before)
