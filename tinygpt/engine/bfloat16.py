"""bfloat16: what a rule does that is given numbers which are kept in half the space.

A bfloat16 is the upper half of a float32: the same range, and 8 bits of precision in place of 24. That is enough to
keep activations in, and for the factors of a matrix product; a GPU moves such numbers twice as fast and multiplies them
many times as fast. Sums and exponentials computed in it are worth little. So one thing holds for every operation:

    a rule never sees bfloat16. It computes with the same numbers in float32, and its result is rounded.

One bfloat16 among the inputs is enough: a float32 weight that meets bfloat16 activations gives bfloat16 activations.
Backward, the gradient from above is widened, and what goes down has the type of the input that it belongs to: the
weight gets its gradient in float32, never rounded. So the type flows with the data, from one cast at a model's
entrance.

    Precision.ROUNDED  as above; every operation, unless `PRECISION` says otherwise
    Precision.WIDE     the result stays float32: losses
    Precision.AS_IS    the rule gets its inputs as they are: it moves numbers, or converts them, and computes nothing

The same serves float16 on the host: NumPy sums float16 in float16, which ends at 65,504, so that the mean of as many
ones would be infinite. Where all arrays of a call are float16, the rule computes in float32, and its result is float16.

A twin may take bfloat16 itself and do as much: a kernel that widens what it reads and rounds what it writes, or a
matrix product of cuBLAS, which sums in float32. bfloat16 is on devices only; the host computes nothing in it.

Prerequisites: deferred.py. Next: dispatch.py. Micikevicius et al., "Mixed precision training" (2018); Kalamkar et
al., "A study of bfloat16 for deep learning training" (2019).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import Array
from ..autograd.graph import Gradient, Output, Rule
from ..autograd.operation import Operation
from ..backend import is_bfloat16

__all__ = ["PRECISION", "Precision", "is_half", "run_wide"]


class Precision(enum.Enum):
    """What an operation does with bfloat16; see the top of the file."""

    ROUNDED = "rounded"
    WIDE = "wide"
    AS_IS = "as it is"


PRECISION: dict[Operation, Precision] = {}  # of the operations that are not ROUNDED; ops/precision.py fills it


HALF = np.dtype(np.float16)


def is_half(arrays: Sequence[Any]) -> bool:
    """Whether all floating-point arrays among these are float16, so that NumPy would sum in it."""
    for x in arrays:
        if type(x) is np.ndarray and x.dtype is HALF:
            return not any(type(x) is np.ndarray and x.dtype.kind in "fc" and x.dtype is not HALF for x in arrays)
    return False


def _is_narrow(x: Any) -> bool:
    return is_bfloat16(x) or getattr(x, "dtype", None) == HALF


def _wide(x: Any) -> Any:
    return x.astype(np.float32) if _is_narrow(x) else x


def _rounded(out: Array, narrow: np.dtype) -> Array:
    """An output in the narrow type; complex numbers, which have none, and whole numbers stay."""
    return out.astype(narrow) if out.dtype.kind == "f" else out


def _like(dx: Gradient, x: Any) -> Gradient:
    """The gradient, which is float32, in the type of its input; one that is a function stays a function."""
    if dx is None or not _is_narrow(x):
        return dx
    return (lambda: dx().astype(x.dtype)) if callable(dx) else dx.astype(x.dtype)


def run_wide(rule: Rule, xp: Any, arrays: Sequence[Any], settings: dict[str, Any], precision: Precision) -> Output:
    """Output and closure of a rule for arrays of which some are bfloat16, or all are float16."""
    if precision is Precision.AS_IS:
        return rule(xp, *arrays, **settings)
    narrow = next(x.dtype for x in arrays if _is_narrow(x))
    out, backward = rule(xp, *map(_wide, arrays), **settings)
    if precision is Precision.ROUNDED or narrow == HALF:
        out = tuple(_rounded(part, narrow) for part in out) if isinstance(out, tuple) else _rounded(out, narrow)

    def rounded_backward(g):
        gradients = backward(tuple(map(_wide, g)) if isinstance(g, tuple) else _wide(g))
        inputs = [*arrays, *[None] * (len(gradients) - len(arrays))]  # optional ones may have been left out
        return [_like(dx, x) for dx, x in zip(gradients, inputs, strict=True)]
    return out, rounded_backward
