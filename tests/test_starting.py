"""Ctrl-C while the command is being loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tinygpt.starting import is_command


@pytest.mark.parametrize("arguments, expected", [
    (["python", "-m", "tinygpt"], True), (["python", "-X", "dev", "-m", "tinygpt", "chat"], True),
    (["python", "-Im", "other"], False), (["/usr/bin/python3", "/usr/bin/tinygpt", "chat"], True),
    (["tinygpt.exe"], True), (["python"], False), (["python", "-m", "pytest", "tinygpt"], False),
    (["python", "-W", "tinygpt", "x.py"], False), (["python", "-c", "import tinygpt"], False), ([], False),
])
def test_the_command_is_told_by_how_it_was_started(arguments, expected):
    assert is_command(arguments) is expected


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_an_interrupt_is_no_traceback(delay):
    """The signal comes when the package's first import is done; before, it is Python's own."""
    process = subprocess.Popen([sys.executable, "-X", "importtime", "-m", "tinygpt", "gradcheck", "--examples", "1000"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # ignored behind `&`
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "tinygpt.starting" in line:
            break
    time.sleep(delay)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    lines = [line for line in err.splitlines() if not line.startswith("import time:")]
    assert process.returncode == 130 and lines == ["tinygpt: error: interrupted"], (process.returncode, lines)
