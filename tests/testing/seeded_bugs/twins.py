"""Bugs in fast twins: right on small arrays, wrong at the edge of a block."""

from __future__ import annotations

import numpy as np

from tinygpt.engine.dispatch import Twin
from tinygpt.kernels.cpu import activation, attention, feedforward, loss, normalization
from tinygpt.kernels.cpu.blocks import BLOCK
from tinygpt.testing import op_db

from .cases import Bug, TwinExample, add
from .mutation import Edit, mutant


def _draw(operation: str, twin: Twin):
    large = list(op_db[operation].large_samples(seed=1))

    def draw(rng: np.random.Generator) -> TwinExample:
        sample = op_db[operation].draw(rng) if rng.random() < 0.5 else large[int(rng.integers(0, len(large)))]
        return TwinExample(operation, twin, sample)
    return draw


def twin_bug(name: str, operation: str, function, *edits: Edit, **names) -> None:
    add(Bug(name, _draw(operation, Twin(mutant(function, *edits, **names), "cpu"))))


def _whole_blocks(n: int):
    return [slice(start, start + BLOCK) for start in range(0, n - BLOCK + 1, BLOCK)] if n > BLOCK else [slice(0, n)]


twin_bug("twin of silu: the last, shorter block forgotten", "silu", activation.silu_blocked,
         _activate=mutant(activation._activate, ("np.empty_like(flat)", "np.zeros_like(flat)"), blocks=_whole_blocks))
twin_bug("twin of attention: diagonal blocks not masked backward", "scaled_dot_product_attention",
         attention.attention_blocked, ("and start >= offset:", "and start > offset:"))
twin_bug("twin of the loss: bias not added", "linear_cross_entropy", loss.linear_cross_entropy_chunked,
         ("if bias is not None:", "if False:"))
twin_bug("twin of layer norm: weight's gradient of the last block only", "layer_norm", normalization.layer_norm_blocked,
         _normalize=mutant(normalization._normalize, ("dweight += ones @ gn", "dweight[...] = ones @ gn")))
twin_bug("twin of the feed-forward layer: slope written over its own input", "linear_activation",
         feedforward.linear_activation_blocked, activate=mutant(
             feedforward.activate, ("np.add(h[block], bias, out=x[:n])", "h[block] += bias"),
             ("formula(x[:n], out[block]", "formula(h[block], out[block]")))
