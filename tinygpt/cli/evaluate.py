"""`tinygpt evaluate`: measure a model on data, as a table or as JSON.

The tasks themselves are in evaluation/tasks.py; docs/evaluating.md says what the figures mean.

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

from ..files import printable, user_path, write_json
from ..files.atomic_file import write_text
from ..evaluation.benchmarks import BENCHMARKS
from ..evaluation.report_card import card_table, run_suite
from ..evaluation.report_page import report_page
from ..evaluation.suites import SUITES
from ..evaluation.tasks import N_PROMPTS, TASKS, Asked, task_for, task_named
from ..models import PretrainedModel
from ..tokenizers import Tokenizer, load_tokenizer
from ..training.progress import duration
from .arguments import add_device, load_placed, whole

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `evaluate` subcommand."""
    parser = subparsers.add_parser(
        "evaluate", help="measure a model on data",
        description="Measure a model on data: how well it predicts a text, answers multiple-choice questions, labels, "
                    "translates, summarises, compares sentences, which answers it prefers, or how varied its own texts "
                    "are.")
    parser.set_defaults(run=run)
    parser.add_argument("--model", required=True, metavar="MODEL",
                        help="a model folder with its tokenizer, a GGUF file, or owner/name on the Hugging Face Hub")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", metavar="FILE",
                      help="a file or a named corpus: texts, questions of a benchmark, labelled texts, two columns to "
                           "translate, texts with summaries, or two sentences and how alike they are")
    what.add_argument("--suite", choices=sorted(SUITES), help="write a report card of all that is at hand")
    parser.add_argument("--out", metavar="DIR", help="suite: where report.html and report.json go [nowhere]")
    parser.add_argument("--against", metavar="MODEL",
                        help="suite: a second model beside the first; win-rate: the other model [the same one]")
    parser.add_argument("--task", choices=sorted({*TASKS, *BENCHMARKS}), default=None,
                        help="what to measure: a task or a benchmark [follows model and data]")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--limit", type=whole, default=None, metavar="N",
                        help=f"use the first N documents, questions, texts or pairs [all; {N_PROMPTS} prompts]")
    parser.add_argument("--shots", type=whole, default=0, metavar="K",
                        help="questions: show K others with their answers before each, drawn by --seed [0]")
    parser.add_argument("--text-column", default="text", metavar="C",
                        help="classification: the column of texts; a number from 0 if there is no header line [text]")
    parser.add_argument("--label-column", default="label", metavar="C",
                        help="classification: the column of labels, likewise [label]")
    parser.add_argument("--num-beams", type=whole, default=1, metavar="N",
                        help="translation, summarization: beam search [1: greedy]")
    parser.add_argument("--max-new-tokens", type=whole, default=64, metavar="N",
                        help="generation, free answers, win-rate: tokens a text [64]")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T",
                        help="generation, win-rate: as for generate [0.8]")
    parser.add_argument("--seed", type=whole, default=0, metavar="S",
                        help="generation, win-rate: same seed, same texts; of the draw of examples [0]")
    parser.add_argument("--reference", default=None, metavar="MODEL",
                        help="preference: subtract this model's log-probabilities, as DPO does")
    parser.add_argument("--reward-model", default=None, metavar="MODEL", help="win-rate: the judge")
    parser.add_argument("--best-of", type=whole, default=1, metavar="N",
                        help="win-rate: the judge chooses the model's answer from N [1]")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.suite is None and args.out:
        raise ValueError("--out belongs to --suite, which writes a report card")
    if args.suite is None and args.against and args.task != "win-rate":
        raise ValueError("--against belongs to --suite and to --task win-rate, which compare two models")
    if args.suite is not None and args.task is not None:
        raise ValueError("--task chooses what to measure on --data; a suite has its own rows")
    if args.suite is not None:
        return _report(args)
    asked, model, tokenizer = _loaded(args)
    task = args.task or task_for(model, tokenizer, asked.data)
    figures, table = task_named(task)(model, tokenizer, asked)
    if args.json:
        print(json.dumps(_finite({"task": task, "model": args.model, "data": args.data, **figures}),
                         ensure_ascii=False))
    else:
        print(printable(table))
    return 0


def _loaded(args: argparse.Namespace) -> tuple[Asked, PretrainedModel, Tokenizer]:
    """What is asked, of which model, with which tokenizer."""
    given = {field.name: getattr(args, field.name) for field in fields(Asked) if field.name in args}
    asked = Asked(**given | {"data": args.data or ""}, model_name=args.model, track=watch)
    tokenizer = load_tokenizer(args.model)
    model = load_placed(args)
    model.check_tokenizer(len(tokenizer), f"the tokenizer in {args.model}")
    return asked, model, tokenizer


def _report(args: argparse.Namespace) -> int:
    """Run a suite for one model, or for two in turn; write and print the card."""
    folder = None if args.out is None else user_path(args.out)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)  # before hours of work
    cards = []
    for name in filter(None, (args.model, args.against)):
        asked, model, tokenizer = _loaded(argparse.Namespace(**vars(args) | {"model": name}))
        cards.append(run_suite(args.suite, model, tokenizer, asked, _say))
    figures = _finite({"suite": args.suite, "models": [card.to_dict() for card in cards]})
    if folder is not None:
        write_json(folder / "report.json", figures)
        write_text(folder / "report.html", report_page(cards))
    print(json.dumps(figures, ensure_ascii=False) if args.json else printable(card_table(cards)))
    return 0


def _say(name: str) -> None:
    """Which row is next, on standard error."""
    print(name, file=sys.stderr, flush=True)


def _finite(value: Any) -> Any:
    """The same with None for infinities, which JSON cannot write."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---------------------------------------------------------------------------------------------------------------------
# How far a measurement is


EVERY = 15.0  # seconds between two lines
T = TypeVar("T")


def watch(batches: Iterable[T], total: int, /) -> Iterator[T]:
    """The batches; how many are done goes to standard error: a bar on a terminal, elsewhere a line now and then, the
    first after the first batch of what takes long."""
    if sys.stderr.isatty():
        from tqdm import tqdm
        yield from tqdm(batches, total=total, unit="batch", dynamic_ncols=True, leave=False, delay=0.5)
        return
    start = said = time.perf_counter()
    for done, batch in enumerate(batches):
        now = time.perf_counter()
        left = (now - start) / max(done, 1) * (total - done)
        if done and (now - said >= EVERY or done == 1 and left >= EVERY):
            said = now
            print(f"{done:,} of {total:,} batches  {duration(left)} left", file=sys.stderr, flush=True)
        yield batch
