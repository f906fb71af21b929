"""Every operation of `OPS` and every twin of it on its examples: the table that `tinygpt gradcheck` prints.

The functions of ops/numpy_table.py that are made of others, and have no rule of their own, are in it too.

Prerequisites: vjp.py, contracts/twins.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..autograd import OPS, Tensor
from ..engine.dispatch import twins_of
from ..ops.numpy_table import ENTRIES
from .gradcheck import gradcheck
from .contracts.twins import check_twin
from .oracles.arguments import function_name
from .reports.report import GradcheckReport
from .samples import Sample, op_db
from .vjp import check_vjp

__all__ = ["Row", "check_operation", "check_sample", "in_parts", "operations"]

# Rules with complex outputs: their real and imaginary parts are checked.
COMPLEX = frozenset(("fft", "ifft", "rfft", "eigvals"))


def operations() -> list[str]:
    """The names of tinygpt's own operations, and after them of the functions made of them."""
    rules = [name for name, operation in OPS.items()
             if (operation.rule.__module__ or "").startswith("tinygpt.")]  # exec leaves none
    made = [name for name, entry in ENTRIES.items() if name not in OPS and name in op_db]
    return rules + made


def in_parts(function: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    """A function with its settings; complex results as two real ones."""
    def apply(*inputs: Any) -> Any:
        found = function(*inputs, **settings)
        outs = [out for out in (found if isinstance(found, (tuple, list)) else [found]) if isinstance(out, Tensor)]
        return [part for out in outs for part in ((out.real, out.imag) if out.dtype.kind == "c" else (out,))]
    return apply


def check_sample(name: str, sample: Sample, seed: int) -> GradcheckReport:
    """One example: of a rule with its contracts, of another function its gradient."""
    if name in OPS and name not in COMPLEX:
        return check_vjp(OPS[name].rule, *sample.inputs, constants=sample.constants, seed=seed, raise_exception=False,
                         **sample.settings)
    function = in_parts(ENTRIES[name].function, sample.settings)
    function.__name__ = name
    return gradcheck(function, *sample.inputs, seed=seed, raise_exception=False)


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
        name: one of `operations()`.
        examples: how many small ones to draw; twins get the large ones as well.
        seed: of all draws.
        device: "cpu" or "cuda".

    Raises:
        KeyError: no such operation, or one without samples.
    """
    if name not in OPS and name not in ENTRIES:
        raise KeyError(f"there is no operation {name!r}; there are {', '.join(sorted(operations()))}")
    if name not in op_db:
        raise KeyError(f"{name} has no samples: enter some with tinygpt.testing.samples.samples_of({name!r})")
    samples = op_db[name]
    row, start = Row(name), time.perf_counter()
    for i, sample in enumerate(samples.samples(examples, seed)):
        row.add(check_sample(name, sample, seed + i))
    row.seconds = time.perf_counter() - start
    yield row
    if name not in OPS:
        return
    operation = OPS[name]
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
