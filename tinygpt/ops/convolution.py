"""Convolution and pooling over any number of axes: sound and text have one, pictures two.

A convolution is a matrix product once each output's window of the input lies in a row of its own (im2col). The windows
themselves are a view: numbers of the input under other strides, and nothing is copied before the product. Backward,
the gradients of all windows are added up where they overlap.

Shapes: B batch, C channels in, O channels out, G groups; x is (B, C, *size), a kernel spans *kernel of it, the output
has *places: for each axis (size + 2·padding − dilation·(kernel − 1) − 1) // stride + 1.

Prerequisites: recurrent.py. Next: precision.py. LeCun et al., "Handwritten digit recognition with a
back-propagation network" (1989).
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

from ..arrays import Array
from ..autograd import Output, differentiable, unbroadcast

__all__ = ["Sides", "average_pool", "convolution", "max_pool", "sides"]

Sides = int | Sequence[int]  # one for all axes, or one for each


def sides(name: str, value: Sides, n: int, least: int = 1) -> tuple[int, ...]:
    """A setting as one integer for each of n axes.

    Raises:
        TypeError, ValueError: no integers, another number of them, or one that is too small.
    """
    try:
        found = tuple(operator.index(v) for v in value) if isinstance(value, Sequence) and not isinstance(value, str) \
            else (operator.index(value),) * n
    except TypeError:
        raise TypeError(f"{name} must be an integer, or one for each axis, got {value!r:.80}") from None
    if len(found) != n or min(found, default=least) < least:
        raise ValueError(f"{name} must be an integer of at least {least}, or {n} of them, got {value!r:.80}")
    return found


class _Windows:
    """All windows of an input, and the way back from their gradients."""

    def __init__(self, name: str, xp: Any, x: Array, kernel: tuple[int, ...], stride: Sides, padding: Sides,
                 dilation: Sides, filling: float = 0.0) -> None:
        n, self.xp, self.shape = len(kernel), xp, x.shape
        if x.ndim != n + 2:
            raise ValueError(f"{name}: a kernel of {n} axes needs an input (B, C, …) of {n + 2} axes, got {x.shape}")
        self.kernel, self.stride = kernel, sides(f"{name}: stride", stride, n)
        self.padding, self.dilation = sides(f"{name}: padding", padding, n, 0), sides(f"{name}: dilation", dilation, n)
        size = x.shape[2:]
        self.places = tuple((length + 2 * p - d * (k - 1) - 1) // s + 1 for length, k, s, p, d in zip(
            size, kernel, self.stride, self.padding, self.dilation))
        if min(self.places, default=1) < 1:
            raise ValueError(f"{name}: a kernel {kernel} with dilation {self.dilation} does not fit into {size} with "
                             f"padding {self.padding}")
        if any(self.padding):
            x = xp.pad(x, ((0, 0), (0, 0), *((p, p) for p in self.padding)), constant_values=filling)
        self.padded = x.shape
        steps = x.strides[2:]
        self.view = xp.lib.stride_tricks.as_strided(  # (B, C, *places, *kernel)
            x, x.shape[:2] + self.places + kernel,
            x.strides[:2] + tuple(a * s for a, s in zip(steps, self.stride))
            + tuple(a * d for a, d in zip(steps, self.dilation)))

    def sum(self, dwindows: Array) -> Array:
        """Gradients of the windows (B, C, *places, *kernel) -> of the input: each number gets those of its places."""
        dx = self.xp.zeros(self.padded, dtype=dwindows.dtype)
        for at in itertools.product(*map(range, self.kernel)):
            where = tuple(slice(a * d, a * d + s * (n - 1) + 1, s)
                          for a, d, s, n in zip(at, self.dilation, self.stride, self.places))
            dx[(..., *where)] += dwindows[(..., *at)]
        return dx[(..., *(slice(p, p + length) for p, length in zip(self.padding, self.shape[2:])))]


@differentiable
def convolution(xp: Any, x: Array, weight: Array, bias: Array | None = None, *, stride: Sides = 1, padding: Sides = 0,
                dilation: Sides = 1, groups: int = 1) -> Output:
    """Each output is the product of a window of the input with a kernel: x (B, C, *size), weight (O, C / groups,
    *kernel) and bias (O,) give (B, O, *places).

    Args:
        stride: from one window to the next.
        padding: zeros on both ends of each axis.
        dilation: from one number of a window to the next.
        groups: the channels in and out are cut into so many groups, and each output sees its own group only.

    Raises:
        ValueError: shapes that do not fit.
    """
    n_out, n_in, *kernel = weight.shape
    if groups < 1 or n_out % groups or x.shape[1:2] != (n_in * groups,) or (
            bias is not None and bias.shape != (n_out,)):
        raise ValueError(f"convolution: a weight (O, C / groups, …) of shape {weight.shape} in {groups} groups needs "
                         f"an input of {n_in * groups} channels and a bias {(n_out,)} or None, and O divisible by the "
                         f"groups; got {x.shape} and {None if bias is None else bias.shape}")
    windows = _Windows("convolution", xp, x, tuple(kernel), stride, padding, dilation)
    batch, places, n = x.shape[0], windows.places, len(kernel)
    width, per_group, n_places = n_in * math.prod(kernel), n_out // groups, math.prod(places)
    spread = (0, 1, *range(2 + n, 2 + 2 * n), *range(2, 2 + n))  # (B, C, *kernel, *places): places run in one stretch
    columns = windows.view.transpose(spread).reshape(batch, groups, width, n_places)  # (B, G, C / G · kernel, places)
    matrix = weight.reshape(groups, per_group, width)
    out = (matrix @ columns).reshape(batch, n_out, *places)
    if bias is not None:
        out = out + bias.reshape(n_out, *(1,) * n)

    def backward(g):
        rows = g.reshape(batch, groups, per_group, n_places)  # (B, G, O / G, places)

        def dx():
            dcolumns = matrix.swapaxes(1, 2) @ rows  # (B, G, C / G · kernel, places)
            dwindows = dcolumns.reshape(batch, groups * n_in, *kernel, *places)
            return unbroadcast(windows.sum(dwindows.transpose(spread)), x)  # the same exchange is its own way back

        def dweight():
            return unbroadcast((rows @ columns.swapaxes(2, 3)).sum(axis=0).reshape(weight.shape), weight)
        return dx, dweight, lambda: unbroadcast(g.sum(axis=(0, *range(2, 2 + n))), bias)
    return out, backward


def _pooled(name: str, kernel: Sides, stride: Sides | None, x: Array) -> tuple[tuple[int, ...], Sides]:
    """The kernel's sides, and the stride, by default as large as the kernel."""
    if x.ndim < 3:
        raise ValueError(f"{name}: expected (B, C, …), got {x.shape}")
    found = sides(f"{name}: kernel_size", kernel, x.ndim - 2)
    return found, found if stride is None else stride


@differentiable
def max_pool(xp: Any, x: Array, *, kernel_size: Sides, stride: Sides | None = None, padding: Sides = 0,
             dilation: Sides = 1) -> Output:
    """The largest number of each window: (B, C, *size) -> (B, C, *places). Its gradient goes to the first of equals.

    Args:
        kernel_size: of the windows.
        stride: from one window to the next; by default the windows lie side by side.
        padding: places without a number on both ends of each axis, at most half of a window.
        dilation: from one number of a window to the next.
    """
    kernel, stride = _pooled("max_pool", kernel_size, stride, x)
    if any(2 * p > k for p, k in zip(sides("max_pool: padding", padding, len(kernel), 0), kernel)):
        raise ValueError(f"max_pool: padding {padding} is more than half of the window {kernel}, which might then hold "
                         "nothing")
    least = -math.inf if x.dtype.kind == "f" else xp.iinfo(x.dtype).min
    windows = _Windows("max_pool", xp, x, kernel, stride, padding, dilation, filling=least)
    flat = windows.view.reshape(*windows.view.shape[:x.ndim], -1)  # (B, C, *places, K)
    first = flat.argmax(axis=-1)[..., None]

    def backward(g):
        chosen = first == xp.arange(flat.shape[-1])  # (B, C, *places, K)
        return (unbroadcast(windows.sum((g[..., None] * chosen).reshape(windows.view.shape)), x),)
    return xp.take_along_axis(flat, first, axis=-1)[..., 0], backward


@differentiable
def average_pool(xp: Any, x: Array, *, kernel_size: Sides, stride: Sides | None = None, padding: Sides = 0) -> Output:
    """The mean of each window, zeros of the padding counted: (B, C, *size) -> (B, C, *places). Settings as for
    `max_pool`."""
    kernel, stride = _pooled("average_pool", kernel_size, stride, x)
    windows = _Windows("average_pool", xp, x, kernel, stride, padding, 1)
    axes, share = tuple(range(x.ndim, x.ndim + len(kernel))), 1 / math.prod(kernel)

    def backward(g):
        each = (g * share).reshape(*g.shape, *(1,) * len(kernel))
        return (unbroadcast(windows.sum(xp.broadcast_to(each, windows.view.shape)), x),)
    return windows.view.mean(axis=axes), backward
