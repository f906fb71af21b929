"""FeedForward: the formula in plain NumPy, with every activation of the table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import randomized

from tinygpt.autograd import Tensor
from tinygpt.nn import FeedForward, FusedFeedForward, GatedFeedForward
from tinygpt.ops import ACTIVATIONS

__all__ = ["FORMULAS"]

sizes = st.integers(1, 6)
erf = np.vectorize(math.erf)
FORMULAS = {
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "relu2": lambda x: np.maximum(x, 0) ** 2,
}


def linear(part, x: np.ndarray) -> np.ndarray:
    return x @ part.weight.data.T + (0 if part.bias is None else part.bias.data)


@given(st.sampled_from(sorted(ACTIVATIONS)), st.sampled_from([FeedForward, FusedFeedForward, GatedFeedForward]),
       st.booleans(), sizes, sizes, st.integers(0, 99))
@settings(deadline=None, max_examples=40, derandomize=True)
def test_it_is_its_formula(activation, kind, bias, c, inner, seed):
    layer = randomized(kind(c, inner, activation=activation, bias=bias), seed)
    x = np.random.default_rng(seed + 1).standard_normal((2, 3, c))
    f, gated = FORMULAS[activation], kind is GatedFeedForward
    hidden = f(linear(layer.gate, x)) * linear(layer.up, x) if gated else f(linear(layer.up, x))
    np.testing.assert_allclose(layer(Tensor(x)).data, linear(layer.down, hidden), rtol=1e-9, atol=1e-9)
    assert set(layer.state_dict()) == {f"{part}.{name}" for part in ("up", "down", *(("gate",) if gated else ()))
                                       for name in ("weight", *(("bias",) if bias else ()))}


@pytest.mark.parametrize("kind", [FeedForward, FusedFeedForward, GatedFeedForward])
def test_an_unknown_activation_is_named(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__}: unknown activation 'swish'; choose one of "
                                         + ", ".join(ACTIVATIONS)):
        kind(2, 2, activation="swish")


def test_every_activation_has_its_formula_here():
    assert set(ACTIVATIONS) <= set(FORMULAS)
