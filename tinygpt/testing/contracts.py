"""What the contracts are made of: equal, near, overlapping, of the right form; and the arrays that a graph holds on to.

A projection Σ g·u broadcasts, so a gradient of the wrong shape can have the right projection; a rule that writes into
its cotangent is right until somebody else needs that array. The contracts look for such things before any number is
compared. Each raises `Broken` with a sentence that says what was found.

Prerequisites: problem.py. Next: tensor_contracts.py, plain_contracts.py, rules.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..backend import Array, device_of, to_numpy

__all__ = ["Broken", "NONDETERMINISTIC", "arrays_in", "check_form", "near", "overlap", "same", "saved_arrays",
           "size_of"]

NONDETERMINISTIC = ("the function gives other results when it is called again with the same input: seed its "
                    "randomness, or keep its state out of it")
CLOSE = 1e-9  # of the largest entry: sums in another order, far from any mistake


class Broken(Exception):
    """A contract does not hold.

    Attributes:
        contract: its name.
        argument: the argument concerned, or "".
        undecided: whether this makes a judgement impossible, rather than the gradient wrong.
    """

    def __init__(self, contract: str, message: str, argument: str = "", undecided: bool = False) -> None:
        super().__init__(message)
        self.contract, self.argument, self.undecided = contract, argument, undecided


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, NaN included."""
    a, b = to_numpy(a), to_numpy(b)
    return a.shape == b.shape and a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


def near(a: Any, b: Any, scale: float = 0.0, close: float = CLOSE) -> bool:
    """Equal to rounding: to `close` times the largest entry, or times `scale`."""
    a, b = to_numpy(a), to_numpy(b)
    if a.shape != b.shape:
        return False
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    size = max(float(np.abs(a[finite]).max(initial=0)), float(np.abs(b[finite]).max(initial=0)), scale)
    return bool((np.abs(a[finite] - b[finite]) <= close * size).all())


def size_of(x: Any) -> float:
    """The largest finite magnitude among floating-point numbers."""
    x = to_numpy(x)
    return float(np.abs(x[np.isfinite(x)]).max(initial=0)) if x.dtype.kind == "f" else 0.0


def overlap(a: Any, b: Any) -> bool:
    """True if the two are arrays on the host that share an element."""
    return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.size > 0 and np.may_share_memory(a, b) and \
        np.shares_memory(a, b)


def check_form(name: str, g: Any, x: Array) -> None:
    """Broken unless the gradient g has the shape, the dtype and the device of the input x."""
    if not hasattr(g, "shape") or not hasattr(g, "dtype"):
        raise Broken("form", f"the gradient of {name} is a {type(g).__name__}, expected an array", name)
    if g.shape != x.shape:
        raise Broken("shape", f"the gradient of {name} has shape {g.shape}, but {name} has shape {x.shape}", name)
    if g.dtype != x.dtype:
        raise Broken("dtype", f"the gradient of {name} is {g.dtype}, but {name} is {x.dtype}", name)
    if device_of(g) != device_of(x):
        raise Broken("device", f"the gradient of {name} is on {device_of(g)}, but {name} is on {device_of(x)}", name)


def arrays_in(x: Any, depth: int = 0) -> Iterator[Array]:
    """The arrays (and numbers, as arrays) that a closure holds, in tuples, lists and closures of closures as well."""
    if type(x) is float:
        yield np.asarray(x)
    elif isinstance(getattr(x, "dtype", None), np.dtype) and not isinstance(x, (np.generic, Tensor)):
        yield x
    elif isinstance(x, (tuple, list)) and depth < 5:
        for part in x:
            yield from arrays_in(part, depth + 1)
    elif hasattr(x, "__closure__") and depth < 5:
        for cell in x.__closure__ or ():
            try:
                yield from arrays_in(cell.cell_contents, depth + 1)
            except ValueError:  # a cell that is still empty
                pass


def saved_arrays(outputs: Sequence[Tensor]) -> list[tuple[str, Array]]:
    """(operation, array) for the arrays that the closures of a graph hold on to, each once."""
    seen: set[int] = set()
    found: list[tuple[str, Array]] = []
    waiting = [out._node for out in outputs if out._node is not None]
    visited = set(waiting)
    while waiting:
        node = waiting.pop()
        for array in arrays_in(node.backward):
            if id(array) not in seen:
                seen.add(id(array))
                found.append((node.name, array))
        for source in node.sources:
            if source is not None and not isinstance(source, Tensor) and source not in visited:
                visited.add(source)
                waiting.append(source)
    return found
