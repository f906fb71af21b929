"""Recurrent networks: a cell reads one token and passes its state on; the sequence is the cell, once for each token.

Each cell has its derivative beside it. `rnn`, `lstm` and `gru` unroll their cell over time: forward from the first
token to the last, and backward, with the chain rule through the states, from the last to the first.

The input has been through its own matrix already, for all tokens at once (nn/recurrent.py): what is left to a step is
the product with the state.

Shapes: B batch, T time, H channels of the state, G = H (rnn), 4H (lstm) or 3H (gru).

Prerequisites: linear_loss.py. Next: convolution.py. Elman, "Finding structure in time" (1990); Hochreiter and
Schmidhuber, "Long short-term memory" (1997); Cho et al., "Learning phrase representations" (2014).
"""

from __future__ import annotations

from typing import Any

from ..arrays import Array
from ..autograd import OPS, Output, differentiable, unbroadcast

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell", "rnn", "rnn_cell"]


def _sigmoid(xp: Any, x: Array) -> Array:
    return (1 + xp.tanh(x / 2)) / 2  # no overflow, wherever x lies


def _recurrent(name: str, n_gates: int, x: Array, h: Array, weight: Array, bias: Array | None) -> None:
    """Refuse shapes that do not fit."""
    hidden = h.shape[-1]
    expected = (n_gates * hidden, hidden)
    if x.shape[-1] != expected[0] or weight.shape != expected or x.shape[0] != h.shape[0] or h.ndim != 2 \
            or (bias is not None and bias.shape != expected[:1]):
        raise ValueError(f"{name}: a state of shape {h.shape} needs an input (B, …, {expected[0]}) of as many rows, a "
                         f"weight {expected} and a bias {expected[:1]} or None; got {x.shape}, {weight.shape} and "
                         f"{None if bias is None else bias.shape}")


@differentiable
def rnn_cell(xp: Any, x: Array, h: Array, weight: Array, bias: Array | None = None) -> Output:
    """tanh(x + h @ weightᵀ + bias): x and h (B, H), weight (H, H), bias (H,) give the next state (B, H)."""
    _recurrent("rnn_cell", 1, x, h, weight, bias)
    a = x + h @ weight.T
    out = xp.tanh(a if bias is None else a + bias)

    def backward(g):
        da = g * (1 - out * out)
        return unbroadcast(da, x), unbroadcast(da @ weight, h), unbroadcast(da.T @ h, weight), \
            None if bias is None else unbroadcast(da.sum(axis=0), bias)
    return out, backward


@differentiable
def lstm_cell(xp: Any, x: Array, h: Array, c: Array, weight: Array, bias: Array | None = None) -> Output:
    """One step of an LSTM, with the gates in PyTorch's order: into the cell, forget, candidate, out of the cell.

        i, f, g, o = σ(a₁), σ(a₂), tanh(a₃), σ(a₄)        a = x + h @ weightᵀ + bias
        c' = f c + i g        h' = o tanh(c')

    Shapes: x (B, 4H); h, c (B, H); weight (4H, H); bias (4H,). Gives (h', c').
    """
    _recurrent("lstm_cell", 4, x, h, weight, bias)
    if c.shape != h.shape:
        raise ValueError(f"lstm_cell: h has shape {h.shape}, and c {c.shape}; both are (B, H)")
    a = x + h @ weight.T
    a = a if bias is None else a + bias
    n = h.shape[1]
    i, f, o = _sigmoid(xp, a[:, :n]), _sigmoid(xp, a[:, n:2 * n]), _sigmoid(xp, a[:, 3 * n:])
    candidate = xp.tanh(a[:, 2 * n:3 * n])
    after = f * c + i * candidate
    shown = xp.tanh(after)

    def backward(gs):
        dh, dc = gs
        dc = dc + dh * o * (1 - shown * shown)  # h' shows c'
        da = xp.concatenate([dc * candidate * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - candidate * candidate),
                             dh * shown * o * (1 - o)], axis=1)  # (B, 4H); σ' = σ (1 − σ), tanh' = 1 − tanh²
        return unbroadcast(da, x), unbroadcast(da @ weight, h), unbroadcast(dc * f, c), \
            unbroadcast(da.T @ h, weight), None if bias is None else unbroadcast(da.sum(axis=0), bias)
    return (o * shown, after), backward


@differentiable
def gru_cell(xp: Any, x: Array, h: Array, weight: Array, bias: Array | None = None) -> Output:
    """One step of a GRU, with the gates in PyTorch's order: reset, update, candidate.

        r, z = σ(x₁ + u₁), σ(x₂ + u₂)        n = tanh(x₃ + r u₃)        u = h @ weightᵀ + bias
        h' = (1 − z) n + z h

    Shapes: x (B, 3H); h (B, H); weight (3H, H); bias (3H,). Gives h' (B, H).
    """
    _recurrent("gru_cell", 3, x, h, weight, bias)
    u = h @ weight.T
    u = u if bias is None else u + bias
    k = h.shape[1]
    r, z = _sigmoid(xp, x[:, :k] + u[:, :k]), _sigmoid(xp, x[:, k:2 * k] + u[:, k:2 * k])
    n = xp.tanh(x[:, 2 * k:] + r * u[:, 2 * k:])

    def backward(g):
        dn = g * (1 - z) * (1 - n * n)
        dr, dz = dn * u[:, 2 * k:] * r * (1 - r), g * (h - n) * z * (1 - z)
        du = xp.concatenate([dr, dz, dn * r], axis=1)  # (B, 3H)
        dx = xp.concatenate([dr, dz, dn], axis=1)
        return unbroadcast(dx, x), unbroadcast(g * z + du @ weight, h), unbroadcast(du.T @ h, weight), \
            None if bias is None else unbroadcast(du.sum(axis=0), bias)
    return (1 - z) * n + z * h, backward


def _unrolled(cell: str, xp: Any, x: Array, state: tuple[Array, ...], weight: Array, bias: Array | None) -> Output:
    """The states after each token, (B, T, H) each: the cell applied to x[:, 0], then to x[:, 1], …"""
    first, steps, states, rule = state, [], [], OPS[cell].rule
    for t in range(x.shape[1]):
        after, back = rule(xp, x[:, t], *state, weight, bias)
        state = after if isinstance(after, tuple) else (after,)
        steps.append(back)
        states.append(state)
    outs = tuple(xp.stack(parts, axis=1) if parts else part[:, None][:, :0]
                 for part, parts in zip(first, zip(*states) if states else [()] * len(first)))

    def backward(gs):
        gs = gs if isinstance(gs, tuple) else (gs,)
        dx, dweight = xp.zeros_like(x), xp.zeros_like(weight)
        dbias = None if bias is None else xp.zeros_like(bias)
        dstate = [xp.zeros_like(part) for part in first]
        for t in reversed(range(len(steps))):
            dstate = [d + g[:, t] for d, g in zip(dstate, gs)]  # from the later tokens, and from the output here
            dx[:, t], *dstate, dw, db = steps[t](tuple(dstate) if len(dstate) > 1 else dstate[0])
            dweight = dweight + dw
            dbias = db if dbias is None else dbias + db
        return [dx, *(unbroadcast(d, part) for d, part in zip(dstate, first)), dweight, dbias]
    return (outs if len(outs) > 1 else outs[0]), backward


@differentiable
def rnn(xp: Any, x: Array, h: Array, weight: Array, bias: Array | None = None) -> Output:
    """`rnn_cell` over time: x (B, T, H) from the state h (B, H) gives all states (B, T, H)."""
    _recurrent("rnn", 1, x, h, weight, bias)
    return _unrolled("rnn_cell", xp, x, (h,), weight, bias)


@differentiable
def lstm(xp: Any, x: Array, h: Array, c: Array, weight: Array, bias: Array | None = None) -> Output:
    """`lstm_cell` over time: x (B, T, 4H) from the states h and c (B, H) gives all h and all c, (B, T, H) each."""
    _recurrent("lstm", 4, x, h, weight, bias)
    return _unrolled("lstm_cell", xp, x, (h, c), weight, bias)


@differentiable
def gru(xp: Any, x: Array, h: Array, weight: Array, bias: Array | None = None) -> Output:
    """`gru_cell` over time: x (B, T, 3H) from the state h (B, H) gives all states (B, T, H)."""
    _recurrent("gru", 3, x, h, weight, bias)
    return _unrolled("gru_cell", xp, x, (h,), weight, bias)
