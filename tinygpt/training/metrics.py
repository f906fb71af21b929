"""The history of a run: `metrics.jsonl`, one JSON object a line, and the picture of its losses.

A line {"step": 100, "loss": …, "lr": …} is a training step's, one with "validation_loss" a validation's. A resumed run
drops the lines beyond its checkpoint, so each step stands there once.

Next: trainer.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..atomic_file import atomic_write

__all__ = ["MetricsLog", "plot_losses", "read_metrics"]


def read_metrics(path: str | Path) -> Iterator[dict[str, Any]]:
    """The entries of a metrics file; a last line that was cut off is left out."""
    path = Path(path)
    if not path.exists():
        return
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the process was killed while it wrote this line
            if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                yield entry


class MetricsLog:
    """Appends to a metrics file, after dropping what lies beyond step `done`."""

    def __init__(self, path: str | Path, done: int = 0) -> None:
        self.path = Path(path)
        kept = [entry for entry in read_metrics(path) if entry["step"] <= done] if done else []
        with atomic_write(self.path) as file:
            file.write("".join(json.dumps(entry) + "\n" for entry in kept).encode())
        self._file = open(self.path, "a", encoding="utf-8")

    def write(self, **entry: Any) -> None:
        """Add one entry, at once."""
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def plot_losses(metrics: str | Path, picture: str | Path, unit: str = "tokens") -> bool:
    """Draw training and validation loss, averaged over a unit, over the steps into a PNG; False where matplotlib is not
    installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    entries = list(read_metrics(metrics))
    training = [(e["step"], e["loss"]) for e in entries if "loss" in e]
    validation = [(e["step"], e["validation_loss"]) for e in entries if "validation_loss" in e]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    if training:
        steps, losses = zip(*training)
        axes.plot(steps, losses, color="tab:blue", alpha=0.25, linewidth=0.8)
        axes.plot(steps, _smoothed(losses), color="tab:blue", linewidth=1.5, label="training (smoothed)")
    if validation:
        axes.plot(*zip(*validation), color="tab:orange", marker="o", markersize=4, label="validation")
    axes.set(xlabel="step", ylabel=f"loss (nats per {unit.removesuffix('s')})")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if training or validation:
        axes.legend(frameon=False)
    with atomic_write(picture) as file:
        figure.savefig(file, format="png", dpi=150)
    return True


def _smoothed(values: tuple[float, ...], keep: float = 0.95) -> list[float]:
    """The running mean, without the pull of a starting value."""
    out, mean, weight = [], 0.0, 0.0
    for value in values:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        out.append(mean / weight)
    return out
