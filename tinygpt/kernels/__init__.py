"""Fast twins: functions with the contract of a rule, and its results, that take less time or memory.

A rule says what an operation *is*; a twin says how to get there quickly on one kind of device. The twin is chosen
when the operation is called; what it does not serve (another dtype, an odd layout) it leaves to the rule by returning
NotImplemented. The test suite runs every twin on the samples of its rule and compares outputs and gradients.

Read before: ops/. Read next: cpu.py.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from ..autograd import Operation, Twin

__all__ = ["accelerates", "disabled"]


def accelerates(op: Callable, *, device: str = "cpu") -> Callable[[Callable], Callable]:
    """Enter a function as a twin of the operation `op` on one kind of device.

    The function takes the rule's arrays and settings, without `xp`, and returns what the rule returns, or
    NotImplemented. Of several twins the one entered last is asked first.
    """
    operation = op.operation  # type: ignore[attr-defined]

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        operation.twins.insert(0, Twin(function, device))
        return function
    return enter


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Run the pure rules inside `with kernels.disabled():`, in every thread."""
    before, Operation.twins_enabled = Operation.twins_enabled, False
    try:
        yield
    finally:
        Operation.twins_enabled = before


if os.environ.get("TINYGPT_KERNELS") == "off":  # for a whole process
    Operation.twins_enabled = False
