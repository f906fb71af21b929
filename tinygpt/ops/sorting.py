"""Sorting, and what is read from an order: medians and quantiles.

Sorting moves elements, and argsort says where to. A quantile is a mean of two neighbours in the order; which two, and
with which weights, NumPy itself tells: the quantile of 0, 1, 2, … is the place.

Prerequisites: moves.py, aggregates.py. Next: products.py. Hyndman & Fan, "Sample quantiles in statistical packages"
(1996), for the methods of quantiles.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arrays import to_numpy
from . import elementwise
from .numpy_table import ENTRIES, as_input, beside, fixed, module_of, no_out, of_numpy, plain
from .reduction import Axis, reduced_axes

__all__ = ["median", "nanmedian", "nanpercentile", "nanquantile", "partition", "percentile", "quantile", "sort"]


@of_numpy("sort", derivative="g goes back to where each element came from")
def sort(a: Any, axis: int | None = -1, kind: str | None = None, order: None = None, *,
         stable: bool | None = None) -> Any:
    """The elements in ascending order along `axis`; all in a row if it is None."""
    return _arranged(a, axis, lambda x, axis: x.argsort(axis=axis, **({"kind": kind} if kind else {})))


@of_numpy("partition", derivative="g goes back to where each element came from")
def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: None = None) -> Any:
    """The elements along `axis` so that the `kth` ones stand where sorting would put them, no larger ones before."""
    return _arranged(a, axis, lambda x, axis: x.argpartition(plain(kth), axis=axis))


def _arranged(a: Any, axis: int | None, order: Any) -> Any:
    a = as_input(a)
    if axis is None:
        a, axis = a.reshape(-1), 0
    return ENTRIES["take_along_axis"].function(a, order(a.data, axis), axis=axis)


def _rows(a: Any, axis: Axis) -> tuple[Any, tuple[int, ...]]:
    """The array with its reduced axes as one last axis, and the shape of the result with axes kept."""
    axes = reduced_axes(a.data, axis)
    others = [i for i in range(a.ndim) if i not in axes]
    rows = a.transpose(*others, *axes).reshape([a.shape[i] for i in others] + [-1])
    return rows, tuple(1 if i in axes else n for i, n in enumerate(a.shape))


def _quantile(name: str, a: Any, q: Any, axis: Axis, out: Any, method: str, keepdims: bool, skip_nan: bool) -> Any:
    no_out(name, out)
    a, q = as_input(a), np.asarray(fixed(f"np.{name}: q", q), dtype=np.float64)
    rows, kept = _rows(a, tuple(axis) if isinstance(axis, list) else axis)
    n = rows.shape[-1]
    found = to_numpy(module_of(a).isnan(rows.data))
    in_order = sort(rows)  # NaN comes last
    if skip_nan:
        if method != "linear":
            raise ValueError(f"np.{name} of a Tensor knows the method 'linear' only, got {method!r}")
        many = n - found.sum(axis=-1)
        places = q.reshape(-1, *[1] * many.ndim) * np.maximum(many - 1, 0)  # (q, …)
        unknown = np.broadcast_to(many == 0, places.shape)
    else:
        at = np.quantile(np.arange(n, dtype=np.float64), q.ravel(), method=method)  # type: ignore[call-overload]
        places = np.broadcast_to(at.reshape(-1, *[1] * (rows.ndim - 1)), (q.size, *rows.shape[:-1]))
        unknown = np.broadcast_to(found.any(axis=-1), places.shape)
    low = np.floor(places).astype(np.intp)
    share = beside(np.moveaxis(places - low, 0, -1).astype(a.dtype), a)  # (…, q)
    low = np.moveaxis(low, 0, -1)
    pick = ENTRIES["take_along_axis"].function
    below, above = (pick(in_order, beside(np.minimum(i, n - 1), a), axis=-1) for i in (low, low + 1))
    between = below + (elementwise.where(share > 0, above, below) - below) * share  # what has no weight may be NaN
    if unknown.any():
        between = elementwise.where(beside(np.moveaxis(unknown, 0, -1), a), math.nan, between)
    result = ENTRIES["moveaxis"].function(between, -1, 0)  # (q, …)
    shape = kept if keepdims is True else result.shape[1:]
    return result.reshape((*q.shape, *shape))


@of_numpy("quantile", derivative="g to the two neighbours of the quantile, by their weights")
def quantile(a: Any, q: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False,
             method: str = "linear", keepdims: bool = False, *, weights: None = None) -> Any:
    """The numbers that a share q (0 … 1) of the elements lies below."""
    if weights is not None:
        raise TypeError("np.quantile of a Tensor takes no weights")
    return _quantile("quantile", a, q, axis, out, method, keepdims, False)


@of_numpy("percentile", derivative="as of quantile")
def percentile(a: Any, q: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False,
               method: str = "linear", keepdims: bool = False, *, weights: None = None) -> Any:
    """Quantiles, of q in percent."""
    q = np.asarray(fixed("np.percentile: q", q)) / 100
    return quantile(a, q, axis, out, overwrite_input, method, keepdims, weights=weights)


@of_numpy("median", derivative="g to the middle element, or half to each of the two")
def median(a: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """The middle of the elements in order, or the mean of the two."""
    return _quantile("median", a, 0.5, axis, out, "linear", keepdims, False)


@of_numpy("nanquantile", derivative="as of quantile, of the numbers")
def nanquantile(a: Any, q: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False,
                method: str = "linear", keepdims: bool = False) -> Any:
    """Quantiles of what is not NaN."""
    return _quantile("nanquantile", a, q, axis, out, method, keepdims, True)


@of_numpy("nanpercentile", derivative="as of quantile, of the numbers")
def nanpercentile(a: Any, q: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False,
                  method: str = "linear", keepdims: bool = False) -> Any:
    """Percentiles of what is not NaN."""
    q = np.asarray(fixed("np.nanpercentile: q", q)) / 100
    return nanquantile(a, q, axis, out, overwrite_input, method, keepdims)


@of_numpy("nanmedian", derivative="as of median, of the numbers")
def nanmedian(a: Any, axis: Axis = None, out: None = None, overwrite_input: bool = False,
              keepdims: bool = False) -> Any:
    """The median of what is not NaN."""
    return _quantile("nanmedian", a, 0.5, axis, out, "linear", keepdims, True)
