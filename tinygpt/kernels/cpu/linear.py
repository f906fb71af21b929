"""The linear layer whose gradients are written where they belong.

The gradient of a weight is as large as the weight. Computed as an array of its own and then added to the parameter's
gradient, it passes through memory four times and through the page-fault handler once; a matrix product that is told
where to write passes once. That is only right for the first gradient of a step, which replaces a zero.

Prerequisites: ops/linalg.py, and `Deferred` in autograd/graph.py. Next: feedforward.py.
"""

from __future__ import annotations

import numpy as np

from ...autograd import Gradient, Output
from ...engine.deferred import Deferred
from ...ops import linear
from ..twins import accelerates
from .blocks import is_float

__all__ = ["ProductGradient", "gradients", "linear_in_place", "serves"]

PIECE = 1 << 20  # elements of a product that are still in the cache when they are added


class ProductGradient(Deferred):
    """The matrix product a @ b, of a vector or a matrix a."""

    def __init__(self, a: np.ndarray, b: np.ndarray) -> None:
        self.a, self.b = a, b

    def __call__(self) -> np.ndarray:
        return self.a @ self.b

    def add_to(self, total: np.ndarray, vacant: bool) -> None:
        if vacant:
            np.matmul(self.a, self.b, out=total)
        elif total.size <= PIECE:
            total += self.a @ self.b
        else:
            step = max(1, PIECE * len(total) // total.size)
            for start in range(0, len(total), step):
                part = slice(start, start + step)
                self.rows(part).add_to(total[part], vacant)

    def rows(self, part: slice) -> ProductGradient:
        return ProductGradient(self.a, self.b[:, part]) if self.a.ndim == 1 else ProductGradient(self.a[part], self.b)


def serves(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> bool:
    """Whether these are a linear layer's input and parameters, of one floating dtype."""
    return is_float(x, weight, bias) and weight.ndim == 2 and x.shape[-1:] == weight.shape[1:] and (
        bias is None or bias.shape == weight.shape[:1])


def gradients(g: np.ndarray, x: np.ndarray, rows: np.ndarray, weight: np.ndarray) -> tuple[Gradient, ...]:
    """Those of x, weight and bias, from that of `rows @ weightᵀ + bias`, (N, O); `rows` (N, I) is x."""
    dx = lambda: (g @ weight).reshape(x.shape)
    return dx, ProductGradient(g.T, rows), ProductGradient(np.ones(len(g), dtype=g.dtype), g)  # the sum of the rows


@accelerates(linear)
def linear_in_place(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> Output:
    """x @ weightᵀ + bias."""
    if not serves(x, weight, bias):
        return NotImplemented
    n_out, n_in = weight.shape
    rows = x.reshape(-1, n_in)  # (N, I)
    out = rows @ weight.T  # (N, O)
    if bias is not None:
        out += bias

    def backward(g):
        return gradients(g.reshape(-1, n_out), x, rows, weight)
    return out.reshape(*x.shape[:-1], n_out), backward
