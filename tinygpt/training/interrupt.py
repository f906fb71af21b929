"""Ctrl-C and SIGTERM as a wish, not an accident: the loop finishes its step, saves, and leaves.

Next: trainer.py.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["StopSignals"]


class StopSignals:
    """Inside `with StopSignals() as stop:` the first signal sets `stop.received`; the second works as ever.

    Attributes:
        received: the name of the signal, "SIGINT" or "SIGTERM", or None.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        entered = self._before or self.received  # already: a block may stand inside another of the same object
        if not entered and threading.current_thread() is threading.main_thread():  # handlers are the main thread's
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, *exception: object) -> None:
        self._restore()
