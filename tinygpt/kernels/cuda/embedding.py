"""The gradient of an embedding: rows sorted by id, each id's rows added up by one block, in a fixed order.

CuPy's `add.at` adds with atomic operations, in whatever order they come: the last bits differ from run to run.

Prerequisites: loss.py, ops/indexing.py. Next: adamw.py.
"""

from __future__ import annotations

from ...autograd import Output
from ...backend import Array, array_module, is_bfloat16, wide_dtype
from ...ops import embedding
from ..twins import accelerates
from .launch import fused, launch, row_threads, serves

__all__ = ["embedding_bfloat16", "embedding_fused"]


@accelerates(embedding, device="cuda")
def embedding_bfloat16(ids: Array, weight: Array) -> Output:
    """Rows of a table in bfloat16, that of a model that is only used: they are picked as they are, where the rule would
    convert the whole table."""
    if not is_bfloat16(weight) or weight.ndim != 2 or ids.dtype.kind not in "iu":
        return NotImplemented
    xp = array_module(weight)

    def backward(g):
        def dweight():
            total = xp.zeros(weight.shape, dtype=wide_dtype(weight.dtype))
            xp.add.at(total, ids, g.astype(total.dtype))
            return total.astype(weight.dtype)
        return None, dweight
    return weight[ids], backward


@fused(embedding)
def embedding_fused(ids: Array, weight: Array) -> Output:
    """Rows of a table."""
    if not serves(weight) or weight.ndim != 2 or ids.dtype.kind not in "iu" or not ids.size:
        return NotImplemented
    xp, width = array_module(weight), weight.shape[1]

    def backward(g):
        def dweight():
            flat = ids.reshape(-1).astype(xp.int64)  # (N,)
            order = xp.argsort(flat, kind="stable")
            out = xp.zeros_like(weight)
            launch("embedding_backward", weight, flat.size, row_threads(width), xp.ascontiguousarray(g), flat[order],
                   order.astype(xp.int64), out, flat.size, width)
            return out
        return None, dweight
    return weight[ids], backward
