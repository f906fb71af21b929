"""23: the attention class that tutorials pass on, translated line by line; its three mistakes shown, and put right.

    python examples/23_pasted_attention.py                       # a second

The class runs, its shapes fit, and a model with it learns something, so nobody looks again. Each mistake is told by a
question that can be asked of any layer:

1. Which parameters get no gradient? Three projections are made and never used: the loss says nothing to them.
2. What happens if the heads trade places? One projection of D by D serves all heads, so they all ask the same question
   of their own channels: permuted channels give permuted heads, exactly, and half of the layer's freedom is missing.
3. How large are the scores? They are sums of D products and are divided by √C, so they are √H times too small, and the
   softmax is nearly flat from the first step on.

Put right, with a matrix for all heads and √D, it is the library's own layer, to the last bit of float64.

Prerequisites: 04_generation.py. Next: docs/reading.md. Vaswani et al., "Attention is all you need" (2017).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np

import tinygpt as tg
from tinygpt import Tensor, nn, ops

C, H, T = 64, 8, 12  # channels, heads, tokens
D = C // H


class PastedAttention(nn.Module):
    """As it is passed on. Shapes: x (B, T, C)."""

    def __init__(self, embed_size: int, heads: int) -> None:
        self.heads, self.head_dim, self.embed_size = heads, embed_size // heads, embed_size
        self.values = nn.Linear(self.head_dim, self.head_dim, bias=False, std=self.head_dim ** -0.5)
        self.keys = nn.Linear(self.head_dim, self.head_dim, bias=False, std=self.head_dim ** -0.5)
        self.queries = nn.Linear(self.head_dim, self.head_dim, bias=False, std=self.head_dim ** -0.5)
        self.fc_out = nn.Linear(embed_size, embed_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        n, length, _ = x.shape
        values = x.reshape(n, length, self.heads, self.head_dim)
        keys = x.reshape(n, length, self.heads, self.head_dim)
        queries = x.reshape(n, length, self.heads, self.head_dim)
        # … and here the three projections would have to be applied
        energy = ops.einsum("nqhd,nkhd->nhqk", queries, keys)
        attention = ops.softmax(energy / math.sqrt(self.embed_size), axis=3)
        out = ops.einsum("nhql,nlhd->nqhd", attention, values)
        return self.fc_out(out.reshape(n, length, self.heads * self.head_dim))


class ProjectedAttention(PastedAttention):
    """The first mistake put right, as later versions of the tutorial have it: the projections are applied."""

    def heads_of(self, x: Tensor) -> Tensor:
        """What the heads give before they are mixed, (B, T, H, D)."""
        n, length, _ = x.shape
        split = x.reshape(n, length, self.heads, self.head_dim)
        values, keys, queries = self.values(split), self.keys(split), self.queries(split)
        attention = ops.softmax(self.scores(queries, keys), axis=3)
        return ops.einsum("nhql,nlhd->nqhd", attention, values)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(B, H, T, T), over √C."""
        return ops.einsum("nqhd,nkhd->nhqk", queries, keys) / math.sqrt(self.embed_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return self.fc_out(self.heads_of(x).reshape(*x.shape))


class RightAttention(ProjectedAttention):
    """All three put right: each head has rows of its own in the projections, and scores are divided by √D."""

    def __init__(self, embed_size: int, heads: int) -> None:
        super().__init__(embed_size, heads)
        for name in ("values", "keys", "queries"):
            setattr(self, name, nn.Linear(embed_size, embed_size, bias=False, std=embed_size ** -0.5))

    def heads_of(self, x: Tensor) -> Tensor:
        """As above, with the projections before the cut into heads."""
        n, length, _ = x.shape
        values, keys, queries = (project(x).reshape(n, length, self.heads, self.head_dim)
                                 for project in (self.values, self.keys, self.queries))
        attention = ops.softmax(self.scores(queries, keys), axis=3)
        return ops.einsum("nhql,nlhd->nqhd", attention, values)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(B, H, T, T), over √D."""
        return ops.einsum("nqhd,nkhd->nhqk", queries, keys) / math.sqrt(self.head_dim)


def without_gradient(layer: nn.Module, x: Tensor) -> list[str]:
    """The parameters that a loss of the layer's output says nothing to."""
    ops.sum(layer(x) ** 2).backward()
    return [name for name, parameter in layer.named_parameters() if parameter.grad is None]


def heads_trade_places(layer: ProjectedAttention, x: Tensor) -> float:
    """How far the heads of permuted input are from the permuted heads of the input; 0 where all heads are one."""
    turned = x.data.reshape(*x.shape[:2], H, D)[:, :, ::-1].reshape(x.shape)
    return float(np.abs(layer.heads_of(Tensor(turned.copy())).data - layer.heads_of(x).data[:, :, ::-1]).max())


def spread_of_scores(layer: ProjectedAttention, x: Tensor) -> float:
    """The deviation of the scores; 1 where queries and keys have deviation 1 and scores are sums of D over √D."""
    queries = Tensor(np.random.default_rng(1).standard_normal((1, 200, H, D)))
    keys = Tensor(np.random.default_rng(2).standard_normal((1, 200, H, D)))
    return float(layer.scores(queries, keys).data.std())


def distance_from_ours(layer: RightAttention, x: Tensor) -> float:
    """How far its output is from that of nn.MultiHeadAttention with the same weights."""
    ours = nn.MultiHeadAttention(C, H).to(dtype="float64")
    qkv = np.concatenate([project.weight.data for project in (layer.queries, layer.keys, layer.values)])
    ours.load_state_dict({"qkv.weight": qkv, "qkv.bias": np.zeros(3 * C), "out.weight": layer.fc_out.weight.data,
                          "out.bias": layer.fc_out.bias.data})
    sight = nn.Sight(nn.Positions(), nn.Mask(), np.arange(x.shape[1]))
    return float(np.abs(ours(x, sight).data - layer(x).data).max())


def main(argv: Sequence[str] | None = None) -> dict[str, object]:
    """Ask the three questions of the three classes; returns the answers."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    tg.manual_seed(0)
    x = Tensor(np.random.default_rng(0).standard_normal((2, T, C)))
    pasted, projected, right = (kind(C, H).to(dtype="float64")
                                for kind in (PastedAttention, ProjectedAttention, RightAttention))
    found: dict[str, object] = {
        "without gradient": without_gradient(pasted, x), "without gradient, right": without_gradient(right, x),
        "one head": heads_trade_places(projected, x), "one head, right": heads_trade_places(right, x),
        "scores": spread_of_scores(projected, x), "scores, right": spread_of_scores(right, x),
        "from ours": distance_from_ours(right, x)}
    print(f"1. made and never used: {', '.join(found['without gradient'])}")  # type: ignore[arg-type]
    print(f"2. heads that trade places give heads that trade places, up to {found['one head']:.0e}; "
          f"with a matrix for all heads they are {found['one head, right']:.2f} apart")
    print(f"3. scores have the deviation {found['scores']:.2f} instead of {found['scores, right']:.2f}: "
          f"√{H} = {math.sqrt(H):.2f} times too small")
    print(f"put right, the class is nn.MultiHeadAttention up to {found['from ours']:.0e}")
    return found


if __name__ == "__main__":
    main()
