"""Runs the `tinygpt` command inside the test's process, as a shell would see it."""

from __future__ import annotations

from typing import NamedTuple

from tinygpt.cli import main

TINY = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "8", "--batch-size", "4", "--steps", "3",
        "--threads", "1"]


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


def command(capsys, *arguments: object) -> Done:
    """Run it; a wrong option, which argparse answers by leaving, counts as its exit code."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    captured = capsys.readouterr()
    return Done(code, captured.out, captured.err)


def error_line(done: Done, code: int = 2) -> str:
    """The one line on stderr of a command that failed; nothing may stand on stdout."""
    assert done.code == code and done.out == "", done
    lines = done.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("tinygpt: error: ") and len(lines[0]) > 25, done.err
    return lines[0]
