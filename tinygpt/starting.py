"""Ctrl-C while the program is being loaded: one line and exit code 130, as later.

Python loads NumPy and the package before the first line of the command runs, and answers Ctrl-C with a traceback
meanwhile. So the package's first import is this one. Where the `tinygpt` command is being started, it answers the
signal itself until `loaded` is called.

Next: files/shown.py.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

__all__ = ["is_command", "leave_quietly", "loaded"]

_before: list[object] = []  # the handler that was there, while ours is


def is_command(arguments: list[str]) -> bool:
    """Whether this process was started as the `tinygpt` command; `arguments` are all, the interpreter's included.

    >>> is_command(["python", "-m", "tinygpt", "chat"]), is_command(["python", "/usr/bin/tinygpt"])
    (True, True)
    >>> is_command(["python", "my_script", "tinygpt"]), is_command(["python", "-c", "import tinygpt"])
    (False, False)
    """
    names = ("tinygpt", "tinygpt.exe", "tinygpt-script.py")
    for place, argument in enumerate(arguments[1:], 1):
        if argument == "-m":
            return arguments[place + 1:place + 2] == ["tinygpt"]
        if argument == "-c":
            return False
        if not argument.startswith("-") and arguments[place - 1] not in ("-X", "-W"):
            return Path(argument).name.lower() in names
    return bool(arguments) and Path(arguments[0]).name.lower() in names


def _leave(number: int, frame: object) -> None:
    """No exception: inside an import it could be caught, or shown with its traceback."""
    try:
        os.write(2, b"tinygpt: error: interrupted\n")
    except OSError:
        pass  # standard error is closed
    os._exit(130)


def leave_quietly() -> None:
    """Answer Ctrl-C with one line until `loaded` is called; a process that ignores it goes on ignoring it."""
    if threading.current_thread() is threading.main_thread() and not _before \
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        _before.append(signal.signal(signal.SIGINT, _leave))


def loaded() -> None:
    """From now on Ctrl-C is an exception, which `cli.main` answers."""
    if _before:
        signal.signal(signal.SIGINT, _before.pop())  # type: ignore[arg-type]


if is_command(sys.orig_argv):
    leave_quietly()
