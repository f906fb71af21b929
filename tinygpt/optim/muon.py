"""Muon: momentum whose matrices are made orthogonal before they are added to the weights.

The update that AdamW makes for a matrix has a few large singular values and many small ones: most directions hardly
move. Muon takes the average gradient G = U S Vᵀ and moves along U Vᵀ, where all singular values are 1. It gets there
without a decomposition: an odd polynomial of G acts on the singular values alone,

    a G + b (G Gᵀ) G + c (G Gᵀ)² G  =  U (a S + b S³ + c S⁵) Vᵀ

and with (a, b, c) below, five rounds of it send any value between 0.01 and 1 to somewhere between 0.68 and 1.14. That
is close enough to 1, and faster than coefficients that converge to it.

This is for matrices that multiply activations. Embeddings, the output projection, positions and vectors get AdamW.

Prerequisites: flat_adamw.py, divided.py. Next: training/. Sources: Jordan et al., "Muon: An optimizer for hidden layers
in neural networks" (2024), https://kellerjordan.github.io/posts/muon; Liu et al., "Muon is scalable for LLM training"
(2025), for the scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..backend import Array, array_module, on_device
from ..ranks import Group
from .divided import Divided
from .flat import FlatParameters, Parameters, Spread
from .flat_adamw import AdamW, flush_tiny
from .flat_optimizer import FLUSH_EVERY, FlatOptimizer

__all__ = ["ADJUST_LR", "Muon", "is_hidden_matrix", "orthogonalized"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # chosen for a steep start: small singular values grow 3.4445-fold a round
ROUNDS = 5
SMALLEST_NORM = 1e-7  # a matrix shorter than this is not stretched to length 1: a zero stays zero

# The scale of an orthogonal update, by its (rows, columns). An orthogonal matrix has elements of root mean square
# 1 / sqrt(max(rows, columns)); AdamW's updates have about 0.2. With the second rule, one learning rate and one weight
# decay suit both. The names are PyTorch's.
ADJUST_LR: dict[str, Callable[[int, int], float]] = {
    "original": lambda rows, columns: math.sqrt(max(1.0, rows / columns)),
    "match_rms_adamw": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),
}


def is_hidden_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """True for the parameters that Muon orthogonalizes: the matrices inside the blocks of a model.

    Embeddings, positions and heads stand outside `blocks`.
    """
    return len(shape) == 2 and "blocks" in name.split(".")


def orthogonalized(g: Array) -> Array:
    """The matrix near `g`, with all singular values near 1, by five rounds of the Newton-Schulz iteration.

    Args:
        g: (..., M, N), a matrix or several, in the dtype to compute in.

    Returns:
        (..., M, N). Singular values of at least a hundredth of g's norm become 0.68 to 1.14, smaller ones 0 to 1.21. A
        matrix of zeros stays one.
    """
    xp, (a, b, c) = array_module(g), COEFFICIENTS
    tall = g.shape[-2] > g.shape[-1]
    x = g.swapaxes(-1, -2) if tall else g                                     # the smaller side first: a smaller gram
    norm = xp.sqrt((x * x).sum(axis=(-2, -1), keepdims=True))                 # no singular value is larger
    x = x / xp.maximum(norm, SMALLEST_NORM)
    for _ in range(ROUNDS):
        gram = x @ x.swapaxes(-1, -2)
        x = a * x + (b * gram + c * (gram @ gram.swapaxes(-1, -2))) @ x       # A Aᵀ takes less time than A A
    return x.swapaxes(-1, -2) if tall else x


class Muon(AdamW):
    """Muon for the hidden matrices, AdamW for the rest.

    A fused matrix of queries, keys and values is three matrices, of which each is made orthogonal by itself: a
    parameter that is called `….qkv.weight` and has three times as many rows as columns. (With grouped queries the
    parts are not equal, and their sizes are unknown here: it is treated as one matrix.)

    A step costs 5 · (4 M² N + 2 M³) multiplications and additions per hidden matrix of M <= N. That is little beside a
    large batch, and much beside a small one.

    Args:
        parameters, lr, betas, eps, weight_decay: as for AdamW; `betas` and `eps` are for the parameters that get AdamW,
            `lr` and `weight_decay` are for both. Muon bears a few times the learning rate that is best for AdamW.
        momentum: how much of the old average gradient each step keeps, in [0, 1).
        adjust_lr_fn: how the learning rate is scaled by the shape of a matrix, a name in ADJUST_LR.
        hidden: (name, shape) -> whether a parameter is a hidden matrix; it has two axes then.

    Attributes:
        first_moment: running means of the gradients of the elements `own`: (N,) in the layout of `flat`.

    Raises:
        ValueError: a setting outside its range, or parameters that FlatParameters refuses.
    """

    def __init__(self, parameters: FlatParameters | Parameters, lr: float = 4e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01, *,
                 momentum: float = 0.95, adjust_lr_fn: str = "match_rms_adamw",
                 hidden: Callable[[str, tuple[int, ...]], bool] = is_hidden_matrix) -> None:
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"momentum is {momentum}, expected a number in [0, 1)")
        if adjust_lr_fn not in ADJUST_LR:
            raise ValueError(f"adjust_lr_fn is {adjust_lr_fn!r}, expected one of {', '.join(ADJUST_LR)}")
        self.momentum, self.adjust, self.hidden = float(momentum), ADJUST_LR[adjust_lr_fn], hidden
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def hold(self, parameters: FlatParameters | Parameters) -> None:
        FlatOptimizer.hold(self, parameters)  # not AdamW's, for hidden matrices need no second moment
        self._matrices: list[str] = []
        bounds = [0]  # of the stretches between the hidden matrices: start, stop, start, stop, …
        for name, slot in self.flat.slots.items():
            if self.hidden(name, slot.shape):
                self._matrices.append(name)
                bounds += [slot.start, slot.stop]
        bounds.append(self.flat.size)
        with on_device(self.flat.device):
            xp, dtype = array_module(self.flat.data), self.flat.data.dtype
            self._divided = Divided(self._group, {}, self.flat.grad[:0])
            self.moments = {"first_moment": [(self.own, self.flat.new_gradient())], "second_moment": [
                (slice(start, stop), xp.zeros(stop - start, dtype))
                for start, stop in zip(bounds[::2], bounds[1::2]) if stop > start]}

    @property
    def second_moments(self) -> list[tuple[slice, Array]]:
        """Stretches without hidden matrices, and their running means of squared gradients."""
        return self.moments["second_moment"]

    def _stretches_by_cost(self) -> list[tuple[slice, int]]:
        """A hidden matrix has one moment."""
        return sorted([*((self._stretch(name), 1) for name in self._matrices),
                       *((stretch, 2) for stretch, _ in self.second_moments)], key=lambda found: found[0].start)

    def _stretch(self, name: str) -> slice:
        slot = self.flat.slots[name]
        return slice(slot.start, slot.stop)

    def share_out(self, group: Group, bounds: Sequence[int]) -> None:
        """As for every optimizer; a matrix may be cut between ranks."""
        super().share_out(group, bounds)
        parts = {name: self._parts(self._stretch(name)) for name in self._matrices}
        cut = {name: some for name, some in parts.items() if sum(part.stop > part.start for part in some) > 1}
        with on_device(self.flat.device):
            self._divided = Divided(group, cut, self.flat.grad[:0])

    def _update(self, lr: float, grad_scale: float | Array, spread: Spread) -> None:
        divided = self._divided
        made = divided.bring_together({name: self._averaged(part, grad_scale) for name, part in divided.own.items()})

        def update(names: list[str]) -> None:
            with on_device(self.flat.device):
                for name in names:
                    if name in made:
                        made[name][...] = self._direction(name, made[name])
                    else:
                        stretch = self._stretch(name)
                        self._move(name, stretch, self._direction(name, self._averaged(stretch, grad_scale)), lr)
        spread(update, [*made, *(name for name in self._matrices if name not in divided.parts
                                 and self.own.start <= self.flat.slots[name].start < self.own.stop)])
        for name, direction in divided.hand_back().items():
            self._move(name, divided.own[name], direction, lr)
        super()._update(lr, grad_scale, spread)

    def _sides(self, name: str) -> tuple[int, int]:
        """(rows, columns) of a matrix, or of each of the three in a fused one."""
        rows, columns = self.flat.slots[name].shape
        return (columns if name.endswith("qkv.weight") and rows == 3 * columns else rows), columns

    def _averaged(self, stretch: slice, grad_scale: float | Array) -> Array:
        """Momentum for a stretch of the flat arrays: the average gradient, (n,)."""
        m = self._first_moment_of(stretch)
        new = self.flat.grad[stretch] * ((1 - self.momentum) * grad_scale)
        m *= self.momentum
        m += new
        new += self.momentum * m  # Nesterov's momentum: the average as it will be if the next gradient is like this one
        if self.steps % FLUSH_EVERY == 0:
            flush_tiny(m, array_module(m).empty_like(m), self.eps)
        return new

    def _direction(self, name: str, average: Array) -> Array:
        """A whole matrix made orthogonal, (rows * columns,)."""
        return orthogonalized(average.reshape(-1, *self._sides(name))).reshape(-1)

    def _move(self, name: str, stretch: slice, direction: Array, lr: float) -> None:
        """Move the weights of a stretch that lies in a matrix."""
        p = self.flat.data[stretch]
        if self.weight_decay and stretch.start < self.flat.decay_range.stop:
            p *= 1 - lr * self.weight_decay
        p -= (lr * self.adjust(*self._sides(name))) * direction
