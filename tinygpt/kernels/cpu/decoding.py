"""Decoding: one token at a time, where calls cost more than arithmetic.

A small model's token is some sixty operations on a few hundred numbers each. A NumPy function takes a microsecond to
begin and a tenth of one to do its work, so what counts is how many there are, and which: `x.dot(y)` begins in a third
of the time of `x @ y`, and a sum of a row is the product with a row of ones. These twins have no way back and are
asked only where nothing is recorded.

Prerequisites: normalization.py, attention.py, feedforward.py. Next: recurrent.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ops import (
    ACTIVATIONS, add, embedding, gelu, gelu_tanh, layer_norm, linear, linear_activation, rms_norm,
    scaled_dot_product_attention,
)
from ...ops.dropout import Key
from ...ops.indexing import check_ids
from ..twins import accelerates
from .activation import FEW
from .blocks import average, is_float
from .feedforward import activate

__all__ = ["add_unrecorded", "attention_of_a_token", "embedding_of_a_token", "gelu_of_a_token", "gelu_tanh_of_a_token",
           "layer_norm_of_a_row",
           "linear_activation_of_a_row", "linear_of_a_row", "rms_norm_of_a_row"]


Unrecorded = tuple[np.ndarray, None]  # an output, and no way back


@accelerates(linear, recorded=False)
def linear_of_a_row(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> Unrecorded:
    """x @ weightᵀ + bias for a single x: a matrix times a vector, which reads each weight once."""
    shape = x.shape
    if x.size != shape[-1] or weight.shape[1:] != shape[-1:] or not is_float(x, weight, bias):
        return NotImplemented
    out = weight.dot(x.reshape(-1))
    if bias is not None:
        if bias.shape != out.shape:
            return NotImplemented
        out += bias
    return out.reshape(shape[:-1] + out.shape), None


@accelerates(linear_activation, recorded=False)
def linear_activation_of_a_row(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, *,
                               activation: str) -> Unrecorded:
    """f(x @ weightᵀ + bias) for a single x."""
    result = linear_of_a_row(x, weight, bias) if activation in ACTIVATIONS else NotImplemented
    if result is NotImplemented:
        return result
    h = result[0]
    if activation == "gelu_tanh" and h.size < FEW:
        return gelu_of_a_token(h, approximate="tanh")
    return activate(h.reshape(1, -1), None, activation)[0].reshape(h.shape), None


@accelerates(layer_norm, recorded=False)
def layer_norm_of_a_row(x: np.ndarray, weight: np.ndarray | None = None, bias: np.ndarray | None = None, *,
                        epsilon: float = 1e-5) -> Unrecorded:
    """(x − mean) / √(variance + epsilon) · weight + bias."""
    if not _is_row(x, weight, bias):
        return NotImplemented
    row = x.reshape(-1)
    return _scaled(row - float(row.dot(average(row.size, row.dtype))), weight, bias, epsilon).reshape(x.shape), None


@accelerates(rms_norm, recorded=False)
def rms_norm_of_a_row(x: np.ndarray, weight: np.ndarray | None = None, *, epsilon: float = 1e-6) -> Unrecorded:
    """x / √(mean(x²) + epsilon) · weight."""
    if not _is_row(x, weight, None):
        return NotImplemented
    return _scaled(x.reshape(-1), weight, None, epsilon).reshape(x.shape), None


def _is_row(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> bool:
    width = x.shape[-1:]
    return width == (x.size,) != (0,) and is_float(x, weight, bias) and (
        weight is None or weight.shape == width) and (bias is None or bias.shape == width)


def _scaled(row: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, epsilon: float) -> np.ndarray:
    out = row * (1 / math.sqrt(float(row.dot(row)) / row.size + epsilon))
    if weight is not None:
        out *= weight
    if bias is not None:
        out += bias
    return out


@accelerates(scaled_dot_product_attention, recorded=False)
def attention_of_a_token(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None, *,
    causal: bool = False, scale: float | None = None, dropout: float = 0.0, key: Key | None = None,
) -> Unrecorded:
    """softmax(q kᵀ · scale) v for one query, which looks at all there is. The queries of a key head are its rows."""
    if mask is not None or dropout or q.ndim != 4 or k.shape != v.shape or not is_float(q, k, v):
        return NotImplemented
    (batch, n_heads, length, size), (*k_batch, n_keys_heads, _, k_size) = q.shape, k.shape
    if length != 1 or [batch] != k_batch or size != k_size or 0 in k.shape or n_heads % n_keys_heads:
        return NotImplemented
    scale = 1 / math.sqrt(size) if scale is None else float(scale)
    p = (q.reshape(batch, n_keys_heads, -1, size) * scale) @ k.swapaxes(-1, -2)  # (B, K, G, S)
    p -= np.maximum.reduce(p, axis=-1, keepdims=True)
    np.exp(p, out=p)
    out = p @ v  # (B, K, G, D)
    out /= np.add.reduce(p, axis=-1, keepdims=True)
    return out.reshape(q.shape), None


@accelerates(gelu, recorded=False)
def gelu_of_a_token(x: np.ndarray, *, approximate: str = "none") -> Unrecorded:
    """½ x (1 + tanh(c x (1 + k x²))), for few x."""
    if approximate != "tanh" or x.size >= FEW or not x.ndim or not is_float(x):
        return NotImplemented
    c, k = math.sqrt(2 / math.pi), 0.044715
    u = x * x
    u *= c * k
    u += c
    u *= x
    np.tanh(u, out=u)
    u += 1
    u *= x
    u *= 0.5
    return u, None


@accelerates(gelu_tanh, recorded=False)
def gelu_tanh_of_a_token(x: np.ndarray) -> Unrecorded:
    """The same by its own name."""
    return gelu_of_a_token(x, approximate="tanh")


@accelerates(add, recorded=False)
def add_unrecorded(x: Any, y: Any) -> Unrecorded:
    """x + y: as the rule, without a closure."""
    return x + y, None


@accelerates(embedding, recorded=False)
def embedding_of_a_token(ids: np.ndarray, weight: np.ndarray) -> Unrecorded:
    """One row of a table."""
    if ids.size != 1 or ids.dtype.kind not in "iu" or weight.ndim != 2:
        return NotImplemented
    (i,) = ids.ravel().tolist()
    if not 0 <= i < len(weight):
        check_ids(np, "embedding", ids, len(weight))
    return weight[i].reshape(*ids.shape, -1), None
