"""The `tinygpt` command: one file per subcommand, each with `add_parser(subparsers)` and `run(args) -> int`.

A subcommand raises ordinary exceptions (ValueError, FileNotFoundError, …) for what a user can cause; `main` alone turns
them into one line on stderr and exit code 2 (bad input) or 1 (the machine failed: a full disk, say).
"""

import argparse
import sys
from collections.abc import Sequence

from .._version import __version__
from . import tokenizer

__all__ = ["main", "build_parser"]

SUBCOMMANDS = (tokenizer,)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="tinygpt", description="A language model's whole life in pure NumPy.")
    parser.add_argument("--version", action="version", version=f"tinygpt {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for subcommand in SUBCOMMANDS:
        subcommand.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code (0 done, 1 the machine failed, 2 bad input)."""
    args = build_parser().parse_args(argv)
    try:
        return args.run(args)
    except BrokenPipeError:  # `tinygpt … | head`: the reader went away, which is no error of ours
        sys.stderr.close()
        return 0
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, FileExistsError, PermissionError) as error:
        return _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error), 2)
    except OSError as error:
        return _fail(str(error), 1)
    except (ValueError, TypeError, IndexError, KeyError, ImportError) as error:
        return _fail(str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error), 2)


def _fail(message: str, code: int) -> int:
    print(f"tinygpt: error: {' '.join(message.split())}", file=sys.stderr)
    return code
