"""What a gradient check found: findings, the report that holds them, and the error that carries the report.

Prerequisites: oracles/. Next: sources.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Finding", "GradcheckError", "GradcheckReport"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or that could not be decided.

    Attributes:
        kind: "gradient" (a wrong number), "contract" (a wrong manner: shape, mutation, …) or "inconclusive".
        message: what is the matter, in one sentence.
        argument: the name of the argument whose gradient it is about, or "".
        index: the element of that argument, () for one without axes; None where no single element is meant.
        analytic: the gradient that was checked, at that index; None where no number is meant.
        numeric: what it should be, as far as the oracle can tell.
        error: the oracle's own uncertainty about `numeric`.
        oracle: who says so: "complex step", "Richardson ladder", "one-sided differences", or the contract's name.
    """

    kind: str
    message: str
    argument: str = ""
    index: tuple[int, ...] | None = None
    analytic: float | None = None
    numeric: float | None = None
    error: float | None = None
    oracle: str = ""

    @property
    def at(self) -> str:
        """The element as it is written between brackets."""
        return ", ".join(map(str, self.index or ())) or "()"

    @property
    def has_slope(self) -> bool:
        """Whether it is about one number that a central difference shows."""
        return self.kind == "gradient" and self.index is not None and self.oracle != "one-sided differences"

    def __str__(self) -> str:
        lines = [self.message]
        where = self.argument + ("" if self.index is None else f"[{', '.join(map(str, self.index))}]")
        for label, value in (("argument", where), ("analytic", self.analytic), ("numeric", self.numeric),
                             ("error estimate", self.error), ("oracle", self.oracle)):
            if value is not None and value != "":
                text = value if isinstance(value, str) else f"{value:.3g}" if label == "error estimate" else repr(value)
                lines.append(f"  {label:<15}{text}")
        return "\n".join(lines)


@dataclass
class GradcheckReport:
    """The outcome of a check; true only if it passed.

    Attributes:
        function: the name of what was checked.
        findings: what is wrong or undecided; empty for a pass. The most telling one comes first.
        notes: what a reader should know about a pass: promoted inputs, constants, a disqualified oracle.
        oracles: how many comparisons each oracle decided, the contracts among them.
        worst: the largest relative error among the accepted comparisons.
        evaluations: how often the function was called to check the numbers.
        seed: what the random directions were drawn from.
        inputs: the checked arguments by name, in float64.
    """

    function: str
    seed: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    oracles: Counter[str] = field(default_factory=Counter)
    worst: float = 0.0
    evaluations: int = 0
    inputs: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    reproduce: Callable[[], str] | None = field(default=None, repr=False)

    @property
    def status(self) -> str:
        """One of "passed", "failed", "inconclusive"."""
        if not self.findings:
            return "passed"
        return "inconclusive" if all(finding.kind == "inconclusive" for finding in self.findings) else "failed"

    @property
    def passed(self) -> bool:
        """Everything was compared, and agreed."""
        return self.status == "passed"

    @property
    def inconclusive(self) -> int:
        """How many comparisons could not be decided."""
        return sum(finding.kind == "inconclusive" for finding in self.findings)

    @property
    def finding(self) -> Finding | None:
        """The first finding, or None for a pass."""
        return self.findings[0] if self.findings else None

    def __bool__(self) -> bool:
        return self.passed

    @property
    def snippet(self) -> str:
        """A program that reproduces the first finding; "" for a pass."""
        return self.reproduce() if self.findings and self.reproduce is not None else ""

    def checked(self, raise_exception: bool) -> GradcheckReport:
        """This report; GradcheckError instead, if it is asked for, unless the check passed."""
        if raise_exception and not self.passed:
            raise GradcheckError(self)
        return self

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def __str__(self) -> str:
        decided = ", ".join(f"{count} by {oracle}" for oracle, count in self.oracles.items()) or "none"
        lines = [f"gradcheck of {self.function}: {self.status}", f"comparisons: {decided}; "
                 f"worst accepted error {self.worst:.1e}; {self.evaluations} evaluations; seed {self.seed}"]
        lines += [f"note: {note}" for note in self.notes]
        for finding in self.findings[:4]:
            lines += ["", f"{finding.kind}: {finding}"]
        if len(self.findings) > 4:
            lines.append(f"\n… and {len(self.findings) - 4} more findings")
        snippet = self.snippet
        if snippet:
            lines += ["", "To reproduce:", "", snippet]
        return "\n".join(lines)


class GradcheckError(AssertionError):
    """A check that did not pass; `.report` says why."""

    def __init__(self, report: GradcheckReport) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:  # written when it is read: Hypothesis raises hundreds of these to find the smallest
        return str(self.report)
