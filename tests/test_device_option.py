"""`pytest --device NAME`: the tests for a GPU run on the pretend one, so that they are ready when there is one.

Where the device is missing, one line says so, and nothing is skipped in silence.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tinygpt.backend import cuda_available

TESTS = Path(__file__).resolve().parent


def pytest_with(*options: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(TESTS / "test_on_gpu.py")],
        capture_output=True, text=True, encoding="utf-8", cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"})


def test_the_tests_for_a_gpu_run_on_the_pretend_one():
    """The rules; the fused kernels have tests/kernels/test_cuda_twins.py."""
    done = pytest_with("-p", "fake_device", "--device", "fake:1", "-k", "rules and not two_hundred")
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(last.split()[0]) > 90 and "passed" in last and "failed" not in last


def test_a_missing_device_is_one_clear_error():
    name = "gpu" if cuda_available() else "cuda"
    done = pytest_with("--device", name)
    assert done.returncode == 4 and "passed" not in done.stdout and "skipped" not in done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"ERROR: --device {name}: ")
