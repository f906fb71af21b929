"""MixtureOfExperts: several feed-forward layers, of which each token goes through the few that a router chooses for it.

    p = softmax(router(x))                                   one probability for each of E experts
    y = Σ w_e expert_e(x), over the k experts of largest p   w: their p, divided by the sum of the k

So a model has the parameters of E layers and, for each token, the cost of k. The choice of experts jumps, and a jump
has no slope: the router learns through the weights w alone. Left to itself it soon sends all tokens to the same few
experts, which then learn most and are chosen more. So training adds the balance loss,

    E Σ_e f_e P_e       f_e: the tokens that chose expert e, by all tokens; P_e: the mean of p_e over the tokens

which is k where all are used alike, and up to E where the same k serve every token. f has no slope either, but a large
f_e makes P_e costly, and the router lowers it.

Shapes: B batch, T time, N = B T tokens, C channels, E experts, k experts per token.

Prerequisites: gated.py, ops/indexing.py. Next: ../models/kinds.py. Shazeer et al., "Outrageously large neural networks"
(2017); Fedus, Zoph & Shazeer, "Switch Transformers" (2021), for the balance loss; Jiang et al., "Mixtral of experts"
(2024), for the weights.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..autograd import Tensor, is_grad_enabled
from ..backend import Array, array_module, device_of, is_bfloat16, on_device, to_numpy
from .gated import GatedFeedForward
from .linear import Linear
from .module import Module

__all__ = ["MixtureOfExperts", "Routing", "balance_loss"]


class Routing(NamedTuple):
    """How one pass used the experts.

    Attributes:
        share: f (E,), the tokens that chose each expert, by all tokens; it sums to k.
        probability: P (E,), the mean of the router's probabilities.
    """

    share: Array
    probability: Tensor


class _LastPass(threading.local):
    """The routing of each thread's last pass."""

    routing: Routing | None = None


class MixtureOfExperts(Module):
    """A feed-forward layer made of E gated ones.

    Args:
        n_embd: C. n_inner: the width of each expert.
        n_experts: E. n_experts_per_token: k.
        activation, bias, std, out_std: of each expert, as for `FeedForward`. The router has no bias.

    Attributes:
        router: (E, C). experts: E layers.
        routing: of the last pass of this thread, where that was in training: `balance_loss` looks at it. A thread that
            evaluates the model does not take it away from one that trains it.

    Raises:
        ValueError: a k outside 1 … E.
    """

    def __init__(self, n_embd: int, n_inner: int, n_experts: int = 8, n_experts_per_token: int = 2, *,
                 activation: str = "silu", bias: bool = False, std: float = 0.02, out_std: float | None = None) -> None:
        if not 1 <= n_experts_per_token <= n_experts:
            raise ValueError(f"MixtureOfExperts: n_experts_per_token must be from 1 to n_experts={n_experts}, "
                             f"got {n_experts_per_token}")
        self.n_experts_per_token = n_experts_per_token
        self.router = Linear(n_embd, n_experts, bias=False, std=std)
        self.experts = [GatedFeedForward(n_embd, n_inner, activation=activation, bias=bias, std=std, out_std=out_std)
                        for _ in range(n_experts)]
        self._last = _LastPass()

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C). On a GPU it waits once, for how many tokens each expert has."""
        rows, k = x.reshape(-1, x.shape[-1]), self.n_experts_per_token  # (N, C)
        logits = self.router(rows)
        if is_bfloat16(logits.data):  # in whose eight bits experts would tie
            logits = logits.astype(np.float32)
        p = ops.softmax(logits)  # (N, E)
        with on_device(device_of(p.data)):
            xp = array_module(p.data)
            chosen = xp.argsort(-logits.data, axis=-1)[:, :k]  # (N, k); small p may have been rounded to 0, and tie
            weights = p[xp.arange(len(chosen))[:, None], chosen]  # (N, k)
            order, back, counts = _by_expert(xp, chosen, len(self.experts))
        weights = weights / weights.sum(axis=-1, keepdims=True)
        # `embedding` reads rows of a table by number, and adds their gradients up where a row is read k times.
        parts = ops.split(ops.embedding(order // k, rows), lengths=counts)  # the tokens of each expert, (n_e, C)
        outs = ops.concatenate([expert(part) for expert, part in zip(self.experts, parts)  # without tokens: gradient 0
                                if part.shape[0] or is_grad_enabled()])  # (N k, C)
        y = ops.embedding(back, outs).reshape(*chosen.shape, -1)  # (N, k, C), in the order of the tokens again
        self.routing = self._routing(p, counts) if self.training else None
        return (y * weights.reshape(*chosen.shape, 1)).sum(axis=1).reshape(x.shape)

    @property
    def routing(self) -> Routing | None:
        """Of the last pass of this thread."""
        return self._last.routing

    @routing.setter
    def routing(self, value: Routing | None) -> None:
        self._last.routing = value

    def _routing(self, p: Tensor, counts: tuple[int, ...]) -> Routing:
        with on_device(device_of(p.data)):
            share = array_module(p.data).asarray(counts, dtype=p.dtype) / len(p)
        return Routing(share, p.mean(axis=0))

    def __getstate__(self) -> dict[str, Any]:
        """A copy leaves the last pass behind, and the graph that hangs on it."""
        return {name: value for name, value in vars(self).items() if name != "_last"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _last=_LastPass())


def _by_expert(xp: Any, chosen: Array, n_experts: int) -> tuple[Array, Array, tuple[int, ...]]:
    """The N k choices sorted by expert, and within an expert by token.

    Args:
        chosen: (N, k), the experts of each token.

    Returns:
        order (N k,): which choice is at each place; back (N k,): at which place each choice is; how many choices each
        expert has.
    """
    expert = chosen.reshape(-1)
    place = xp.arange(expert.size)
    order = xp.argsort(expert * expert.size + place)  # no two keys are equal, so every sort gives the same order
    back = xp.empty_like(order)
    back[order] = place
    return order, back, tuple(to_numpy(xp.bincount(expert, minlength=n_experts)).tolist())


def balance_loss(model: Module) -> Tensor | None:
    """E Σ_e f_e P_e of the last pass in training, (); None for a model without experts, or after evaluation.

    f and P are means over all mixtures of the model, as in transformers, which puts the tokens of all layers one behind
    the other. That is not the mean of the layers' own losses, which is larger by E times the covariance of f and P over
    the layers, summed over experts: layers may favour different experts. Padding counts as tokens do.

    The model that a trainer is given has this, with a coefficient, as its `auxiliary_loss`; see models/decoder.py.
    """
    found = [module.routing for module in model.modules() if isinstance(module, MixtureOfExperts)]
    routings = [routing for routing in found if routing is not None]
    if not routings:
        return None
    with on_device(device_of(routings[0].share)):
        share: Any = sum(routing.share for routing in routings) / len(routings)
    probability = ops.stack([routing.probability for routing in routings]).mean(axis=0)
    return (probability * share).sum() * float(len(share))
