"""AdamW in place over the flat buffer: the same numbers as adamw.py to rounding, several times as fast.

Each step is one pass over four long arrays: block by block on the host, where a block stays in the cache from one
operation to the next, and in one fused kernel on a GPU.

Prerequisites: flat_optimizer.py. Next: flat_clipping.py.
"""

from __future__ import annotations

import math

from ..backend import Array, array_module, on_device
from ..kernels.cuda import adamw_fused
from . import adamw
from .flat import FlatParameters, Parameters, Spread
from .flat_optimizer import FLUSH_EVERY, FlatOptimizer

__all__ = ["AdamW", "flush_tiny", "tiny_moment"]


def tiny_moment(eps: float) -> float:
    """Below this, an element of a moment is too small to be seen in an update.

    The moments of a parameter whose gradient stays zero (an unused position) fade by a factor each step into the
    denormal numbers below 1e-38, where rounding holds them for ever and a processor takes ten times as long or more
    for each operation. Below `tiny`, sqrt(v) is less than a rounding error of eps, and m / eps less than 1e-14 of eps.
    In FLUSH_EVERY steps no number above it reaches the denormals, for any beta above 0.32.
    """
    return min(1e-30, (1e-7 * eps) ** 2)


def flush_tiny(moment: Array, scratch: Array, eps: float) -> None:
    """Set to zero, in place, the elements of a moment below `tiny_moment`; `scratch` is of the moment's shape."""
    xp = array_module(moment)
    xp.abs(moment, out=scratch)
    xp.greater_equal(scratch, tiny_moment(eps), out=scratch)  # 1.0 or 0.0
    moment *= scratch


class AdamW(FlatOptimizer, adamw.AdamW):
    """The textbook's AdamW (adamw.py), in place over the flat buffer; its settings are the textbook's.

    Args:
        parameters: a FlatParameters, or what one is built from: a model, (name, parameter) pairs, or parameters (of
            parameters that live in one already, that one is used).

    Attributes:
        first_moment, second_moment: running means of g and g², of the elements `own`: (N,) in the layout of `flat`.
        Those of FlatOptimizer.

    Raises:
        ValueError: a setting outside its range, or parameters that FlatParameters refuses.
    """

    def __init__(self, parameters: FlatParameters | Parameters, lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01) -> None:
        # The textbook's AdamW checks the settings and hands the parameters, whatever they are, to `hold`.
        super().__init__(parameters, lr, betas, eps, weight_decay)  # type: ignore[arg-type]

    def hold(self, parameters: FlatParameters | Parameters) -> None:
        super().hold(parameters)
        self.moments = {kind: [(self.own, self.flat.new_gradient())] for kind in ("first_moment", "second_moment")}

    @property
    def first_moment(self) -> Array:
        """Running means of the gradient."""
        return self.moments["first_moment"][0][1]

    @property
    def second_moment(self) -> Array:
        """Running means of its square."""
        return self.moments["second_moment"][0][1]

    def _update(self, lr: float, grad_scale: float | Array, spread: Spread) -> None:
        for stretch, second_moment in self.moments["second_moment"]:
            self.update_stretch(stretch, second_moment, lr, grad_scale, spread)

    def _first_moment_of(self, stretch: slice) -> Array:
        return self.first_moment[stretch.start - self.own.start:stretch.stop - self.own.start]

    def update_stretch(self, stretch: slice, second_moment: Array, lr: float, grad_scale: float | Array,
                       spread: Spread) -> None:
        """AdamW's step for one stretch of the flat arrays, whose second moment is given."""
        if self._update_fused(stretch, second_moment, lr, grad_scale):
            return

        def update(part: list[tuple[slice, bool]]) -> None:
            with on_device(self.flat.device):
                scratch = array_module(self.flat.data).empty_like(self.flat.data, shape=(self._block_size,))
                for block, decayed in part:
                    v = second_moment[block.start - stretch.start:block.stop - stretch.start]
                    self._update_block(block, v, scratch, lr, grad_scale, self.weight_decay if decayed else 0.0)
        spread(update, list(self.blocks(stretch)))

    def _folded(self, lr: float) -> tuple[float, float]:
        """The update with all that is constant folded into two numbers, the step size and what is added to the root:

            lr · m_hat / (sqrt(v_hat) + eps)  =  (lr · √c2 / c1) · m / (sqrt(v) + eps · √c2),   ci = 1 - betai^step
        """
        root_c2 = math.sqrt(1 - self.betas[1] ** self.steps)
        return lr * root_c2 / (1 - self.betas[0] ** self.steps), self.eps * root_c2

    def _update_fused(self, stretch: slice, second_moment: Array, lr: float, grad_scale: float | Array) -> bool:
        """The step by the fused kernel, where there is one (see kernels/cuda/adamw.py)."""
        step_size, eps = self._folded(lr)
        n_decayed = min(max(self.flat.decay_range.stop - stretch.start, 0), stretch.stop - stretch.start)
        return adamw_fused(
            self.flat.data[stretch], self.flat.grad[stretch], self._first_moment_of(stretch), second_moment, grad_scale,
            n_decayed=n_decayed, betas=self.betas, step_size=step_size, eps=eps,
            keep=1 - lr * self.weight_decay, tiny=0.0 if self.steps % FLUSH_EVERY else tiny_moment(self.eps))

    def _update_block(self, block: slice, v: Array, scratch: Array, lr: float, grad_scale: float | Array,
                      weight_decay: float) -> None:
        """`adamw_update` on one block in place."""
        p, g, m = self.flat.data[block], self.flat.grad[block], self._first_moment_of(block)
        xp, s = array_module(p), scratch[:p.size]
        (beta1, beta2), (step_size, eps) = self.betas, self._folded(lr)

        xp.multiply(g, (1 - beta1) * grad_scale, out=s)
        m *= beta1
        m += s
        s *= s
        s *= (1 - beta2) / (1 - beta1) ** 2
        v *= beta2
        v += s
        if self.steps % FLUSH_EVERY == 0:
            flush_tiny(m, s, self.eps)
            flush_tiny(v, s, self.eps)
        xp.sqrt(v, out=s)
        s += eps
        xp.divide(m, s, out=s)
        s *= step_size
        if weight_decay:
            p *= 1 - lr * weight_decay
        p -= s
