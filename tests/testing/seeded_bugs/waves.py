"""Bugs in what turns thousands of times within a step of the inputs' own size: sines of a million."""

from __future__ import annotations

import numpy as np

from tinygpt.testing.samples import Sample

from .cases import Bug, RuleExample, add, edit

__all__ = ["large"]


def large(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers of both signs, 10⁵ … 10⁶ in size."""
    return 10.0 ** rng.uniform(5, 6, shape) * rng.choice([-1.0, 1.0], shape)


def _large(rng: np.random.Generator) -> Sample:
    return Sample((large(rng, *rng.integers(1, 4, int(rng.integers(0, 3))).tolist()),))


edit("sin of a million: no slope", "sin", ("g * xp.cos(x)", "0 * g * xp.cos(x)"), draw=_large)
edit("sin of a million: 1 % too steep", "sin", ("g * xp.cos(x)", "1.01 * g * xp.cos(x)"), draw=_large)
edit("cos of a million: the argument rounded to float32 on the way back", "cos", (
    "xp.sin(x)", "xp.sin(x.astype('float32').astype(x.dtype))"), draw=_large)


def _without_its_rate(xp, x, *, rate):
    def backward(g):
        return (g * xp.cos(rate * x),)
    return xp.sin(rate * x), backward


def _in_float16(xp, x, *, rate):
    def backward(g):
        return (g * rate * xp.cos(rate * x).astype("float16").astype(x.dtype),)
    return xp.sin(rate * x), backward


for _name, _rule in (("without its rate", _without_its_rate), ("slope with the digits of a float16", _in_float16)):
    add(Bug(f"a fast wave: {_name}", lambda rng, rule=_rule: RuleExample(rule, Sample(
        (rng.uniform(-2, 2, (2, 3)),), {"rate": float(10.0 ** rng.uniform(5, 6))}))))
