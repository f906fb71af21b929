"""`tinygpt data`: from texts to a folder of tokens, which may be larger than memory.

Prerequisites: arguments.py, data/prepare.py. Next: pretrain.py.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from ..data.parts import Piece, cut_data
from ..data.prepare import Preparation, fingerprint_of_parts
from ..data.quality import STEPS, parse_steps
from ..data.sources import TOKEN_INDEX
from ..files import read_json, shown, write_json
from ..files.quiet import Quiet
from ..tokenizers import load_tokenizer
from ..training.lock import locked
from ..training.parallel import physical_cores
from ..training.progress import duration
from ..training.run import OPTIONS_FILE, RUN_FILES
from .arguments import whole
from .streams import print_result

__all__ = ["add_parser", "run"]

PART_MB = 32
LINE_EVERY = 10.0  # seconds, where there is no terminal


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `data` subcommand."""
    parser = subparsers.add_parser(
        "data", help="make tokens of texts that do not fit into memory",
        description="Make tokens of texts, in a folder that `tinygpt pretrain --data` takes, alone or mixed with "
                    "others (--data a:0.7 b:0.3). Texts and tokens may be larger than memory.")
    parser.set_defaults(run=run)
    parser.add_argument("--data", nargs="+", default=None, metavar="X", help="files, folders or named corpora")
    parser.add_argument("--tokenizer", default=None, metavar="DIR", help="a folder with a tokenizer")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument("--drop", nargs="+", default=None, metavar="STEP", help="drop texts, step by step: "
                        + ", ".join(f"{name}={step.default}" for name, step in STEPS.items())
                        + "; without = they have these settings [drop none]")
    parser.add_argument("--part-mb", type=whole, default=None, metavar="N",
                        help=f"megabytes of text that become a shard [{PART_MB}]")
    parser.add_argument("--processes", type=whole, default=None, metavar="N", help="that work at a time [one a core]")
    parser.add_argument("--resume", action="store_true",
                        help="go on after an interruption, to the same shards; no other option is needed")


def run(args: argparse.Namespace) -> int:
    """Prepare; the last line on standard output says what there is."""
    out = Path(args.out)
    processes = physical_cores() if args.processes is None else args.processes
    if not 1 <= processes <= 1024:
        raise ValueError(f"--processes must be from 1 to 1,024, got {processes:,}")
    if args.resume and (out / OPTIONS_FILE).is_file():
        with locked(out):
            return _prepare(_saved(out, args), processes)
    if not args.data:
        raise ValueError("there is nothing to make tokens of: give --data")
    if args.tokenizer is None:
        raise ValueError("give --tokenizer a folder with a tokenizer; tinygpt tokenizer train makes one")
    part_mb = PART_MB if args.part_mb is None else args.part_mb
    if not 1 <= part_mb <= 1 << 12:
        raise ValueError(f"--part-mb must be from 1 to {1 << 12:,}, got {part_mb:,}")
    drop, tokenizer = list(args.drop or []), load_tokenizer(args.tokenizer)
    data = [str(Path(spec).resolve()) if os.path.exists(spec) else spec for spec in args.data]
    steps, parts = parse_steps(drop), cut_data(data, part_mb * 1_000_000)
    _refuse_used(out)
    fresh = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out):
            _refuse_used(out)  # somebody may have come meanwhile
            tokenizer.save(out)
            write_json(out / OPTIONS_FILE, {"command": "data", "options": {
                "data": data, "drop": drop, "part_mb": part_mb, "parts": fingerprint_of_parts(parts)}})
    except FileExistsError:
        raise
    except BaseException:
        if fresh:
            shutil.rmtree(out, ignore_errors=True)
        raise
    with locked(out):
        return _prepare(Preparation(out, parts, steps), processes)


def _refuse_used(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out {out} is a file; name a folder")
    for name in (TOKEN_INDEX, *RUN_FILES, "model.safetensors", "config.json", "tokenizer.json"):
        if (out / name).exists():
            raise FileExistsError(f"{out} holds {name} already: go on with --resume if it is of an interrupted tinygpt "
                                  "data, or choose another --out")


def _saved(out: Path, args: argparse.Namespace) -> Preparation:
    """What an interrupted run was making.

    Raises:
        ValueError: another command's folder, options that are not its own, or data that have changed.
    """
    path = out / OPTIONS_FILE
    saved = read_json(path)
    options: Any = saved.get("options")
    if saved.get("command") != "data":
        raise ValueError(f"{out} holds a run of another command, {shown(saved.get('command'))}, not of tinygpt data")
    if not isinstance(options, dict) or set(options) != {"data", "drop", "part_mb", "parts"} or not (
            type(options["part_mb"]) is int and 1 <= options["part_mb"] <= 1 << 12
            and all(isinstance(options[name], list) and all(isinstance(word, str) for word in options[name])
                    for name in ("data", "drop"))):
        raise ValueError(f"{path} holds no options of tinygpt data; make the folder again")
    for name in ("data", "drop", "part_mb", "tokenizer"):
        if getattr(args, name) is not None:
            raise ValueError(f"--resume needs no --{name.replace('_', '-')}, and cannot change it: {out} says what is "
                             "made")
    parts: list[list[Piece]] = cut_data(options["data"], options["part_mb"] * 1_000_000)
    if fingerprint_of_parts(parts) != options["parts"]:
        raise ValueError(f"the data that {out} is made of have changed since it was begun, so it cannot go on; make "
                         "another with a new --out")
    return Preparation(out, parts, parse_steps(options["drop"]))


class _Display:
    """How far it is: a bar on a terminal, a line now and then anywhere else."""

    def __init__(self, total: int, processes: int) -> None:
        self.total, self.processes, self.start = total, processes, time.perf_counter()
        self._last, self._done, self._bar = self.start, 0, None
        if sys.stderr.isatty():
            from tqdm import tqdm

            class Bar(tqdm):
                """A bar without a thread that watches over it: a process that forks had better have no other."""
                monitor_interval = 0
            self._bar = Bar(total=total, unit="B", unit_scale=True, file=Quiet(sys.stderr),
                            ncols=shutil.get_terminal_size((100, 24)).columns or 100)

    def __call__(self, done: int, before: int) -> None:
        """Some bytes are done, of which those before this began say nothing of its speed."""
        now = time.perf_counter()
        if self._bar is not None:
            if not self._done:
                self._bar.initial = self._bar.n = self._bar.last_print_n = before
            self._bar.update(done - max(self._done, before))
        elif now - self._last >= LINE_EVERY:
            self._last = now
            left = (self.total - done) * (now - self.start) / max(1, done - before)
            print(f"{done / 1e6:,.0f} of {self.total / 1e6:,.0f} MB  {self.speed(done - before)}  {duration(left)} "
                  "left", file=sys.stderr)
        self._done = done

    def speed(self, n_bytes: int) -> str:
        """MB a second, in all and of a core."""
        rate = n_bytes / 1e6 / max(1e-9, time.perf_counter() - self.start)
        return f"{rate:.2f} MB/s, {rate / self.processes:.2f} a core"

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


def _prepare(work: Preparation, processes: int) -> int:
    total = sum(map(work.size, range(len(work.parts))))
    processes = min(processes, len(work.parts))
    display = _Display(total, processes)
    made = 0

    def progress(done: int, before: int) -> None:
        nonlocal made
        made = done - before
        display(done, before)
    try:
        index = work.run(processes, progress)
    except KeyboardInterrupt:
        print(f"stopped; continue with: tinygpt data --resume --out {shlex.quote(str(work.out))}", file=sys.stderr)
        raise
    finally:
        display.close()
    read, seconds = index["read"], time.perf_counter() - display.start
    print(f"read {read['texts']:,} texts of {read['characters']:,} characters")
    for name, counts in index["dropped"].items():
        print(f"{name} dropped {counts['texts']:,} texts of {counts['characters']:,} characters")
    speed = f"{made / 1e6:,.1f} MB in {duration(seconds)} ({display.speed(made)})" if made else "nothing was left to do"
    print_result(f"{index['tokens']:,} tokens of {index['texts']:,} texts in {len(index['shards']):,} shards, written "
                 f"to {work.out}; {speed}")
    return 0
