"""What the benchmarks share: the models' sizes, the batches, and what the system tells of a process.

Next: sides.py.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np

__all__ = ["LOSSES", "SHAPES", "batch", "busy_seconds", "cpu_seconds", "has_torch", "peak_mb", "resident_mb",
           "shared_out_mb"]

SHAPES = {  # vocabulary, context, layers, heads, channels, batch
    "tiny": dict(V=65, T=16, L=1, H=2, C=16, B=2),  # to see that a benchmark runs
    "char": dict(V=65, T=64, L=4, H=4, C=128, B=12),
    "baby": dict(V=65, T=256, L=6, H=6, C=384, B=16),
    "gpt2": dict(V=50257, T=256, L=12, H=12, C=768, B=4),
}


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def _windows(shape: dict[str, int], number: int) -> dict[str, np.ndarray]:
    """Random tokens and their successors."""
    tokens = np.random.default_rng(number).integers(0, shape["V"], (shape["B"], shape["T"] + 1))
    return {"ids": tokens[:, :-1], "targets": tokens[:, 1:]}


def _pairs(shape: dict[str, int], number: int) -> dict[str, np.ndarray]:
    """B pairs of answers, each behind a question of a quarter of the context, as `pair_batch` makes them; with what a
    reference would think of the answers."""
    rng = np.random.default_rng(number)
    ids = rng.integers(0, shape["V"], (shape["B"], 2, shape["T"] + 1))
    labels, asked = ids.copy(), shape["T"] // 4
    ids[:, 1, :asked] = ids[:, 0, :asked]
    labels[:, :, :asked] = -100
    guessed = -np.log(shape["V"]) * (shape["T"] + 1 - asked)
    reference = guessed + rng.standard_normal((shape["B"], 2))
    return {"ids": ids, "labels": labels, "targets": np.zeros(shape["B"], np.int64),
            "reference": reference.astype(np.float32)}


LOSSES = {"language": _windows, "dpo": _pairs}


def batch(shape: dict[str, int], number: int, loss: str = "language") -> dict[str, np.ndarray]:
    """What the loss of a step is of, the same for a step's number on every side."""
    return LOSSES[loss](shape, number)


def resident_mb(peak: bool, process: int | str = "self") -> float:
    """Resident memory of a process, in millions of bytes, now or at its peak; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM" if peak else "VmRSS"))
        return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        try:
            import resource
        except ImportError:
            return 0.0
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def shared_out_mb(process: int | str = "self") -> float:
    """Resident memory of a process in millions of bytes, of each page the part that falls to it: a page that three
    processes share is a third of a page in each (Linux's PSS). So a sum over processes counts every page once."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024 / 1e6


def peak_mb() -> float:
    """The peak of this process and of the replicas forked from it. What they share is counted for each."""
    from multiprocessing import active_children
    return resident_mb(peak=True) + sum(resident_mb(True, child.pid or "self") for child in active_children())


def cpu_seconds() -> float:
    """Processor time of this process and of the replicas forked from it so far; 0 where the system does not tell."""
    from multiprocessing import active_children
    try:
        fields = [Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
                  for pid in ("self", *(child.pid for child in active_children()))]
        return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def busy_seconds() -> float | None:
    """Processor time of the whole machine since it started; None where the system does not tell."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split()
        return sum(int(words[i]) for i in (1, 2, 3, 6, 7)) / os.sysconf("SC_CLK_TCK")  # all but idle, iowait, stolen
    except OSError:
        return None
