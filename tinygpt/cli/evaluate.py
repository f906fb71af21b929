"""`tinygpt evaluate`: measure a model on data, as a table or as JSON.

The tasks themselves are in evaluation/tasks.py; docs/evaluation.md says what the figures mean.

Prerequisites: arguments.py, evaluation/tasks.py.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, TypeVar

from ..files import printable
from ..evaluation.tasks import N_PROMPTS, TASKS, Asked, task_for
from ..tokenizers import load_tokenizer
from ..training.progress import duration
from .arguments import add_device, load_placed, whole

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `evaluate` subcommand."""
    parser = subparsers.add_parser(
        "evaluate", help="measure a model on data",
        description="Measure a model on data: how well it predicts a text, answers multiple-choice questions, labels, "
                    "translates, summarises, compares sentences, or how varied its own texts are.")
    parser.set_defaults(run=run)
    parser.add_argument("--model", required=True, metavar="MODEL",
                        help="a model folder with its tokenizer, a GGUF file, or owner/name on the Hugging Face Hub")
    parser.add_argument("--data", required=True, metavar="FILE",
                        help="a file or a named corpus: texts, questions (HellaSwag's or ARC's JSON Lines), labelled "
                             "texts, two columns to translate, texts with summaries, or two sentences and how alike "
                             "they are")
    parser.add_argument("--task", choices=sorted(TASKS), default=None, help="what to measure [follows model and data]")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--limit", type=whole, default=None, metavar="N",
                        help=f"use the first N documents, questions, texts or pairs [all; {N_PROMPTS} prompts]")
    parser.add_argument("--text-column", default="text", metavar="C",
                        help="classification: the column of texts; a number from 0 if there is no header line [text]")
    parser.add_argument("--label-column", default="label", metavar="C",
                        help="classification: the column of labels, likewise [label]")
    parser.add_argument("--num-beams", type=whole, default=1, metavar="N", help="translation and summarization: beam search [1: greedy]")
    parser.add_argument("--max-new-tokens", type=whole, default=64, metavar="N", help="generation: tokens a text [64]")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="generation: as for generate [0.8]")
    parser.add_argument("--seed", type=whole, default=0, metavar="S", help="generation: same seed, same texts [0]")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    given = {field.name: getattr(args, field.name) for field in fields(Asked) if field.name in args}
    asked = Asked(**given, model_name=args.model, track=watch)
    tokenizer = load_tokenizer(args.model)
    model = load_placed(args)
    model.check_tokenizer(len(tokenizer), f"the tokenizer in {args.model}")
    task = args.task or task_for(model, tokenizer, asked.data)
    figures, table = TASKS[task](model, tokenizer, asked)
    if args.json:
        print(json.dumps(_finite({"task": task, "model": args.model, "data": args.data, **figures}),
                         ensure_ascii=False))
    else:
        print(printable(table))
    return 0


def _finite(value: Any) -> Any:
    """The same with None for infinities, which JSON cannot write."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---------------------------------------------------------------------------------------------------------------------
# How far a measurement is


EVERY = 15.0  # seconds between two lines
T = TypeVar("T")


def watch(batches: Iterable[T], total: int, /) -> Iterator[T]:
    """The batches; how many are done goes to standard error: a bar on a terminal, elsewhere a line now and then."""
    if sys.stderr.isatty():
        from tqdm import tqdm
        yield from tqdm(batches, total=total, unit="batch", dynamic_ncols=True, leave=False, delay=0.5)
        return
    start = said = time.perf_counter()
    for done, batch in enumerate(batches):
        now = time.perf_counter()
        if done and now - said >= EVERY:
            said = now
            left = (now - start) / done * (total - done)
            print(f"{done:,} of {total:,} batches  {duration(left)} left", file=sys.stderr, flush=True)
        yield batch
