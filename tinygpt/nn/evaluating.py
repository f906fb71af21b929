"""Evaluation without touching the model: for the thread that evaluates, its modules are not in training.

`model.eval()` and, afterwards, `model.train()` would switch dropout off and on under the feet of a thread that trains
the same model, and of two that evaluate it the first to end would switch it on for the other. So each thread remembers
which modules it is evaluating at the moment, and `module.training` looks there as well.

Prerequisites: module.py. Next: placement.py.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .module import Module

__all__ = ["TRAINING", "evaluating"]


class _Evaluated(threading.local):
    """How many blocks of this thread each module is in, by identity."""

    def __init__(self) -> None:
        self.blocks: Counter[int] = Counter()


_evaluated = _Evaluated()


class _Training:
    """`module.training`: what `train` and `eval` have set, and False while this thread evaluates the module."""

    def __get__(self, module: Module | None, owner: type | None = None) -> Any:
        if module is None:
            return True
        return vars(module).get("training", True) and not _evaluated.blocks[id(module)]

    def __set__(self, module: Module, mode: bool) -> None:
        vars(module)["training"] = mode


TRAINING = _Training()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Inside the block, and in this thread, no part of the model drops anything out, as after `eval`; the model itself
    stays as it is.

    Args:
        model: a Module, or anything else with `eval`, `train` and `training`, which is switched and switched back; what
            has none of these stays as it is.
    """
    if not isinstance(model, Module):
        with _switched(model):
            yield
        return
    modules = list(model.modules())  # held, so that no other object has one of their identities
    _evaluated.blocks.update(map(id, modules))
    try:
        yield
    finally:
        _evaluated.blocks.subtract(map(id, modules))
        for module in modules:
            if not _evaluated.blocks[id(module)]:
                del _evaluated.blocks[id(module)]


@contextmanager
def _switched(model: Any) -> Iterator[None]:
    training = getattr(model, "training", False)
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()
