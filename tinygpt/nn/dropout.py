"""Dropout: switched by `train` and `eval`, with masks named by (seed, layer, step, call).

Prerequisites: normalization.py. Next: positions.py.
"""

from __future__ import annotations

from ..arrays import generator
from ..autograd.tensor import Tensor
from ..ops.dropout import Key, check_rate, dropout
from .module import Module

__all__ = ["Dropout", "seed_dropout"]


class Dropout(Module):
    """Drop elements with probability p while training; do nothing in `eval`.

    Attributes:
        p: the rate, 0 ≤ p ≤ 1.
    """

    def __init__(self, p: float) -> None:
        check_rate("Dropout", p)
        self.p = p
        self._stream: tuple[int, int, int] | None = None  # (seed, layer, step)
        self._calls = 0

    def next_key(self) -> Key:
        """The name of the next mask: one after the other in the stream of `seed_dropout`, or else a random one."""
        if self._stream is None:
            return (int(generator().integers(2**63)),)
        self._calls += 1
        return (*self._stream, self._calls)

    @property
    def active(self) -> bool:
        """Whether it drops anything now."""
        return self.training and self.p > 0

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return dropout(x, p=self.p, key=self.next_key()) if self.active else x


def seed_dropout(model: Module, seed: int, step: int, first_call: int = 0) -> None:
    """Name the masks of all dropout layers of a model, so that step `step` of a run drops the same elements again.

    Args:
        first_call: from which number on the calls of a layer are counted: parts of a batch that must not share masks
            count from different ones.
    """
    layers = (module for module in model.modules() if isinstance(module, Dropout))
    for layer, module in enumerate(layers):
        module._stream, module._calls = (seed, layer, step), first_call
