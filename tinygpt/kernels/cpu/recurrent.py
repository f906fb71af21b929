"""Recurrent networks over a whole sequence in one operation, with few passes a step.

The rules call their cell once a token, and each call makes a dozen small arrays. Here

* one tanh serves all gates, for σ(x) = ½ tanh(½ x) + ½, with the halves worked into the weight beforehand;
* all gates of all steps lie in one array, step by step, and are overwritten with what the way back needs of them;
* backward computes the slopes of several steps at once, where no step depends on another, and the weight's gradient as
  one product at the end; what is left in the loop is one product and the few passes that hang on it.

Shapes: B batch, T time, H channels of the state. Arrays are (T, B, …) here.

Prerequisites: ops/recurrent.py, blocks.py. Next: allocator.py.
"""

from __future__ import annotations

import numpy as np

from ...autograd import Output
from ...ops import gru, lstm, rnn
from ..twins import accelerates
from .blocks import is_float, row_blocks

__all__ = ["gru_in_place", "lstm_in_place", "rnn_in_place"]


def _serves(x: np.ndarray, gates: int, weight: np.ndarray, bias: np.ndarray | None, *state: np.ndarray) -> bool:
    """Whether these arrays are of one type and fit together; what does not is left to the rule and its messages."""
    hidden = weight.shape[-1]
    return (is_float(x, weight, bias, *state) and x.ndim == 3 and x.shape[1] > 0
            and weight.shape == (gates * hidden, hidden) and x.shape[2] == gates * hidden
            and all(part.shape == (x.shape[0], hidden) for part in state)
            and (bias is None or bias.shape == weight.shape[:1]))


def _by_step(x: np.ndarray) -> np.ndarray:
    """(B, T, …) <-> (T, B, …), a copy."""
    return x.swapaxes(0, 1).copy()


def _states(first: np.ndarray, length: int) -> np.ndarray:
    """Room for the state before each step and after the last, (T + 1, B, H)."""
    states = np.empty((length + 1, *first.shape), dtype=first.dtype)
    states[0] = first
    return states


def _weight_gradient(da: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Σ over steps of daᵀ h: da (T, B, G), states (T + 1, B, H) -> (G, H)."""
    return da.reshape(-1, da.shape[-1]).T @ states[:-1].reshape(-1, states.shape[-1])


@accelerates(rnn)
def rnn_in_place(x: np.ndarray, h: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> Output:
    """tanh(x + h @ weightᵀ + bias) over time."""
    if not _serves(x, 1, weight, bias, h):
        return NotImplemented
    states = _states(h, x.shape[1])
    states[1:] = x.swapaxes(0, 1)
    if bias is not None:
        states[1:] += bias
    turned, product = np.ascontiguousarray(weight.T), np.empty_like(h)
    for before, after in zip(states, states[1:]):
        after += np.matmul(before, turned, out=product)
        np.tanh(after, out=after)

    def backward(g):
        slopes = 1 - states[1:] * states[1:]
        da, dh = _by_step(g), np.zeros_like(h)
        for step, slope in zip(da[::-1], slopes[::-1]):
            step += dh
            step *= slope
            np.matmul(step, weight, out=dh)
        return _by_step(da), dh, _weight_gradient(da, states), None if bias is None else da.sum(axis=(0, 1))
    return _by_step(states[1:]), backward


@accelerates(lstm)
def lstm_in_place(x: np.ndarray, h: np.ndarray, c: np.ndarray, weight: np.ndarray,
                  bias: np.ndarray | None = None) -> Output:
    """`lstm_cell` over time; gates i, f, candidate, o."""
    if not _serves(x, 4, weight, bias, h, c):
        return NotImplemented
    (batch, length, _), n = x.shape, h.shape[1]
    half = np.full(4 * n, 0.5, dtype=x.dtype)
    half[2 * n:3 * n] = 1  # the candidate is a tanh itself
    shift = np.where(half < 1, half, 0)
    gates = _by_step(x)
    if bias is not None:
        gates += bias
    gates *= half
    turned, product = np.ascontiguousarray(weight.T * half), np.empty((batch, 4 * n), dtype=x.dtype)
    hs, cs = _states(h, length), _states(c, length)
    shown = np.empty((length, batch, n), dtype=x.dtype)  # tanh(c')
    for t, a in enumerate(gates):
        a += np.matmul(hs[t], turned, out=product)
        np.tanh(a, out=a)
        a *= half
        a += shift
        after, part = cs[t + 1], hs[t + 1]
        np.multiply(a[:, n:2 * n], cs[t], out=after)
        np.multiply(a[:, :n], a[:, 2 * n:3 * n], out=part)
        after += part
        np.tanh(after, out=shown[t])
        np.multiply(a[:, 3 * n:], shown[t], out=part)

    def backward(gs):
        g, gc = (_by_step(part) for part in gs)
        da = np.empty_like(gates)
        opened = np.empty_like(shown)  # do / dh' and dc' / dh', step by step
        for some in row_blocks(length, 4 * n * batch):
            a = gates[some]
            i, f, candidate, o = (a[..., k * n:(k + 1) * n] for k in range(4))
            d = np.multiply(a, 1 - a, out=da[some])  # σ'
            di, df, dcandidate, do = (d[..., k * n:(k + 1) * n] for k in range(4))
            di *= candidate
            df *= cs[:-1][some]
            np.multiply(candidate, candidate, out=dcandidate)
            np.subtract(1, dcandidate, out=dcandidate)
            dcandidate *= i
            do *= shown[some]
            np.multiply(shown[some], shown[some], out=opened[some])
            np.subtract(1, opened[some], out=opened[some])
            opened[some] *= o
        dh, dc, later = np.zeros_like(h), np.zeros_like(c), np.empty_like(c)
        for t in range(length - 1, -1, -1):
            step = da[t]
            dh += g[t]
            np.multiply(dh, opened[t], out=later)
            dc += later
            dc += gc[t]
            step[:, 3 * n:] *= dh
            inner = step[:, :3 * n].reshape(batch, 3, n)
            inner *= dc[:, None]
            dc *= gates[t, :, n:2 * n]
            np.matmul(step, weight, out=dh)
        return (_by_step(da), dh, dc, _weight_gradient(da, hs), None if bias is None else da.sum(axis=(0, 1)))
    return (_by_step(hs[1:]), _by_step(cs[1:])), backward


@accelerates(gru)
def gru_in_place(x: np.ndarray, h: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> Output:
    """`gru_cell` over time; gates r, z, candidate n."""
    if not _serves(x, 3, weight, bias, h):
        return NotImplemented
    (batch, length, _), k = x.shape, h.shape[1]
    gates = _by_step(x)
    gates[..., :2 * k] *= 0.5
    scale = np.ones(3 * k, dtype=x.dtype)
    scale[:2 * k] = 0.5
    turned, product = np.ascontiguousarray(weight.T * scale), np.empty((batch, 3 * k), dtype=x.dtype)
    offset = None if bias is None else bias * scale
    states, hidden = _states(h, length), np.empty((length, batch, k), dtype=x.dtype)  # u₃, which r opens
    for t, a in enumerate(gates):
        np.matmul(states[t], turned, out=product)
        if offset is not None:
            product += offset
        both, n, after = a[:, :2 * k], a[:, 2 * k:], states[t + 1]
        both += product[:, :2 * k]
        np.tanh(both, out=both)
        both *= 0.5
        both += 0.5
        hidden[t] = product[:, 2 * k:]
        np.multiply(a[:, :k], hidden[t], out=after)
        n += after
        np.tanh(n, out=n)
        np.subtract(states[t], n, out=after)  # h' = n + z (h − n)
        after *= a[:, k:2 * k]
        after += n

    def backward(g):
        g = _by_step(g)
        du = np.empty_like(gates)
        r, z, n = (gates[..., i * k:(i + 1) * k] for i in range(3))
        dr, dz, dn = (du[..., i * k:(i + 1) * k] for i in range(3))
        np.multiply(gates[..., :2 * k], 1 - gates[..., :2 * k], out=du[..., :2 * k])  # σ'
        np.multiply(1 - n * n, 1 - z, out=dn)
        dr *= hidden
        dr *= dn  # all of dr but g
        dz *= states[:-1] - n
        dh, kept = np.zeros_like(h), np.empty_like(h)
        dx_n = np.empty_like(hidden)
        for t in range(length - 1, -1, -1):
            dh += g[t]
            step = du[t].reshape(batch, 3, k)
            step *= dh[:, None]
            dx_n[t] = step[:, 2]
            step[:, 2] *= r[t]
            np.multiply(dh, z[t], out=kept)
            np.matmul(du[t], weight, out=dh)
            dh += kept
        dweight, dbias = _weight_gradient(du, states), None if bias is None else du.sum(axis=(0, 1))
        dn[...] = dx_n  # of the input, which r does not open
        return _by_step(du), dh, dweight, dbias
    return _by_step(states[1:]), backward
