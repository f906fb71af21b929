"""The confusion matrix as a picture: where a classifier errs, at a glance.

Prerequisites: classification.py. Next: labelling.py.
"""

from __future__ import annotations

from pathlib import Path

from ..atomic_file import atomic_write
from .classification import Classification

__all__ = ["plot_confusion"]

MAX_NUMBERS = 20  # classes up to which each cell shows its number


def plot_confusion(found: Classification, picture: str | Path) -> bool:
    """Draw the matrix into a PNG, shaded by the share of each true class; False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    n = len(found.labels)
    size = min(max(3.4, 1.8 + 0.55 * n), 14)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    share = found.confusion / found.support.clip(min=1)[:, None]
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = [label if len(label) <= 20 else label[:19] + "…" for label in found.labels]
    axes.set_xticks(range(n), names, rotation=45 if n > 3 else 0, ha="right" if n > 3 else "center")
    axes.set_yticks(range(n), names)
    axes.set(xlabel="predicted", ylabel="truth", title=f"accuracy {found.accuracy:.1%} of {found.n_texts:,} texts")
    for row in range(n if n <= MAX_NUMBERS else 0):
        for column in range(n):
            axes.text(column, row, f"{found.confusion[row, column]:,}", ha="center", va="center",
                      color="white" if share[row, column] > 0.6 else "black")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    with atomic_write(picture) as file:
        figure.savefig(file, format="png", dpi=150)
    return True
