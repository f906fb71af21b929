"""The `tinygpt` command: one file per subcommand, each with `add_parser(subparsers)` and `run(args) -> int`.

A subcommand raises ordinary exceptions (ValueError, FileNotFoundError, …) for what a user can cause; `main` alone turns
them into one line on stderr and exit code 2 (bad input) or 1 (the machine failed: a full disk, say).
"""

import argparse
import errno
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from .._version import __version__
from ..backend import DeviceError
from ..blas import blas_threads
from .. import starting
from ..files import printable
from ..files.quiet import Quiet
from ..ranks import Group, end_together, require_same, together
from ..training.follow import follow_run
from ..training.run import OPTIONS_FILE, STATE_FILE, holds_run
from . import align, chat, convert, data, evaluate, finetune, generate, gradcheck, pretrain, tokenizer
from .arguments import flag
from .streams import reader_left, standard_streams, written
from .versions import versions

__all__ = ["main", "build_parser"]

SUBCOMMANDS = (tokenizer, data, pretrain, finetune, align, generate, chat, evaluate, convert, gradcheck)


class _Parser(argparse.ArgumentParser):
    """Reports a wrong option as all else is reported: in one line."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(_fail(f"{message} (see {self.prog} --help)", 2))

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message or "")  # argparse's own is silent if that fails


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(prog="tinygpt", description="A language model's whole life in pure NumPy.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--verbose", action="store_true",
                        help="with --version: those of Python, NumPy, BLAS and CuPy as well")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for subcommand in SUBCOMMANDS:
        subcommand.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code (0 done, 1 the machine failed, 2 bad input)."""
    starting.loaded()
    with standard_streams():
        try:
            return _written(_command(argv))
        except SystemExit as leaving:  # --help, or a wrong option
            raise SystemExit(_written(int(leaving.code or 0))) from None


def _command(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    try:
        ranks = together()
        if ranks.rank:  # the first one speaks for all
            sys.stdout = sys.stderr = Quiet(None)
        args = parser.parse_args(argv)
        if args.version:
            print(*versions() if args.verbose else [f"tinygpt {__version__}"], sep="\n")
            return 0
        if args.command is None:
            parser.error("a COMMAND is missing")
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.simplefilter("default", UserWarning)  # shown once, whatever Python was told about warnings
            if ranks.size > 1:
                _check_ranks(ranks, args)
            if ranks.rank:
                follow_run(ranks)
                return 0
            _check_folder(args)
            with blas_threads(getattr(args, "blas_threads", None)):
                return args.run(args)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BAD_INPUT as error:
        return _fail(_message(error), 2)
    except MACHINE as error:
        if isinstance(error, BrokenPipeError) and reader_left():
            return 0  # `tinygpt generate … | head`: the reader has had enough
        return _fail(_message(error), 2 if getattr(error, "errno", None) in BAD_NAMES else 1)


def _written(code: int) -> int:
    """The exit code of a command that is done, which says so if its output could not be written."""
    error = written()
    return code if code or error is None or isinstance(error, BrokenPipeError) else _fail(_message(error), 1)


def _check_ranks(ranks: Group, args: argparse.Namespace) -> None:
    """Refuse a command that is not for several ranks, and ranks that are told different things.

    Raises:
        ValueError: which command; which rank, and what it was told.
    """
    if not getattr(args, "on_ranks", False):
        raise ValueError(f"tinygpt {args.command} runs in one process, and a launcher started {ranks.size}: "
                         "several are for the commands that train")
    require_same(ranks, {flag(name): value for name, value in vars(args).items() if name != "run"})


def _check_folder(args: argparse.Namespace) -> None:
    """Refuse an empty --out, and --resume where there is no run, unless the command itself says what to train: a
    mistyped folder would get a run of the default options.

    Raises:
        ValueError, FileNotFoundError: there is no name; there is nothing to go on with.
    """
    if getattr(args, "out", None) == "":
        raise ValueError("--out is empty; name a folder (. is this one)")
    says_what = any(getattr(args, name, None) for name in ("data", "model", "preset"))
    if getattr(args, "resume", False) and not says_what and not holds_run(args.out):
        raise FileNotFoundError(
            f"--resume found no run in the folder {args.out!r}: it looked for {STATE_FILE} and {OPTIONS_FILE}; give "
            "the folder of a run, or say what to train (--data, --model or --preset), and it starts at step 0")


# What a user can cause and mend by other input; the rest of what is caught is the machine's or the training's failure.
BAD_INPUT = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError, ValueError,
             TypeError, LookupError, OverflowError, ImportError, DeviceError)
BAD_NAMES = {errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.ENXIO}  # of files, by the number of an OSError
MACHINE = (OSError, ArithmeticError, MemoryError, RuntimeError, EOFError, BufferError)
LONGEST_LINE, LONGEST_VALUE = 300, 80


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f": {error.filename}"
        advice = "; what was saved before is whole: make room, then run it again" * (error.errno == errno.ENOSPC)
        return f"{error.strerror}{where}{advice}"
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)  # or it would be a repr
    if isinstance(error, LookupError) and " " not in text:  # no sentence: the place where something was looked up
        return f"something that is needed is not there: {text or type(error).__name__}"
    return text or type(error).__name__


def one_line(message: str) -> str:
    """What others wrote may be in it: on one line, harmless and short, each value and the whole."""
    text = " ".join(printable(message[:100_000]).split())
    for quote in "'\"":  # a quote within a word is an apostrophe
        text = re.sub(rf"(?<!\w){quote}[^{quote}]*{quote}", _shortened, text)
    if len(text) <= LONGEST_LINE:
        return text
    end = LONGEST_LINE // 3  # what to do about it often stands at the end
    return f"{text[:LONGEST_LINE - end - 3]} … {text[-end:]}"


def _shortened(match: re.Match[str]) -> str:
    """A quoted value in at most LONGEST_VALUE characters, with its end: there a path says what it is the path of."""
    value, end = match[0], LONGEST_VALUE // 3
    return value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE - end - 1]}…{value[-end:]}"


def _fail(message: str, code: int) -> int:
    line = one_line(f"tinygpt: error: {message}")
    if end_together(line, code):  # where there are several ranks, it is printed once
        print(line, file=sys.stderr)
    return code


def _show_warning(message: Warning | str, *rest: object, **more: object) -> None:
    print(one_line(f"tinygpt: warning: {message}"), file=sys.stderr)
