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
        asked: the name of the signal that came here, "SIGINT" or "SIGTERM", or None.
        received: the one that counts: where several ranks train, what they have agreed on.
        alone: whether there are no other ranks.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked: str | None = None
        self.received: str | None = None
        self.alone = True
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        entered = self._before or self.asked  # already: a block may stand inside another of the same object
        if not entered and threading.current_thread() is threading.main_thread():  # handlers are the main thread's
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = signal.Signals(number).name
        if self.alone:
            self.received = self.asked
        self._restore()

    def agree(self, asked: str | None) -> None:
        """What some rank's signal asks for counts for all."""
        self.received = self.received or asked

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, *exception: object) -> None:
        self._restore()
