
"""`tinygpt gradcheck [NAME …]`: the gradient of every operation, and its fast twins, checked on this machine."""

from __future__ import annotations

import argparse
import difflib
import time
from collections.abc import Iterable

from .arguments import whole

__all__ = ["add_parser", "run"]

SHORT = {  # what the table calls the oracles
    "complex step and central difference": "complex, central", "complex step and Richardson ladder": "complex, ladder",
    "complex step": "complex step", "Richardson ladder": "ladder", "one-sided differences": "one-sided",
    "the rule in float64": "its rule", "the rule in float32": "its rule",
}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `gradcheck` subcommand."""
    parser = subparsers.add_parser(
        "gradcheck", help="check the gradients of all operations on this machine",
        description="Check the gradient of each operation against numerical derivatives, and each fast twin (indented) "
                    "against its operation. Prints a table; the exit code is 1 if anything is wrong or undecided.")
    parser.set_defaults(run=run)
    parser.add_argument("names", nargs="*", metavar="NAME", help="operations to check; all by default")
    parser.add_argument("--examples", type=whole, default=20, metavar="N", help="examples for each (default 20)")
    parser.add_argument("--seed", type=whole, default=0, metavar="S", help="draws other examples (default 0)")
    parser.add_argument("--device", default="cpu", metavar="DEVICE",
                        help='whose twins: "cpu" (default) or "cuda", whose fused kernels are switched on for it')


def run(args: argparse.Namespace) -> int:
    """Print the table; 1 if something is wrong."""
    from ..autograd import OPS
    from ..backend import resolve_device
    from ..engine.dispatch import twins_of
    from ..kernels.cuda import switch, switched_on
    from ..testing.registry import check_operation, operations

    if args.examples < 1:
        raise ValueError(f"--examples must be at least 1, got {args.examples}")
    if args.seed < 0:
        raise ValueError(f"--seed must not be negative, got {args.seed}")
    device = resolve_device(args.device).partition(":")[0]
    _check_names(args.names, sorted({*OPS, *operations()}, key=lambda name: name.lstrip("_")))
    names = args.names or operations()
    twins = [twin.function.__name__ for name in names if name in OPS
             for twin in twins_of(OPS[name]) if twin.device == device]
    width = max(map(len, ["operation", *names, *("  " + twin for twin in twins)]))
    print(f"{'operation':{width}}  examples  worst error  {'oracle':16}  {'time':>7}")
    start, examples, wrong, n_twins = time.perf_counter(), 0, [], 0
    for name in names:
        with switch(device == "cuda" or switched_on()):
            rows = list(check_operation(name, args.examples, args.seed, device))
        for row in rows:
            twin = row.name.partition(": ")[2]
            n_twins += bool(twin)
            what = "WRONG" if any(report.status == "failed" for report in row.reports) else "undecided"
            oracle = (f"{len(row.reports)} of {row.examples} {what}" if row.reports else
                      _decider(row.oracles.most_common()))
            print(f"{'  ' + twin if twin else name:{width}}  {row.examples:8,}  {row.worst:11.1e}  {oracle:16}  "
                  f"{row.seconds:5.2f} s", flush=True)
            examples += row.examples
            wrong += row.reports
    print(f"\n{_count(len(names), 'operation')} and {_count(n_twins, 'fast twin')}, {_count(examples, 'example')} in "
          f"{time.perf_counter() - start:.1f} s: " + (f"{len(wrong):,} wrong or undecided" if wrong else "all right"))
    for report in wrong[:3]:
        print(f"\n{report}")
    if len(wrong) > 3:
        print(f"\n… and {len(wrong) - 3} more")
    return 1 if wrong else 0


def _check_names(names: Iterable[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            close = [other for other in known if name and name in other] or difflib.get_close_matches(name, known)
            raise ValueError(f"no operation {name}: " + (f"did you mean {' or '.join(close)}?" if close else
                                                         f"expected one of {', '.join(known)}"))


def _decider(oracles: Iterable[tuple[str, int]]) -> str:
    """Who decided most comparisons of numbers."""
    return next((SHORT.get(oracle, oracle) for oracle, _ in oracles if oracle in SHORT), "contracts")


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
