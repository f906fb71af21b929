"""`tinygpt finetune`: teach a model a task from examples.

Prerequisites: arguments.py, pretrain.py, training/start.py. Next: generate.py.
"""

from __future__ import annotations

import argparse
import shlex
import sys

from ..training import FinetuneOptions, finetune, saved_options
from ..training.objectives import kinds_of
from .arguments import add_options, check_vocabulary, given_options, require_agreement
from .streams import print_result

__all__ = ["add_parser", "run"]


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
    given = given_options(args, FinetuneOptions)
    options = saved_options(args.out, FinetuneOptions) if args.resume else None
    if options is not None:
        require_agreement(options, given)
    else:
        if "task" not in given:
            raise ValueError(f"--task is missing: {', '.join(kinds_of('finetune'))}")
        options = FinetuneOptions(**given)
        check_vocabulary(options, given)
    result = finetune(options, args.out, resume=args.resume)
    if result.interrupted:
        print(f"stopped by {result.interrupted} at step {result.step} of {result.steps}; "
              f"continue with: tinygpt finetune --resume --out {shlex.quote(args.out)}", file=sys.stderr)
    elif result.before:
        print(_change(result.before, result.validation, result.best_step), file=sys.stderr)
    for name in ("accuracy", "validation_loss"):
        if name in result.validation:
            what = name.replace("accuracy", "validation_accuracy").replace("_", " ")
            print_result(f"{what} {result.validation[name]:.4f}")
            break
    return 0


def _change(before: dict[str, float], after: dict[str, float], step: int) -> str:
    """Every figure before and after."""
    return f"from the start to step {step}, the best: " + ", ".join(
        f"{name.replace('_', ' ')} {before[name]:.4f} -> {after[name]:.4f}" for name in after if name in before)
