"""Fine-tuning: a run on examples, from a model that is there or from random weights.

Prerequisites: run.py, objectives/task.py. Next: cli/finetune.py.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TextIO

from .finetune_options import FinetuneOptions
from .run import RunResult, start_run

__all__ = ["finetune"]


def finetune(options: FinetuneOptions, out: str | Path, *, resume: bool = False,
             stream: TextIO | None = None) -> RunResult:
    """Train on examples into the folder `out`; arguments and errors as for `run.start_run`."""
    if options.model is None and (options.lora is not None or options.freeze is not None):
        what = "freeze" if options.lora is None else "lora"
        warnings.warn(f"{what} without a model leaves random weights as they are; name one that was trained before "
                      "(--model)", stacklevel=2)
    return start_run(options, out, resume=resume, stream=stream)
