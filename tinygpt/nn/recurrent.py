"""RNN, LSTM and GRU: layers that read a sequence from left to right and carry a state of fixed size.

Where attention looks back at every earlier token, a recurrent layer has what its state has kept of them: a step costs
the same however long the text is. Parameters have PyTorch's names and shapes, so weights can be taken over as they are.

Shapes: B batch, T time, I channels in, H channels of the state, L layers.

Prerequisites: linear.py, ops/recurrent.py. Next: convolution.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..arrays import generator
from ..autograd import Tensor
from ..backend import array_module, to_device, to_numpy
from .dropout import Dropout
from .module import Module, Parameter

__all__ = ["GRU", "LSTM", "RNN", "Recurrent"]


class Recurrent(Module):
    """What the three share: layers one above the other, each of which reads the states of the one below.

    Args:
        input_size, hidden_size: I and H.
        num_layers: L.
        bias: whether there are biases.
        dropout: between the layers, the probability of dropping.

    Attributes:
        weight_ih_l0: (G·H, I), of the input of the first layer; weight_ih_l1 (G·H, H) of the second, and so on, with G
            gates. weight_hh_l0: (G·H, H), of the state. bias_ih_l0, bias_hh_l0: (G·H,).
    """

    gates: ClassVar[int]
    states: ClassVar[int] = 1
    over_time: ClassVar[Callable[..., Any]]

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, *, bias: bool = True,
                 dropout: float = 0.0) -> None:
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if value < 1:
                raise ValueError(f"{type(self).__name__}: {name} must be at least 1, got {value}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.dropout = Dropout(dropout)
        bound, rows = 1 / math.sqrt(hidden_size), self.gates * hidden_size
        for layer in range(num_layers):
            for name, shape in (("weight_ih", (rows, hidden_size if layer else input_size)),
                                ("weight_hh", (rows, hidden_size)), ("bias_ih", (rows,)), ("bias_hh", (rows,))):
                values = generator().uniform(-bound, bound, shape).astype(np.float32)
                setattr(self, f"{name}_l{layer}", Parameter(values) if bias or "weight" in name else None)

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        """The states after each token, and those after the last, with which a further call goes on.

        Args:
            x: (B, T, I).
            state: (L, B, H), of an LSTM a pair of them, h and c; None for zeros.
            lengths: (B,), where rows have unequal lengths, from 1 to T: what stands behind a row's end leaves no trace.
                Outputs there are zeros, and the last state is that after the row's own last token.

        Returns:
            (output, state): (B, T, H), and the state of each layer, as `state`.

        Raises:
            ValueError: shapes or lengths that do not fit.
        """
        name = type(self).__name__
        if x.ndim != 3 or x.shape[2] != self.input_size:
            raise ValueError(f"{name}: expected (B, T, {self.input_size}), got {x.shape}")
        first = self._first(x, state)
        last = None if lengths is None else self._last(x, lengths)
        ends: list[list[Tensor]] = []
        for layer in range(self.num_layers):
            x = x if not layer else self.dropout(x)
            x, after = self._layer(layer, x, [part[layer] for part in first])
            where = (slice(None), -1) if last is None else (to_device(np.arange(len(last)), x.device), last)
            ends.append([part[where] if x.shape[1] else part[layer] for part in (after if x.shape[1] else first)])
        if last is not None:
            xp = array_module(last)
            x = x * (xp.arange(x.shape[1]) <= last[:, None])[..., None]  # (B, T, H)
        parts = tuple(ops.stack(list(part)) for part in zip(*ends))  # (L, B, H)
        return x, parts if self.states > 1 else parts[0]

    def _layer(self, layer: int, x: Tensor, state: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(B, T, I) -> its output (B, T, H), and all its states."""
        weight_ih, weight_hh, bias_ih, bias_hh = (getattr(self, f"{name}_l{layer}") for name in (
            "weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        found = type(self).over_time(ops.linear(x, weight_ih, bias_ih), *state, weight_hh, bias_hh)
        found = found if isinstance(found, tuple) else (found,)
        return found[0], found

    def _first(self, x: Tensor, state: Any) -> tuple[Tensor, ...]:
        """The state to begin with, its parts (L, B, H)."""
        shape = (self.num_layers, x.shape[0], self.hidden_size)
        if state is None:
            zeros = Tensor(array_module(x.data).zeros(shape, dtype=x.dtype))
            return (zeros,) * self.states
        parts = tuple(state) if self.states > 1 else (state,)
        parts = tuple(part if isinstance(part, Tensor) else Tensor(part) for part in parts)
        if len(parts) != self.states or any(part.shape != shape for part in parts):
            raise ValueError(f"{type(self).__name__}: the state must be {'h and c, each ' * (self.states > 1)}of shape "
                             f"{shape}, got {', '.join(str(part.shape) for part in parts)}")
        return parts

    def _last(self, x: Tensor, lengths: Any) -> Any:
        """Each row's last place, (B,) on the device."""
        lengths = lengths.data if isinstance(lengths, Tensor) else lengths
        found = to_numpy(lengths) if hasattr(lengths, "dtype") else np.asarray(lengths)
        if found.shape != x.shape[:1] or found.dtype.kind not in "iu" or (
                found.size and not 1 <= found.min() <= found.max() <= x.shape[1]):
            raise ValueError(f"{type(self).__name__}: lengths must be {x.shape[0]} integers from 1 to {x.shape[1]}, "
                             f"got {str(lengths):.80}")
        return to_device(found - 1, x.device)


class RNN(Recurrent):
    """Elman's network: h' = tanh(W x + b + W' h + b')."""

    gates, over_time = 1, ops.rnn


class LSTM(Recurrent):
    """Long short-term memory: the state is h and c, and gates decide what c keeps, takes and shows."""

    gates, states, over_time = 4, 2, ops.lstm


class GRU(Recurrent):
    """Gated recurrent unit: one gate mixes the old state and a candidate, another decides what the candidate sees."""

    gates, over_time = 3, ops.gru
