"""The gradient of an embedding by sorted segments.

`np.add.at` adds row by row, slowly, since any two rows may meet. Sorted by id, the rows of one id lie one after the
other, and `np.add.reduceat` adds each such segment in one go.

Prerequisites: ops/indexing.py. Next: dropout.py.
"""

from __future__ import annotations

import numpy as np

from ...autograd import Output
from ...engine.deferred import Deferred
from ...ops import embedding
from ...ops.indexing import check_ids
from ..twins import accelerates
from .blocks import is_float

__all__ = ["RowsGradient", "add_rows", "embedding_segments"]


def add_rows(table: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> None:
    """table[ids[i]] += rows[i] for every i, in place; ids (N,), rows (N, C)."""
    if not ids.size:
        return
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    table[ordered[starts]] += np.add.reduceat(rows[order], starts, axis=0)


class RowsGradient(Deferred):
    """The gradient of a table (V, C) of which rows `ids` (N,) were read: zero but for these, to which `read` (N, C) is
    added. Added to a gradient that exists, it touches them alone, and not the other forty-nine thousand of a GPT-2."""

    def __init__(self, ids: np.ndarray, read: np.ndarray, shape: tuple[int, int]) -> None:
        self.ids, self.read, self.shape = ids, read, shape

    def __call__(self) -> np.ndarray:
        dw = np.zeros(self.shape, dtype=self.read.dtype)
        add_rows(dw, self.ids, self.read)
        return dw

    def add_to(self, total: np.ndarray, vacant: bool) -> None:
        if vacant:
            total[...] = 0
        add_rows(total, self.ids, self.read)

    def rows(self, part: slice) -> RowsGradient:
        start, stop, _ = part.indices(self.shape[0])
        inside = (self.ids >= start) & (self.ids < stop)
        return RowsGradient(self.ids[inside] - start, self.read[inside], (stop - start, self.shape[1]))


@accelerates(embedding)
def embedding_segments(ids: np.ndarray, weight: np.ndarray) -> Output:
    """Rows of a table."""
    if not is_float(weight) or weight.ndim != 2:
        return NotImplemented
    check_ids(np, "embedding", ids, weight.shape[0])

    def backward(g):
        return None, RowsGradient(ids.reshape(-1), g.reshape(-1, weight.shape[1]), weight.shape)
    return weight[ids], backward
