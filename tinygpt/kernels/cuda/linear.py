"""The linear layer, with an activation or without: cuBLAS makes the product, one kernel adds the bias and activates.

What is kept is the product before the bias; on the way back one kernel goes through activation and bias, and sums up
the gradient of the bias in float32 at least. The gradient of the weight is added where the parameter's gradient lies.

On bfloat16 activations the factors of all three products are bfloat16, and cuBLAS sums in float32. A float32 weight is
rounded for the product; its gradient is not. So much is done whether the fused kernels are on or not, here as in
attention.py and loss.py: with the rule a model would compute as in float32, and convert on top of it.

Prerequisites: activation.py, gemm.py, ops/linalg.py, ops/feedforward.py. Next: attention.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...autograd import Output
from ...backend import Array, array_module, is_bfloat16, wide_dtype
from ...ops import ACTIVATIONS, add, linear, linear_activation
from ..twins import accelerates
from .activation import KINDS, activate, activate_backward
from .gemm import ProductGradient, matmul
from .launch import ELEMENTS, fused, switched_on

__all__ = ["add_bfloat16", "linear_activation_fused", "linear_fused"]

# The gradient of f(h + bias) -> that of h, and a function that computes the bias's.
Back = Callable[[Array], tuple[Array, Callable[[], Array]]]


@fused(linear, products=True)
def linear_fused(x: Array, weight: Array, bias: Array | None = None) -> Output:
    """x @ weightᵀ + bias."""
    return _layer(x, weight, bias, None)


@fused(linear_activation, products=True)
def linear_activation_fused(x: Array, weight: Array, bias: Array | None = None, *, activation: str) -> Output:
    """f(x @ weightᵀ + bias)."""
    return _layer(x, weight, bias, activation) if activation in ACTIVATIONS else NotImplemented


def _layer(x: Array, weight: Array, bias: Array | None, activation: str | None) -> Output:
    if not _serves(x, weight, bias):
        return NotImplemented
    xp, wide, (n_out, n_in) = array_module(x), wide_dtype(x.dtype), weight.shape
    rows = xp.ascontiguousarray(x).reshape(-1, n_in)  # (N, I)
    factor = xp.ascontiguousarray(weight, dtype=x.dtype)  # (O, I)
    shift = None if bias is None else xp.ascontiguousarray(bias, dtype=wide)  # (O,)
    by_kernel = switched_on() and activation in KINDS
    h = matmul(rows, factor, transpose_b=True, dtype=x.dtype if by_kernel or activation is None else wide)  # (N, O)
    out, back = (_by_kernel if by_kernel else _by_arrays)(h, shift, activation)

    def backward(g):
        dh, dbias = back(xp.ascontiguousarray(g).reshape(-1, n_out))
        return (lambda: matmul(dh, factor).reshape(x.shape), ProductGradient(dh, rows, weight.dtype),
                None if bias is None else lambda: dbias().astype(bias.dtype, copy=False))
    return out.astype(x.dtype, copy=False).reshape(*x.shape[:-1], n_out), backward


def _serves(x: Array, weight: Array, bias: Array | None) -> bool:
    """True where all fits; what does not is the rule's, which says what is wrong."""
    return (x.dtype.name in ELEMENTS and weight.ndim == 2 and x.shape[-1:] == weight.shape[1:] and x.size > 0
            and weight.size > 0 and (bias is None or bias.shape == weight.shape[:1])
            and all(p is None or p.dtype in (x.dtype, wide_dtype(x.dtype)) for p in (weight, bias)))


def _by_kernel(h: Array, shift: Array | None, activation: str | None) -> tuple[Array, Back]:
    """f(h + shift), with h kept for an activation and overwritten without one."""
    out, kind = h if activation is None else array_module(h).empty_like(h), KINDS[activation]
    if shift is not None or activation is not None:
        activate(h, shift, kind, out)

    def back(g):
        if activation is None:
            return g, lambda: activate_backward(g, g, shift, kind, wants_dx=False)[1]
        dh, dshift = activate_backward(g, h, shift, kind)
        return dh, lambda: dshift
    return out, back


def _by_arrays(h: Array, shift: Array | None, activation: str | None) -> tuple[Array, Back]:
    """The same by the rule of the activation, for bfloat16 without the kernels, and for an activation that they do not
    know; h is float32 if there is one."""
    xp: Any = array_module(h)
    if shift is not None:
        h += shift.astype(h.dtype, copy=False)
    if activation is None:
        return h, lambda g: (g, lambda: g.sum(axis=0, dtype=wide_dtype(g.dtype)))
    out, activation_backward = ACTIVATIONS[activation].operation.rule(xp, h)  # type: ignore[attr-defined]

    def back(g):
        dh = activation_backward(g.astype(h.dtype))[0]
        return dh.astype(g.dtype), lambda: dh.sum(axis=0)
    return out, back


@accelerates(add, device="cuda")
def add_bfloat16(x: Array, y: Array) -> Output:
    """x + y of one shape, the residual stream's sum: rounded once, as by the rule, which would convert three arrays."""
    if not (is_bfloat16(x) and is_bfloat16(y) and x.shape == y.shape):
        return NotImplemented
    return x + y, lambda g: (g, g)
