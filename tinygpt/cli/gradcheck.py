"""`tinygpt gradcheck [NAME …]`: the gradient of every operation, and its fast twins, checked on this machine."""

from __future__ import annotations

import argparse
from collections import Counter

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the `gradcheck` subcommand."""
    parser = subparsers.add_parser(
        "gradcheck", help="check the gradients of all operations on this machine",
        description="Check the gradient of each operation against numerical derivatives, and each fast twin against "
                    "its operation. Prints a table; the exit code is 1 if anything is wrong.")
    parser.set_defaults(run=run)
    parser.add_argument("names", nargs="*", metavar="NAME", help="operations to check; all by default")
    parser.add_argument("--examples", type=int, default=20, metavar="N", help="examples for each (default 20)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="draws other examples (default 0)")
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help='whose twins: "cpu" (default) or "cuda"')


def run(args: argparse.Namespace) -> int:
    """Print the table; 1 if something is wrong."""
    from ..autograd import OPS
    from ..backend import resolve_device
    from ..testing.registry import check_operation

    if args.examples < 1:
        raise ValueError(f"--examples must be at least 1, got {args.examples}")
    device = resolve_device(args.device).partition(":")[0]
    unknown = [name for name in args.names if name not in OPS]
    if unknown:
        raise ValueError(f"no operation {', '.join(unknown)}; there are {', '.join(sorted(OPS))}")
    names = args.names or [name for name, operation in OPS.items() if operation.rule.__module__.startswith("tinygpt.")]
    width = 2 + max(len(name) for name in names) + max(
        (len(twin.function.__name__) for name in names for twin in OPS[name].twins if twin.device == device), default=0)
    print(f"{'operation':{width}} {'examples':>8} {'worst error':>12} {'seconds':>8}  verdict, and who decided it")
    wrong = []
    for name in names:
        for row in check_operation(name, args.examples, args.seed, device):
            counts = Counter({what: count for what, count in row.oracles.items() if what != "contracts"})
            deciders = counts.most_common(1)
            verdict = f"{len(row.reports)} of {row.examples} WRONG" if row.reports else "ok"
            print(f"{row.name:{width}} {row.examples:8} {row.worst:12.1e} {row.seconds:8.2f}  {verdict}; "
                  f"{deciders[0][0] if deciders else 'contracts'}", flush=True)
            wrong += row.reports
    for report in wrong[:3]:
        print(f"\n{report}")
    if wrong:
        print(f"\n{len(wrong)} examples are wrong or undecided" + (", of which 3 are shown" if len(wrong) > 3 else ""))
    return 1 if wrong else 0
