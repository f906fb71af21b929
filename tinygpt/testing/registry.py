"""Every operation of `OPS` and every twin of it on its examples: the table that `tinygpt gradcheck` prints.

Prerequisites: vjp.py, contracts/twins.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..autograd import OPS
from ..engine.dispatch import twins_of
from .contracts.twins import check_twin
from .oracles.arguments import function_name
from .reports.report import GradcheckReport
from .samples import op_db
from .vjp import check_vjp

__all__ = ["Row", "check_operation"]


@dataclass
class Row:
    """What came of one rule or twin.

    Attributes:
        name: the operation, or the twin's function.
        examples: how many were run (for a twin: served).
        worst: the largest relative error that was accepted.
        oracles: how many comparisons each oracle decided.
        seconds: how long it took.
        reports: those that did not pass.
    """

    name: str
    examples: int = 0
    worst: float = 0.0
    oracles: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    reports: list[GradcheckReport] = field(default_factory=list)

    def add(self, report: GradcheckReport) -> None:
        """Count one example."""
        self.examples += 1
        self.worst = max(self.worst, report.worst)
        self.oracles.update(report.oracles)
        if not report:
            self.reports.append(report)


def check_operation(name: str, examples: int = 20, seed: int = 0, device: str = "cpu") -> Iterator[Row]:
    """Check one operation's rule, then each of its twins for a kind of device.

    Args:
        name: a key of `OPS`.
        examples: how many small ones to draw; twins get the large ones as well.
        seed: of all draws.
        device: "cpu" or "cuda".

    Raises:
        KeyError: no such operation, or one without samples.
    """
    if name not in OPS:
        raise KeyError(f"there is no operation {name!r}; there are {', '.join(sorted(OPS))}")
    if name not in op_db:
        raise KeyError(f"{name} has no samples: enter some with tinygpt.testing.samples.samples_of({name!r})")
    operation, samples = OPS[name], op_db[name]
    row, start = Row(name), time.perf_counter()
    for i, sample in enumerate(samples.samples(examples, seed)):
        row.add(check_vjp(operation.rule, *sample.inputs, constants=sample.constants, seed=seed + i,
                          raise_exception=False, **sample.settings))
    row.seconds = time.perf_counter() - start
    yield row
    for twin in twins_of(operation):
        if twin.device != device:
            continue
        row, start = Row(f"{name}: {function_name(twin.function)}"), time.perf_counter()
        for sample in (*samples.samples(examples, seed), *samples.large_samples(seed)):
            report = check_twin(operation, twin, sample, seed)
            if report.oracles:
                row.add(report)
        row.seconds = time.perf_counter() - start
        yield row
