"""How a twin is entered beside its rule, and how all of them are switched off.

Prerequisites: engine/dispatch.py, which chooses between a rule and its twins. Next: cpu/blocks.py.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from ..engine.dispatch import Dispatch, Twin, twins_of

__all__ = ["accelerates", "disabled"]


def accelerates(op: Callable, *, device: str = "cpu", recorded: bool = True) -> Callable[[Callable], Callable]:
    """Enter a function as a twin of the operation `op` on one kind of device.

    The function takes the rule's arrays and settings, without `xp`, and returns what the rule returns, or
    NotImplemented. Of several twins the one entered last is asked first. With `recorded=False` it is asked only where
    nothing is recorded, before the others, and returns None in place of the way back.
    """
    operation = op.operation  # type: ignore[attr-defined]

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        twins = twins_of(operation)
        twins.insert(sum(not twin.recorded for twin in twins) if recorded else 0, Twin(function, device, recorded))
        return function
    return enter


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Run the pure rules inside `with kernels.disabled():`, in every thread."""
    before, Dispatch.twins_enabled = Dispatch.twins_enabled, False
    try:
        yield
    finally:
        Dispatch.twins_enabled = before


if os.environ.get("TINYGPT_KERNELS") == "off":  # for a whole process
    Dispatch.twins_enabled = False
