"""Keeping freed memory is a request to glibc, and nothing anywhere else."""

from __future__ import annotations

import subprocess
import sys

from tinygpt.kernels.cpu import allocator


def test_it_says_whether_it_did_anything():
    code = ("import numpy as np; from tinygpt.kernels.cpu import keep_freed_memory; print(keep_freed_memory());"
            "x = [np.ones(1 << 22) for _ in range(3)]; del x; print(np.ones(1 << 20).sum())")
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert lines[0] in ("True", "False") and lines[1] == "1048576.0"


def test_it_is_quiet_on_other_systems(monkeypatch):
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert allocator.keep_freed_memory() is False
