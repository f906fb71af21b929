"""The gradient of an embedding by sorted segments.

`np.add.at` adds row by row, slowly, since any two rows may meet. Sorted by id, the rows of one id lie one after the
other, and `np.add.reduceat` adds each such segment in one go.

Read before: ops/indexing.py. Read next: dropout.py.
"""

from __future__ import annotations

import numpy as np

from ...autograd import Output
from ...ops import embedding
from ...ops.indexing import check_ids
from ..twins import accelerates
from .blocks import is_float

__all__ = ["add_rows", "embedding_segments"]


def add_rows(table: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> None:
    """table[ids[i]] += rows[i] for every i, in place; ids (N,), rows (N, C)."""
    if not ids.size:
        return
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    table[ordered[starts]] += np.add.reduceat(rows[order], starts, axis=0)


@accelerates(embedding)
def embedding_segments(ids: np.ndarray, weight: np.ndarray) -> Output:
    """Rows of a table."""
    if not is_float(weight) or weight.ndim != 2:
        return NotImplemented
    check_ids(np, "embedding", ids, weight.shape[0])

    def backward(g):
        def dweight():
            dw = np.zeros_like(weight)
            add_rows(dw, ids.reshape(-1), g.reshape(-1, weight.shape[1]))
            return dw
        return None, dweight
    return weight[ids], backward
