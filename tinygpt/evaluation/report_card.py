"""A report card: every figure of a suite for one model or two, as a table, as JSON, and as a page.

Prerequisites: suites.py. Next: report_page.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..models import PretrainedModel
from ..tokenizers import Tokenizer
from ..tokenizers.base import Unwritable
from .running import Unfit
from .suites import PARTS, SUITES, Figure, Missing, Row
from .table import format_table
from .tasks import Asked

__all__ = ["Card", "Line", "aligned", "card_table", "peak_megabytes", "run_suite", "shown_figure"]


@dataclass(frozen=True)
class Line:
    """What a row came to.

    Attributes:
        part, name, blind: the row's.
        figures: none where it could not be measured.
        missing: why it could not; "" where it could.
        seconds: how long it took.
    """

    part: str
    name: str
    blind: str
    figures: tuple[Figure, ...]
    missing: str
    seconds: float


@dataclass(frozen=True)
class Card:
    """The report of one model.

    Attributes:
        model: its name. suite: the name of the suite. limit: of questions, or None.
        lines: in the order of the suite.
        megabytes: the most memory that the process has used so far.
    """

    model: str
    suite: str
    limit: int | None
    lines: tuple[Line, ...]
    megabytes: float | None

    def to_dict(self) -> dict[str, Any]:
        """All of it, in types that JSON knows."""
        return asdict(self) | {"seconds": sum(line.seconds for line in self.lines)}


def peak_megabytes() -> float | None:
    """The most memory that this process has used, in megabytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # on Windows
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def run_suite(suite: str, model: PretrainedModel, tokenizer: Tokenizer, asked: Asked,
              say: Callable[[str], None] = lambda name: None) -> Card:
    """Measure every row of a suite.

    Args:
        suite: a name in SUITES.
        asked: its limit, seed and track count; its data do not.
        say: is told each row before it is measured.

    Raises:
        ValueError: data at hand that are damaged, named by file and line.
    """
    lines = []
    for row in SUITES[suite]:
        say(row.name)
        start = time.perf_counter()
        figures, missing = _measured(row, model, tokenizer, asked)
        lines.append(Line(row.part, row.name, row.blind, tuple(figures), missing, time.perf_counter() - start))
    return Card(asked.model_name, suite, asked.limit, tuple(lines), peak_megabytes())


def _measured(row: Row, model: PretrainedModel, tokenizer: Tokenizer, asked: Asked) -> tuple[list[Figure], str]:
    try:
        return row.measure(model, tokenizer, replace(asked, data="")), ""
    except (Missing, Unfit, Unwritable) as reason:  # the other rows are measured all the same
        return [], str(reason)


def shown_figure(figure: Figure | None) -> str:
    """A figure and its interval, short."""
    if figure is None:
        return "-"
    interval = "" if figure.interval is None else " ({:.3f} … {:.3f})".format(*figure.interval)
    return (f"{figure.value:.3f}" if abs(figure.value) < 1_000 else f"{figure.value:,.0f}") + interval


def aligned(cards: Sequence[Card]) -> list[tuple[Line, list[tuple[str, list[Figure | None]]]]]:
    """For each row of the suite its line in the first card, and each figure by name with its value in every card."""
    found = []
    for lines in zip(*(card.lines for card in cards)):
        names = list(dict.fromkeys(figure.name for line in lines for figure in line.figures))
        found.append((lines[0], [(name, [next((figure for figure in line.figures if figure.name == name), None)
                                         for line in lines]) for name in names]))
    return found


def card_table(cards: Sequence[Card]) -> str:
    """The figures as text, part by part; what could not be measured stands at the end with its reason."""
    blocks = []
    for part in PARTS:
        rows: list[list[str | float | None]] = []
        for line, figures in aligned(cards):
            if line.part != part or not figures:
                continue
            rows.append([line.name, *[""] * len(cards), "", ""])
            for name, values in figures:
                known = next(figure for figure in values if figure is not None)
                others = ", ".join(f"{ref.who} {ref.value:.2f}" for ref in known.references)
                rows.append([f"  {name}", *map(shown_figure, values),
                             "" if known.chance is None else f"{known.chance:.3f}", others])
        if rows:
            header = [part, *(card.model for card in cards), "chance", "others"]
            blocks.append(format_table(rows, header))
    missing = [f"not measured: {line.name}: {line.missing}" for card in cards for line in card.lines if line.missing]
    return "\n\n".join([*blocks, "\n".join(dict.fromkeys(missing))]).rstrip() + "\n(in brackets: 95% confidence)"
