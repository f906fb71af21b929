"""What the contracts are made of: equal, near, overlapping, unchanged, of the right form, in any memory layout.

A projection Σ g·u broadcasts, so a gradient of the wrong shape can have the right projection; a rule that writes into
its cotangent is right until somebody else needs that array. The contracts look for such things before any number is
compared. Each raises `Broken` with a sentence that says what was found.

Prerequisites: oracles/, reports/report.py. Next: tensors.py, plain.py, rules.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...autograd import Tensor
from ...backend import Array, device_of, to_numpy
from ..reports.report import Finding

__all__ = ["Broken", "CLOSE", "LAYOUTS", "NONDETERMINISTIC", "UNLIKE_RECORDED", "Watch", "arrays_in", "check_form",
           "in_layout", "near", "overlap", "same", "same_gradient", "size_of"]

NONDETERMINISTIC = ("not deterministic: the function gives other results when it is called again with the same input; "
                    "seed its randomness, or keep its state out of it")
UNLIKE_RECORDED = ("the function gives other results under no_grad than when it is recorded: differences of the one "
                   "say nothing about the gradient of the other")
CLOSE = 1e-9  # of the largest entry: sums in another order, far from any mistake
LAYOUTS = ("C", "F", "strided", "reversed")  # row-major; column-major; every other element of a larger array; backwards


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

    @property
    def oracle(self) -> str:
        """How a report calls it."""
        return f"contract: {self.contract}"

    def finding(self, where: str = "") -> Finding:
        """What a report says of it; `where` comes first."""
        return Finding("inconclusive" if self.undecided else "contract", f"{where}{self}", self.argument,
                       oracle=self.oracle)


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, NaN included."""
    a, b = to_numpy(a), to_numpy(b)
    return a.shape == b.shape and a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


def same_gradient(a: Any, b: Any) -> bool:
    """Both None, or equal to the bit."""
    return a is b if a is None or b is None else same(a, b)


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


class Watch:
    """Arrays that somebody is given to read, and not to write to."""

    def __init__(self) -> None:
        self._watched: list[tuple[str, str, str, Any, Any]] = []

    def add(self, what: str, message: str, array: Any, argument: str = "") -> None:
        """Watch one array.

        Args:
            what: its name in the contract: "cotangent".
            message: how the sentence goes on that begins "backward changed".
            array: the array; what is none (a number, None) is left out.
            argument: the argument that it belongs to.
        """
        if hasattr(array, "dtype"):
            self._watched.append((what, message, argument, array, array.copy()))

    def add_inputs(self, names: Sequence[str], arrays: Sequence[Any]) -> None:
        """Watch a function's inputs."""
        for name, x in zip(names, arrays):
            self.add("inputs", f"its input {name} in place", x, name)

    def check(self, who: str) -> None:
        """Broken if an array is not what it was; `who` had it."""
        for what, message, argument, array, before in self._watched:
            if not same(array, before):
                raise Broken(f"{what} unchanged", f"{who} changed {message}", argument)


def in_layout(x: Array, layout: str) -> Array:
    """The same numbers in another memory layout; a copy.

    Args:
        x: any array.
        layout: one of LAYOUTS.
    """
    if layout == "C":
        return x.copy(order="C")
    if layout == "F":
        return x.copy(order="F")
    if layout == "strided":
        wide = x.repeat(2, axis=-1) if x.ndim else x.copy()
        return wide[..., ::2] if x.ndim else wide
    if layout == "reversed":
        flip = (slice(None, None, -1),) * x.ndim
        return x[flip].copy()[flip]
    raise ValueError(f"unknown layout {layout!r}: expected one of {', '.join(LAYOUTS)}")
