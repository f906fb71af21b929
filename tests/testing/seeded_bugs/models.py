"""Bugs in layers, cache and losses of a whole model, where each operation by itself is right."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygpt
from tinygpt import nn
from tinygpt.models import GPT, GPTConfig
from tinygpt.nn.cache import LayerCache
from tinygpt.optim import AdamW, Muon
from tinygpt.optim.flat_parameter import FlatParameter
from tinygpt.training import losses

from .cases import Bug, ModelExample, add
from .engine import patched
from .mutation import Edit, mutant


def gpt(rng: np.random.Generator, **fixed: Any) -> ModelExample:
    """A GPT of one or two layers with weights far from zero, and a batch with targets left out."""
    tinygpt.manual_seed(int(rng.integers(0, 2**31)))
    n_head = int(rng.choice([1, 2]))
    settings: dict[str, Any] = dict(
        vocab_size=int(rng.integers(5, 9)), block_size=12, n_layer=int(rng.integers(1, 3)), n_head=n_head,
        n_embd=4 * n_head, architecture=str(rng.choice(["gpt2", "llama"])), initializer_range=0.4,
        tie_word_embeddings=bool(rng.random() < 0.5))
    config = GPTConfig(**settings | fixed)
    rows, length = int(rng.integers(2, 4)), int(rng.integers(4, 9))
    ids, targets = rng.integers(0, config.vocab_size, (2, rows, length))
    targets[rng.random(targets.shape) < 0.2] = -100
    targets[:, 0] = 1
    return ModelExample(GPT(config), {"ids": ids, "targets": targets})


def gpt2(rng: np.random.Generator) -> ModelExample:
    return gpt(rng, architecture="gpt2")


def alibi(rng: np.random.Generator) -> ModelExample:
    """A GPT whose positions are numbers for every key that a query looks at, earlier ones as well."""
    return gpt(rng, positions="alibi")


def tied(rng: np.random.Generator) -> ModelExample:
    return gpt(rng, tie_word_embeddings=True)


def llama(rng: np.random.Generator) -> ModelExample:
    return gpt(rng, architecture="llama")


def held(rng: np.random.Generator) -> ModelExample:
    """A model with an optimizer beside it."""
    example = gpt(rng)
    example.optimizer = (AdamW, Muon)[int(rng.integers(0, 2))](example.model)
    return example


def held_and_tied(rng: np.random.Generator) -> ModelExample:
    example = tied(rng)
    example.optimizer = AdamW(example.model)
    return example


def _edited(owner: Any, method: str, *edits: Edit, **names: Any) -> Callable[[], contextlib.AbstractContextManager]:
    return lambda: patched(owner, method, mutant(getattr(owner, method), *edits, **names))


def model_bug(name: str, draw: Callable[[np.random.Generator], ModelExample], owner: Any, method: str,
              *edits: Edit, **names: Any) -> None:
    add(Bug(name, draw, _edited(owner, method, *edits, **names), costly=True))


model_bug("model: causal mask off by one", gpt, nn.MultiHeadAttention, "forward", (
    "q, k, v, sight.bias, causal=sight.causal", "q, k, v, one_more(q, k) if sight.bias is None else sight.bias"),
    one_more=lambda q, k: np.tri(q.shape[2], k.shape[2], k.shape[2] - q.shape[2] + 1, dtype=bool))
model_bug("model: no causal mask", gpt, nn.MultiHeadAttention, "forward", ("causal=sight.causal", "causal=False"))
model_bug("cache: keys stored one place late", gpt, LayerCache, "append", (
    "self.keys[:, :, self.length:end] = keys",
    "self.keys[:, :, max(0, self.length - 1):end - (self.length > 0)] = keys"))
model_bug("cache: positions start at 0 again", gpt, GPT, "features", (
    "positions_of(padding, start, end)", "positions_of(padding, 0, ids.shape[1])"))
model_bug("cache: the last chunk only is looked at", gpt, LayerCache, "append", (
    "self.keys[:, :, :end], self.values[:, :, :end]", "keys, values"))
model_bug("cache: the mask is that of the new tokens alone", alibi, nn.CachedSight, "__init__", (
    "cache.kept(layer) + n_queries", "n_queries"), ("super()", "super(CachedSight, self)"), CachedSight=nn.CachedSight)
model_bug("padding: mask ignored", gpt, GPT, "features", (
    "mask if padding is None else Both(mask, Padding(padding))", "mask"))
model_bug("padding: the causal mask forgotten beside it", gpt, GPT, "features", (
    "Both(mask, Padding(padding))", "Padding(padding)"))
model_bug("padding: positions shift on the left", gpt2, GPT, "features", (
    "positions_of(padding, start, end)", "positions_of(None, start, end)"))
add(Bug("tied weights: the output's use detached", tied, lambda: patched(GPT, "output_weight", property(mutant(
    GPT.output_weight.fget, ("return self.token_embedding.weight", "return self.token_embedding.weight.detach()")))),
    costly=True))
model_bug("tied weights: the input's use detached", tied, nn.Embedding, "forward", (
    "self.weight)", "self.weight.detach())"))
model_bug("residual: the stream detached", gpt, nn.Block, "forward", (
    "x + self.dropout(", "x.detach() + self.dropout("))
model_bug("loss: mean over rows of means", gpt, losses, "language_loss", (
    "return ops.linear_cross_entropy(x, model.output_weight, None, targets, weights, reduction=\"sum\")",
    "parts = [ops.linear_cross_entropy(x[i:i + 1], model.output_weight, None, targets[i:i + 1], None if weights is "
    "None else weights[i:i + 1]) for i in range(len(targets))]\n"
    "    return sum(parts[1:], parts[0]) * (count_targets(batch) / len(parts))"))
model_bug("loss: a batch's rows leak into each other", gpt, GPT, "features", (
    "x = self.norm(x)", "x = self.norm(x + x.mean(axis=0, keepdims=True) * 0.01)"))
model_bug("rotary: keys turned by half their angle", llama, nn.RotaryPositions, "turn", (
    "self._turned(k, *angles)", "self._turned(k.detach(), *angles)"))
model_bug("optimizer beside the model: a second gradient replaces the first", held_and_tied, FlatParameter, "receive", (
    "self._grad += g", "self._grad[...] = g"))
model_bug("optimizer beside the model: a deferred gradient replaces what is there", held, FlatParameter, "take", (
    "g.add_to(self._grad, self._vacant)", "g.add_to(self._grad, True)"))
model_bug("optimizer beside the model: a norm's weight detached", held, nn.LayerNorm, "forward", (
    "self.weight", "self.weight.detach()"))
model_bug("optimizer beside the model: a linear layer trains a copy of its weight", held, nn.Linear, "forward", (
    "self.weight", "copied(self.weight)"), copied=lambda w: tinygpt.Tensor(w.data.copy(), requires_grad=True))
