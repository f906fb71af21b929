"""How strong is the checker, and does it cry wolf? Seeded bugs, and correct gradients.

    python tests/testing/benchmark_gradcheck.py                             # the table of docs/gradient-checking.md
    python tests/testing/benchmark_gradcheck.py --seeds 2 --correct 500 softmax attention      # some bugs only
    python tests/testing/benchmark_gradcheck.py --correct 300 lstm --operations lstm lstm_cell   # and examples of some

Each bug of seeded_bugs/ is put to the checker with one example after the other, until it is caught, from each of
several seeds. The same examples are put to four stand-ins for other checkers (seeded_bugs/standins.py), from fewer
seeds: one example, as in a unit test that was written once, and 20 (of a whole model, one). Those of them that look at
every entry are not asked about arrays of many thousands, whose Jacobian would not fit into memory. Then correct
examples are checked: of every operation, of random expressions, and of plain functions with a gradient written by hand
(seeded_bugs/correct.py). All of it takes about an hour.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import numpy as np  # noqa: E402
from seeded_bugs import BUGS, STANDINS, Bug  # noqa: E402
from seeded_bugs.correct import expression, plain, wave  # noqa: E402
from seeded_bugs.models import held  # noqa: E402

from tinygpt.testing import gradcheck, op_db  # noqa: E402
from tinygpt.testing.registry import check_sample, operations  # noqa: E402

MANY, MANY_COSTLY = 20, 1  # examples that a stand-in sees; a whole model takes it seconds
EVERY_ENTRY = {"all ones", "torch"}  # stand-ins that compute a slope for every entry of the inputs …
JACOBIAN = 100_000                   # … which is done for no more entries, inputs times outputs, than these


@dataclass
class Result:
    """What came of one bug."""

    after: list[int | None] = field(default_factory=list)             # examples needed, for each seed; None: not caught
    oracles: Counter[str] = field(default_factory=Counter)
    one: Counter[str] = field(default_factory=Counter)                # seeds in which a stand-in caught it at once …
    many: Counter[str] = field(default_factory=Counter)               # … and in many examples
    too_large: set[str] = field(default_factory=set)                  # stand-ins that were not asked about all examples

    @property
    def caught(self) -> bool:
        """In every seed."""
        return None not in self.after


def put_to_us(bug: Bug, seed: int, examples: int, result: Result) -> None:
    """Examples until the bug is caught."""
    for i in range(examples):
        with bug.on():
            report = bug.example(seed, i).ours(seed)
        if not report:
            result.after.append(i + 1)
            result.oracles[report.findings[0].oracle] += 1
            return
    result.after.append(None)


def put_to_standins(bug: Bug, seed: int, result: Result) -> None:
    """One example, and many; an exception counts as caught."""
    rng = np.random.default_rng(seed)
    waiting = list(STANDINS)
    for i in range(MANY_COSTLY if bug.costly else MANY):
        for name in list(waiting):
            try:
                with bug.on(), bug.example(seed, i).problem() as problem, np.errstate(all="ignore"):
                    entries = sum(x.size for x in problem.inputs) * problem.base.size
                    if name in EVERY_ENTRY and entries > JACOBIAN:
                        result.too_large.add(name)
                        waiting.remove(name)
                        continue
                    passed = STANDINS[name](problem, rng)
            except Exception:
                passed = False
            if not passed:
                waiting.remove(name)
                result.one[name] += i == 0
                result.many[name] += 1


def checked_operations() -> list[str]:
    """The operations that have examples."""
    return [name for name in operations() if name in op_db]


def correct_examples(n: int, start: int, chosen: list[str] | None = None) -> tuple[int, Counter[str], list[str]]:
    """(how many, by which oracles, the false alarms) among correct examples: six of ten of operations, one of a hundred
    of a model with an optimizer beside it; or all of the `chosen` operations, which take turns."""
    names = chosen or checked_operations()
    oracles: Counter[str] = Counter()
    alarms = []
    for i in range(n):
        rng = np.random.default_rng([start, i])
        if chosen or i % 10 < 6:
            name = names[(i if chosen else i // 10 * 6 + i % 10) % len(names)]
            report = check_sample(name, op_db[name].draw(rng), seed=i)
        elif i % 10 < 8:
            name, (function, inputs) = "expression", expression(rng)
            report = gradcheck(function, *inputs, seed=i, raise_exception=False)
        elif i % 10 < 9:
            name, (function, gradient, inputs) = "wave", wave(rng)
            report = gradcheck(function, *inputs, grad=gradient, seed=i, raise_exception=False)
        elif i % 100 == 99:
            name, report = "model", held(rng).ours(i)
        else:
            name, function, gradient, inputs = plain(rng)
            report = gradcheck(function, *inputs, grad=gradient, seed=i, raise_exception=False)
        oracles.update(report.oracles)
        if not report:
            alarms.append(f"{name}, example {i}: {report}")
    return n, oracles, alarms


def table(results: dict[str, Result], seeds: int) -> list[str]:
    """Markdown, one line a bug."""
    marks = {name: f"{name}, one / many" for name in STANDINS}
    lines = ["| bug | caught | examples, at most | by | " + " | ".join(marks.values()) + " |",
             "|---|---|---|---|" + "---|" * len(STANDINS)]
    for name, result in results.items():
        found = [count for count in result.after if count is not None]
        oracle = result.oracles.most_common(1)[0][0] if found else "nothing"
        cells = ["–" if s in result.too_large else f"{result.one[s]} / {result.many[s]}" for s in STANDINS]
        most = max(found, default="")
        lines.append(f"| {name} | {len(found)} of {seeds} | {most} | {oracle} | {' | '.join(cells)} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of bugs' names; all by default")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--standin-seeds", type=int, default=5, help="seeds for the stand-ins, which are slow")
    parser.add_argument("--examples", type=int, default=100, help="at most, for each bug and seed")
    parser.add_argument("--correct", type=int, default=10_000, help="correct examples")
    parser.add_argument("--operations", nargs="+", metavar="NAME", choices=checked_operations(),
                        help="correct examples of these only; by default of all, and of what is no single operation")
    parser.add_argument("--start", type=int, default=2026, help="what the correct examples are drawn from")
    args = parser.parse_args()
    warnings.simplefilter("ignore")

    start = time.perf_counter()
    results: dict[str, Result] = {}
    for name, bug in BUGS.items():
        if args.names and not any(part in name for part in args.names):
            continue
        result = results[name] = Result()
        for seed in range(args.seeds):
            put_to_us(bug, seed, args.examples, result)
            if seed < args.standin_seeds:
                put_to_standins(bug, seed, result)
        print(f"{name}: {sum(count is not None for count in result.after)}", file=sys.stderr, flush=True)
    print("\n".join(table(results, args.seeds)))
    standin_seeds = min(args.seeds, args.standin_seeds)
    caught = sum(result.caught for result in results.values())
    most = max((count for result in results.values() for count in result.after if count is not None), default=0)
    print(f"\n{caught} of {len(results)} bugs caught in all of {args.seeds} seeds, within {most} examples.")
    for label, counts in (("one example", "one"), ("many examples", "many")):
        asked = {s: [result for result in results.values() if s not in result.too_large] for s in STANDINS}
        totals = [f"{s} {sum(getattr(r, counts)[s] == standin_seeds for r in asked[s])} of {len(asked[s])}"
                  for s in STANDINS]
        print(f"Stand-ins in all of {standin_seeds} seeds, with {label}: {', '.join(totals)}.")
    print(f"({time.perf_counter() - start:.0f} s)")

    start = time.perf_counter()
    n, oracles, alarms = correct_examples(args.correct, args.start, args.operations)
    print(f"\n{len(alarms)} false alarms in {n} correct examples ({time.perf_counter() - start:.0f} s). Comparisons: "
          + ", ".join(f"{count} by {oracle}" for oracle, count in oracles.most_common()) + ".")
    print("\n\n".join(alarms[:200]))
    return 0 if caught == len(results) and not alarms else 1


if __name__ == "__main__":
    sys.exit(main())
