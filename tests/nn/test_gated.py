"""FusedFeedForward in the place of the book's FeedForward: the same bits, also with an adapter; initial weights."""

from __future__ import annotations

import numpy as np
import pytest
from parts import randomized

from tinygpt import kernels, manual_seed
from tinygpt.autograd import Tensor
from tinygpt.nn import FeedForward, FusedFeedForward, GatedFeedForward
from tinygpt.nn.lora import add_lora
from tinygpt.ops import ACTIVATIONS


@pytest.mark.parametrize("twins", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_fused_or_not_it_is_the_same_output_and_gradients(activation, bias, dtype, twins):
    """The rules do the same operations in the same order: equal to the bit. Twins take other orders: to rounding."""
    found = []
    for kind in (FeedForward, FusedFeedForward):
        layer = randomized(kind(6, 20, activation=activation, bias=bias), 3).to(dtype=dtype)
        x = Tensor(np.random.default_rng(0).standard_normal((2, 5, 6)).astype(dtype), requires_grad=True)
        g = np.random.default_rng(1).standard_normal((2, 5, 6)).astype(dtype)
        if twins:
            layer(x).backward(g)
            out = layer(x).data
        else:
            with kernels.disabled():
                layer(x).backward(g)
                out = layer(x).data
        found.append({"out": out, "x": x.grad} | {name: p.grad for name, p in layer.named_parameters()})
    book, fused = found
    assert book.keys() == fused.keys()
    for name in book:
        if twins:
            epsilon = np.finfo(dtype).eps
            np.testing.assert_allclose(fused[name], book[name], rtol=0, atol=100 * epsilon * np.abs(book[name]).max(),
                                       err_msg=name)
        else:
            np.testing.assert_array_equal(fused[name], book[name], err_msg=name)


@pytest.mark.parametrize("kind", [FusedFeedForward, GatedFeedForward])
def test_the_seed_gives_the_weights_that_the_book_gives(kind):
    states = []
    for made in (FeedForward, kind):
        manual_seed(4)
        states.append(made(6, 20, std=0.5, out_std=0.125).state_dict())
    if kind is FusedFeedForward:
        assert all((states[0][name] == states[1][name]).all() for name in states[0])
    else:
        gate, up, down = (states[1][f"{part}.weight"] for part in ("gate", "up", "down"))
        assert abs(gate.std() - 0.5) < 0.1 and abs(down.std() - 0.125) < 0.03 and (gate != up).any()


def test_an_adapter_on_the_first_matrix_acts_before_the_activation():
    results = []
    for kind in (FeedForward, FusedFeedForward):
        manual_seed(0)
        layer = randomized(kind(6, 20, activation="gelu"), 3)
        add_lora(layer, 2, targets=("up",))
        layer.up.lora_up.a.data = np.random.default_rng(1).standard_normal((2, 6))
        layer.up.lora_up.b.data = np.random.default_rng(2).standard_normal((20, 2))
        results.append(layer(Tensor(np.random.default_rng(0).standard_normal((2, 5, 6)))).data)
    np.testing.assert_array_equal(*results)
