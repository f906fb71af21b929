"""A model in evaluation mode for a while.

Prerequisites: module.py. Next: experts.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["evaluating"]


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Inside the block the model does not drop anything out (`eval`); afterwards each part is as it was found.

    Args:
        model: a Module, or anything else with `eval` and `training`; what has neither stays as it is.
    """
    parts = model.modules() if hasattr(model, "modules") else [model]
    before = [(part, part.training) for part in parts if hasattr(part, "training")]
    if before:
        model.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training
