"""Pretraining: a run from random weights on text.

Prerequisites: run.py. Next: finetune.py, cli/pretrain.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from .pretrain_options import PretrainOptions
from .run import RunResult, start_run

__all__ = ["pretrain"]


def pretrain(options: PretrainOptions, out: str | Path, *, resume: bool = False,
             stream: TextIO | None = None) -> RunResult:
    """Train a new model on text into the folder `out`; arguments and errors as for `run.start_run`."""
    return start_run(options, out, resume=resume, stream=stream)
