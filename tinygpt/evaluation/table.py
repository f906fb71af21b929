"""Figures as text: rows in aligned columns, for people; machines read the same figures as JSON.

Next: words.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..files import printable

__all__ = ["format_table"]

WIDEST = 60  # characters of a cell

Cell = str | int | float | None


def _show(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.4f}" if abs(cell) < 100 else f"{cell:.1f}"
    return f"{cell:,}" if isinstance(cell, int) else _fitting(cell)


def _fitting(text: str) -> str:
    """A label, or whatever else others wrote, on one line, harmless and not long."""
    text = " ".join(printable(text).splitlines()).replace("\t", " ")
    return text if len(text) <= WIDEST else f"{text[:WIDEST - 1]}…"


def format_table(rows: Sequence[Sequence[Cell]], header: Sequence[str] = ()) -> str:
    """Rows as lines: the first column to the left, the others to the right; None is a dash, a float has four digits.

    >>> print(format_table([["ham", 4, 0.5], ["spam", 1200, None]], header=["label", "count", "recall"]))
    label  count  recall
    ham        4  0.5000
    spam   1,200       -
    """
    lines = [list(map(_fitting, header))] * bool(header) + [[_show(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in
                  enumerate(zip(line, widths))).rstrip() for line in lines)
