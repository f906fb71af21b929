"""What a person sees while a model trains: a bar on a terminal, plain lines anywhere else.

Next: trainer.py.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from ..files import printable
from ..files.quiet import Quiet

__all__ = ["Progress", "duration"]


def duration(seconds: float) -> str:
    """Seconds as 0:07, 12:34 or 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _columns(stream: Any) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return 0


class Progress:
    """Reports on a run of `total` steps to a stream, standard error by default.

    Args:
        total: steps of the whole run. done: steps already behind it.
        stream: where to write; what cannot be written there is lost, and the run goes on.
        every: steps between plain lines; a twentieth of the run by default.
        unit: what the speed counts.
    """

    def __init__(self, total: int, done: int = 0, stream: TextIO | None = None, every: int | None = None,
                 unit: str = "tokens") -> None:
        self.total, self.unit, self.stream = total, unit, Quiet(sys.stderr if stream is None else stream)
        self.every = max(1, total // 20) if every is None else every
        self._seconds, self._steps, self._tokens = 0.0, 0, 0.0
        self._last: float | None = None
        self._bar: Any = None
        if self.stream.isatty():
            from tqdm import tqdm

            class Bar(tqdm):
                """A bar without a thread that watches over it: a process that forks had better have no other."""
                monitor_interval = 0

            sized = _columns(self.stream) > 0  # tqdm shows nothing on one without size
            self._bar = Bar(total=total, initial=done, file=self.stream, unit="step", dynamic_ncols=sized,
                            ncols=None if sized else 100)

    def resume_clock(self) -> None:
        """Count time from now on; call after anything that is not training."""
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call of this, of `step` or of `resume_clock`."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before if before is not None else 0.0

    def step(self, done: int, loss: float, lr: float, tokens: float, seconds: float | None = None,
             more: Mapping[str, float] | None = None) -> dict[str, float]:
        """One more step is done. Returns the figures to log: seconds of training so far, and tokens per second.

        Args:
            seconds: what the step took; by default, the time since the last one.
            more: further figures of the step, to be shown beside its loss.
        """
        self._seconds += self.lap() if seconds is None else seconds
        self._steps, self._tokens = self._steps + 1, self._tokens + tokens
        rate = self._tokens / self._seconds if self._seconds else 0.0
        beside = "".join(f"{name.replace('_', ' ')} {value:.3f}  " for name, value in (more or {}).items())
        left = (self.total - done) * self._seconds / self._steps
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.3f}, {beside}lr {lr:.1e}, {rate:,.0f} {self.unit}/s", refresh=False)
            self._bar.update(1)
        elif done % self.every == 0 or done == self.total:
            self.line(f"step {done}/{self.total}  loss {loss:.4f}  {beside}lr {lr:.2e}  {rate:,.0f} {self.unit}/s  "
                      f"{duration(left)} left")
        return {"seconds": round(self._seconds, 3), "tokens_per_second": round(rate, 1)}

    def line(self, text: str) -> None:
        """Write a line, above the bar if there is one, as far as it is safe to show: a sample may hold anything."""
        text = printable(text)
        if self._bar is not None:
            self._bar.write(text, file=self.stream)
        else:
            self.stream.write(text + "\n")
            self.stream.flush()

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
