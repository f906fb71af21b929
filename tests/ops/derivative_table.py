"""NumPy's functions that Tensors have, each with its derivative, beside autograd, MyGrad and PyTorch.

    python tests/ops/derivative_table.py

That is the table of docs/derivatives.md.

The list comes from the table in tinygpt/ops/numpy_table.py. autograd and MyGrad count where they differentiate one of
our own samples, called as NumPy is; PyTorch, whose arguments are its own, where it has a function of the name. A column
is "?" where that package is not installed. Ten seconds.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygpt.ops import numpy_functions
from tinygpt.ops.numpy_table import ENTRIES, Entry
from tinygpt.testing import op_db


def package(name: str) -> Any:
    """An installed package, or None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def member(owner: Any, path: str) -> Any:
    """What a package has under a path of names, or None."""
    return functools.reduce(lambda part, name: getattr(part, name, None), path.split("."), owner)


def by_sample(entry: Entry, differentiate: Callable[[Callable[..., Any], list[Any], int, dict], Any],
              function: Any) -> bool:
    """Whether a package differentiates the function on one of our samples, by its first array."""
    for sample in op_db[entry.name].samples(10) if entry.name in op_db else ():
        operation = getattr(entry.function, "operation", None)
        args = [list(sample.inputs)] if operation is not None and operation.variadic else list(sample.inputs)
        places = [i for i, x in enumerate(args) if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.size]
        if not places or function is None:
            continue
        settings = {key: value for key, value in sample.settings.items() if value is not None and value is not False}
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if differentiate(function, args, places[0], settings) is not None:
                    return True
        except Exception:  # whatever a package does that does not know the function, or this use of it
            continue
    return False


def with_autograd(function: Any, args: list[Any], place: int, settings: dict) -> Any:
    """autograd's gradient of the sum of the result."""
    autograd, numpy = importlib.import_module("autograd"), importlib.import_module("autograd.numpy")

    def total(x: Any) -> Any:
        found = function(*args[:place], x, *args[place + 1:], **settings)
        parts = found if isinstance(found, (tuple, list)) else [found]
        return sum(numpy.sum(numpy.real(part)) for part in parts)
    return autograd.grad(total)(args[place])


def with_mygrad(function: Any, args: list[Any], place: int, settings: dict) -> Any:
    """MyGrad's gradient of the sum of the result."""
    mygrad = importlib.import_module("mygrad")
    x = mygrad.tensor(args[place])
    mygrad.sum(function(*args[:place], x, *args[place + 1:], **settings)).backward()
    return x.grad


def in_torch(entry: Entry) -> bool:
    """Whether PyTorch has a function of the name."""
    torch = package("torch")
    return any(member(torch, place + path) is not None for path in entry.names for place in ("", "Tensor.", "special."))


def rows() -> list[str]:
    """The lines of the table."""
    numpy_functions.library()
    peers = [package(name) for name in ("autograd.numpy", "mygrad", "torch")]
    lines = ["| NumPy's function | the derivative | autograd | MyGrad | PyTorch |", "|---|---|---|---|---|"]
    for entry in sorted(ENTRIES.values(), key=lambda entry: entry.names[0]):
        answers = [lambda: by_sample(entry, with_autograd, member(peers[0], entry.names[0])),
                   lambda: by_sample(entry, with_mygrad, member(peers[1], entry.names[0])),
                   lambda: in_torch(entry)]
        marks = ["?" if peer is None else "yes" if answer() else "" for peer, answer in zip(peers, answers)]
        names = ", ".join(f"`np.{name}`" for name in entry.names)
        lines.append(f"| {names} | {entry.derivative.replace('|', '∣')} | {' | '.join(marks)} |")
    return lines


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("\n".join(rows()))


if __name__ == "__main__":
    main()
