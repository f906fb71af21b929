"""The history of a run: `metrics.jsonl`, one JSON object a line, and the pictures of its losses and figures.

A line {"step": 100, "loss": …, "lr": …} is a training step's, one with "validation_loss" a validation's. A resumed run
drops the lines beyond its checkpoint, so each step stands there once.

Next: trainer.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import parse_object
from ..files.atomic_file import append_to, atomic_write

__all__ = ["MetricsLog", "plot_figures", "plot_losses", "read_metrics"]

MOST_BYTES = 1 << 16  # of a line; what is longer is no line of ours
REACH = 60  # values to either side; 0.95 ** 60 is 0.05


def read_metrics(path: str | Path) -> Iterator[dict[str, Any]]:
    """The entries of a metrics file, numbers by name; a line that is damaged or was cut off is left out."""
    path = Path(path)
    if not path.is_file():
        return
    with open(path, "rb") as file:
        for line in iter(lambda: file.readline(MOST_BYTES), b""):
            try:
                entry = parse_object(line, "a line")
            except ValueError:
                continue  # the process was killed while it wrote this line, or the disk has changed it
            if type(entry.get("step")) is int and all(map(_is_number, entry.values())):
                yield entry


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e300 < value < 1e300


class MetricsLog:
    """Appends to a metrics file, after dropping what lies beyond step `done`."""

    def __init__(self, path: str | Path, done: int = 0) -> None:
        self.path = Path(path)
        kept = [entry for entry in read_metrics(path) if entry["step"] <= done] if done else []
        with atomic_write(self.path) as file:
            file.write("".join(json.dumps(entry) + "\n" for entry in kept).encode())
        self._file = append_to(self.path)

    def write(self, **entry: Any) -> None:
        """Add one entry, at once."""
        self._file.write((json.dumps(entry) + "\n").encode())
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


NOT_DRAWN = {"step", "loss", "validation_loss", "lr", "grad_norm", "seconds", "tokens_per_second"}
MOST_PANELS = 12
FEW = 20  # values whose places are marked


def plot_figures(metrics: str | Path, picture: str | Path) -> bool:
    """Draw every figure beside the losses over the steps, each in a panel of its own; False where there is none, or no
    matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    series: dict[str, list[tuple[int, float]]] = {}
    for entry in read_metrics(metrics):
        for name in entry.keys() - NOT_DRAWN:
            series.setdefault(name, []).append((entry["step"], entry[name]))
    if not series:
        return False
    names = sorted(series)[:MOST_PANELS]
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4 * columns, 2.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels[len(names):]:
        axes.set_axis_off()  # the last row may have fewer
    for name, axes in zip(names, panels):
        steps, values = zip(*series[name])
        few = {"marker": "o", "markersize": 3} if len(values) <= FEW else {}  # one alone would not be seen
        axes.plot(steps, values, color="tab:blue", alpha=0.3, linewidth=0.8, **few)
        axes.plot(steps, _smoothed(values), color="tab:blue", linewidth=1.5)
        axes.set(title=name.replace("_", " "), xlabel="step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(picture) as file:
        figure.savefig(file, format="png", dpi=110)
    return True


def _smoothed(values: Sequence[float], keep: float = 0.95) -> list[float]:
    """A weighted mean around each value, `keep` times less with each step away, to both sides alike.

    A mean of what came before lags behind: where losses fall, it stands above all of them. This one is of as many
    values after as before, so it shrinks to the value itself at either end.
    """
    numbers, n = np.asarray(values, dtype=np.float64), len(values)
    out = numbers.copy()
    for reach in range(1, min(REACH, (n - 1) // 2) + 1):
        weights = keep ** np.abs(np.arange(-reach, reach + 1))
        weights /= weights.sum()
        if reach == REACH:
            out[reach:n - reach] = np.convolve(numbers, weights, "valid")
        else:
            out[reach] = weights @ numbers[:2 * reach + 1]
            out[n - 1 - reach] = weights @ numbers[n - 1 - 2 * reach:]
    return out.tolist()
