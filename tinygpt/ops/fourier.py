"""Fourier transforms: of real numbers, and of complex ones on the way to real results.

A transform is a product with a matrix whose element (j, k) depends on j·k alone, so its transpose is the transform
itself. elementary.py says how the gradient of a complex number is kept; with that, the rule needs no conjugate.

Prerequisites: elementary.py. Next: numpy_functions.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arrays import Array, from_numpy
from ..autograd import Output, differentiable
from .numpy_table import ENTRIES, as_input, no_out, of_numpy

__all__ = ["fft", "fft2", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
           "irfft2", "irfftn", "rfft", "rfft2", "rfftn"]


def _fitted(xp: Any, x: Array, n: int, axis: int) -> Array:
    """x cut to n elements along `axis`, or filled up with zeros."""
    have = x.shape[axis]
    if have >= n:
        return x[(slice(None),) * (axis % x.ndim) + (slice(n),)]
    return xp.pad(x, [(0, n - have if i == axis % x.ndim else 0) for i in range(x.ndim)])


def _as(x: Array, dx: Array) -> Array:
    """The gradient in the type of its input: a real one takes the real part."""
    return (dx if x.dtype.kind == "c" else dx.real).astype(x.dtype)


def _transform(name: str) -> Callable[..., Any]:
    def rule(xp: Any, x: Array, *, n: int | None = None, axis: int = -1, norm: str | None = None) -> Output:
        length = x.shape[axis] if n is None else n

        def backward(g):  # the matrix is its own transpose
            return (_as(x, _fitted(xp, getattr(xp.fft, name)(g, axis=axis, norm=norm), x.shape[axis], axis)),)
        return getattr(xp.fft, name)(x, n=length, axis=axis, norm=norm), backward
    rule.__name__ = rule.__qualname__ = name
    rule.__doc__ = f"NumPy's fft.{name}: along one axis, cut or filled up to n elements."
    return differentiable(rule)


fft = of_numpy("fft.fft", derivative="fft of g")(_transform("fft"))
ifft = of_numpy("fft.ifft", derivative="ifft of g")(_transform("ifft"))


@of_numpy("fft.rfft", derivative="fft of g filled up with zeros, its real part")
@differentiable
def rfft(xp: Any, x: Array, *, n: int | None = None, axis: int = -1, norm: str | None = None) -> Output:
    """The first half of the transform of real numbers; the other half is its mirror image."""
    length = x.shape[axis] if n is None else n

    def backward(g):  # the rows of the matrix that were left out had no say
        dx = xp.fft.fft(_fitted(xp, g, length, axis), axis=axis, norm=norm)
        return (_fitted(xp, dx.real, x.shape[axis], axis).astype(x.dtype),)
    return xp.fft.rfft(x, n=length, axis=axis, norm=norm), backward


@of_numpy("fft.irfft", derivative="first half of ifft of g, twice but for the ends")
@differentiable
def irfft(xp: Any, x: Array, *, n: int | None = None, axis: int = -1, norm: str | None = None) -> Output:
    """Real numbers from the first half of their transform."""
    length = 2 * (x.shape[axis] - 1) if n is None else n

    def backward(g):  # each element stands for itself and for its mirror image, but the first and, of even n, the last
        half = length // 2 + 1
        twice = np.full(half, 2.0)
        twice[0] = 1
        if length % 2 == 0:
            twice[-1] = 1
        twice = from_numpy(twice.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]), g)
        dx = _fitted(xp, xp.fft.ifft(g, axis=axis, norm=norm), half, axis) * twice
        return (_as(x, _fitted(xp, dx, x.shape[axis], axis)),)
    return xp.fft.irfft(x, n=length, axis=axis, norm=norm), backward


# ---------------------------------------------------------------------------------------------------------------------
# Over several axes, one after the other


def _lengths(a: Any, s: Any, axes: Any) -> list[tuple[int | None, int]]:
    if axes is None:
        axes = range(a.ndim) if s is None else range(a.ndim - len(s), a.ndim)
    s = [None] * len(axes) if s is None else [None if n in (None, -1) else int(n) for n in s]
    return list(zip(s, map(int, axes)))


def _over_axes(one: Any, a: Any, pairs: Sequence[tuple[int | None, int]], norm: Any) -> Any:
    for n, axis in pairs:
        a = one(a, n=n, axis=axis, norm=norm)
    return a


def _several(name: str, one: Any, of_two: bool) -> Callable[..., Any]:
    def transform(a: Any, s: Any = None, axes: Any = (-2, -1) if of_two else None, norm: str | None = None,
                  out: None = None) -> Any:
        no_out(f"fft.{name}", out)
        a = as_input(a)
        return _over_axes(one, a, _lengths(a, s, axes), norm)
    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"NumPy's fft.{name}: over several axes."
    return of_numpy(f"fft.{name}", derivative="as along one axis, one after the other")(transform)


fft2, ifft2 = _several("fft2", fft, True), _several("ifft2", ifft, True)
fftn, ifftn = _several("fftn", fft, False), _several("ifftn", ifft, False)


def _several_real(name: str, of_two: bool, inverse: bool) -> Callable[..., Any]:
    def transform(a: Any, s: Any = None, axes: Any = (-2, -1) if of_two else None, norm: str | None = None,
                  out: None = None) -> Any:
        no_out(f"fft.{name}", out)
        a = as_input(a)
        *rest, (n, axis) = _lengths(a, s, axes)
        if inverse:
            return irfft(_over_axes(ifft, a, rest, norm), n=n, axis=axis, norm=norm)
        return _over_axes(fft, rfft(a, n=n, axis=axis, norm=norm), rest[::-1], norm)
    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"NumPy's fft.{name}: over several axes."
    return of_numpy(f"fft.{name}", derivative="as along one axis, one after the other")(transform)


rfft2, irfft2 = _several_real("rfft2", True, False), _several_real("irfft2", True, True)
rfftn, irfftn = _several_real("rfftn", False, False), _several_real("irfftn", False, True)

_OTHER_NORM = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}


@of_numpy("fft.hfft", derivative="as of irfft")
def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The real transform of numbers that are their own mirror image, from their first half."""
    no_out("fft.hfft", out)
    return irfft(ENTRIES["conjugate"].function(as_input(a)), n=n, axis=axis, norm=_OTHER_NORM[norm])


@of_numpy("fft.ihfft", derivative="as of rfft")
def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: None = None) -> Any:
    """The way back from hfft."""
    no_out("fft.ihfft", out)
    return ENTRIES["conjugate"].function(rfft(a, n=n, axis=axis, norm=_OTHER_NORM[norm]))


def _shift(name: str, sign: int) -> Callable[..., Any]:
    def shift(x: Any, axes: Any = None) -> Any:
        x = as_input(x)
        along = tuple(range(x.ndim)) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
        by = tuple(x.shape[i] // 2 if sign > 0 else -(x.shape[i] // 2) for i in along)
        return ENTRIES["roll"].function(x, by, along)
    shift.__name__ = shift.__qualname__ = name
    shift.__doc__ = f"NumPy's fft.{name}: the halves of an axis exchanged."
    return of_numpy(f"fft.{name}", derivative="g, shifted back")(shift)


fftshift, ifftshift = _shift("fftshift", 1), _shift("ifftshift", -1)
