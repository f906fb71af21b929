"""A long run needs no more memory than a short one: each step's graph is gone before the next begins."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygpt.models import GPT, GPTConfig
from tinygpt.training import Criterion, Trainer, TrainingOptions, language_loss


def resident_mb() -> float:
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


class Batches:
    """Random ids, and the memory in use at each thousandth step."""

    def __init__(self) -> None:
        self.resident: list[float] = []

    def batch(self, step: int) -> dict[str, np.ndarray]:
        if step % 400 == 399:
            self.resident.append(resident_mb())
        ids = np.random.default_rng(step).integers(16, size=(2, 8))
        return {"ids": ids, "targets": ids}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_flat_over_two_thousand_steps():
    source = Batches()
    model = GPT(GPTConfig(vocab_size=16, block_size=8, n_layer=1, n_head=2, n_embd=16, dropout=0.1))
    Trainer(model, Criterion(language_loss), source, TrainingOptions(steps=2000, batch_size=2, threads=1)).run()
    assert len(source.resident) == 5
    assert source.resident[-1] - source.resident[0] < 2  # MB; one lost graph a step would be more than 40
