"""LoRA: beside a frozen matrix W a product of two thin ones is trained, so the layer computes W x + (α/r) B A x.

A (r, C) brings C channels down to a few, B (rows, r) brings those up again. B starts at zero, so training starts from
the model as it is. A hundredth of the numbers is trained, and they say what was learnt: they can be saved alone, and
worked into W afterwards, for W + (α/r) B A is a matrix like any other.

Queries, keys and values come from one fused matrix here, so an adapter sits on a range of a layer's rows. The table of
an embedding is such a matrix too, one row for each token: B then holds r numbers for each, and those of the tokens in
the text are read. In a small model most of what it knows of words is there, and adapters elsewhere cannot reach it.

Prerequisites: block.py, cross_attention.py. Next: models/adapter.py. Hu et al., "LoRA: Low-rank
adaptation of large language models" (2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from .. import ops
from ..autograd import Tensor
from ..backend import Array, array_module, on_device
from .attention import MultiHeadAttention
from .cross_attention import CrossAttention
from .embedding import Embedding
from .feedforward import FeedForward
from .linear import Linear, normal
from .module import Module, Parameter

__all__ = ["LoRAEmbedding", "LoRALinear", "LowRank", "TARGETS", "add_lora", "merge_lora", "merged_state",
           "without_adapters"]

TARGETS = ("q", "k", "v", "out", "up", "gate", "down", "embedding")

Place = tuple[Module, str, int, int]  # the layer is an attribute of this module, by this name; rows start … stop of it


class LowRank(Module):
    """A product B A of rank r.

    Args:
        n_in, n_out: C, and the rows that it adds to.
        rank: r.

    Attributes:
        a: (r, n_in), small random numbers. b: (n_out, r), zeros.
    """

    def __init__(self, n_in: int, n_out: int, rank: int) -> None:
        self.a = Parameter(normal((rank, n_in), n_in ** -0.5))
        self.b = Parameter(np.zeros((n_out, rank), dtype=np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(…, n_in) -> (…, n_out)."""
        return ops.linear(ops.linear(x, self.a), self.b)


class _Adapted(Module):
    """A frozen matrix with adapters on some of its rows.

    Attributes:
        weight: (n_out, n_in), frozen. rows: the rows of each adapter, by name. scale: α / r.
    """

    weight: Parameter

    def _take(self, weight: Parameter, scale: float) -> None:
        self.weight, self.scale = weight, scale
        self.rows: dict[str, tuple[int, int]] = {}

    def add(self, name: str, start: int, stop: int, rank: int) -> None:
        """An adapter on the rows start … stop, as the attribute `lora_{name}`."""
        n_in = self.weight.shape[1]
        if not 1 <= rank <= min(n_in, stop - start):
            raise ValueError(f"a LoRA rank must be from 1 to {min(n_in, stop - start)}, the smaller side of the "
                             f"{stop - start} x {n_in} matrix {name!r}; got {rank}")
        self.rows[name] = (start, stop)
        setattr(self, f"lora_{name}", LowRank(n_in, stop - start, rank))

    def adapters(self) -> Iterator[tuple[int, int, LowRank]]:
        """(start, stop, adapter), by rows."""
        for name, (start, stop) in sorted(self.rows.items(), key=lambda item: item[1]):
            yield start, stop, getattr(self, f"lora_{name}")

    def merged_weight(self) -> Array:
        """(n_out, n_in): the matrix that computes the same alone."""
        with on_device(self.device):
            weight = self.weight.data.copy()
            for start, stop, adapter in self.adapters():
                weight[start:stop] += self.scale * (adapter.b.data @ adapter.a.data)
        return weight


class LoRALinear(_Adapted, Linear):
    """A frozen Linear with adapters.

    Args:
        linear: the layer; its parameters are taken over and frozen.
        scale: α / r.
    """

    def __init__(self, linear: Linear, scale: float) -> None:
        self._take(linear.weight, scale)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """(…, n_in) -> (…, n_out)."""
        parts: list = []
        at, end = 0, self.weight.shape[0]
        for start, stop, adapter in [*self.adapters(), (end, end, None)]:
            if at < start:  # rows without an adapter
                with on_device(self.device):
                    parts.append(array_module(self.weight.data).zeros((*x.shape[:-1], start - at), x.dtype))
            if adapter is not None:
                parts.append(adapter(x) * self.scale)
            at = stop
        return ops.linear(x, self.weight, self.bias) + (
            parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1))

    def merged(self) -> Linear:
        """A Linear that computes the same."""
        plain = Linear.__new__(Linear)
        plain.weight, plain.bias = Parameter(self.merged_weight()), self.bias
        return plain


class LoRAEmbedding(_Adapted, Embedding):
    """A frozen Embedding with one adapter on all of its rows.

    Args:
        embedding: the table; it is taken over and frozen.
        scale: α / r.
    """

    def __init__(self, embedding: Embedding, scale: float) -> None:
        self._take(embedding.weight, scale)

    def forward(self, ids: Array) -> Tensor:
        """Integers (…) -> (…, n_embd)."""
        out = ops.embedding(ids, self.weight)
        for _, _, adapter in self.adapters():
            out = out + (ops.embedding(ids, adapter.b) @ adapter.a) * self.scale
        return out

    def merged(self) -> Embedding:
        """An Embedding that gives the same."""
        plain = Embedding.__new__(Embedding)
        plain.weight = Parameter(self.merged_weight())
        return plain


def _places(module: Module) -> Iterator[tuple[str, Place]]:
    """(target, place) of all that can have an adapter in one attention or feed-forward layer, or model."""
    if isinstance(module, MultiHeadAttention):
        queries, keys = module.n_head * module.head_dim, module.n_kv_head * module.head_dim
        q, kv, at = ("q", "kv", 0) if isinstance(module, CrossAttention) else ("qkv", "qkv", queries)
        yield "q", (module, q, 0, queries)
        yield "k", (module, kv, at, at + keys)
        yield "v", (module, kv, at + keys, at + 2 * keys)
        yield "out", (module, "out", 0, module.out.weight.shape[0])
    elif isinstance(module, FeedForward):
        for name in ("up", "gate", "down"):
            layer = getattr(module, name, None)
            if layer is not None:
                yield name, (module, name, 0, layer.weight.shape[0])
    elif isinstance(table := getattr(module, "token_embedding", None), Embedding):
        yield "embedding", (module, "token_embedding", 0, table.weight.shape[0])


def add_lora(model: Module, rank: int, alpha: float | None = None, targets: Sequence[str] = ("q", "v")) -> None:
    """Freeze a model, and give every attention and feed-forward layer, or the token table, adapters; those alone
    are trained.

    Args:
        rank: r. alpha: α; 2 r by default.
        targets: names of `TARGETS`. The queries and values of attention are the paper's choice. "embedding" is for a
            table that is nothing else: one that is the output projection as well would change there only when merged.

    Raises:
        ValueError: a rank outside 1 … the smaller side of a matrix; a name that is no target, or none that the model
            has; a model that has adapters already.
    """
    if unknown := [name for name in targets if name not in TARGETS] or ["(none)"] * (not targets):
        raise ValueError(f"LoRA knows no target {unknown[0]!r}; choose among {', '.join(TARGETS)}")
    if any(isinstance(module, _Adapted) for module in model.modules()):
        raise ValueError("this model has adapters already; merge them first (nn.lora.merge_lora)")
    places = [(name, place) for module in list(model.modules()) for name, place in _places(module) if name in targets]
    if not places:
        raise ValueError(f"this model has no {' or '.join(targets)} for LoRA to adapt")
    for parameter in model.parameters():
        parameter.requires_grad = False
    for name, (parent, attribute, start, stop) in places:
        layer = getattr(parent, attribute)
        if not isinstance(layer, _Adapted):
            adapted = LoRAEmbedding if isinstance(layer, Embedding) else LoRALinear
            layer = adapted(layer, (2 * rank if alpha is None else alpha) / max(rank, 1))
            setattr(parent, attribute, layer)
        layer.add(name, start, stop, rank)


@contextmanager
def without_adapters(model: Module) -> Iterator[None]:
    """Inside the block the model computes what it computed before it had adapters."""
    adapted = [module for module in model.modules() if isinstance(module, _Adapted)]
    scales = [module.scale for module in adapted]
    for module in adapted:
        module.scale = 0.0
    try:
        yield
    finally:
        for module, scale in zip(adapted, scales):
            module.scale = scale


def merged_state(model: Module) -> dict[str, Array]:
    """The `state_dict` that the model will have without its adapters; the model stays as it is."""
    state = model.state_dict()
    for path, module in model.named_modules():
        if isinstance(module, _Adapted):
            state = {name: array for name, array in state.items() if not name.startswith(f"{path}.lora_")}
            state[f"{path}.weight"] = module.merged_weight()
    return state


def merge_lora(model: Module) -> None:
    """Work all adapters into the weights, which then compute the same without them; everything is trainable again."""
    for module in list(model.modules()):
        for name, child in list(vars(module).items()):
            if isinstance(child, (LoRALinear, LoRAEmbedding)):
                setattr(module, name, child.merged())
    for parameter in model.parameters():
        parameter.requires_grad = True
